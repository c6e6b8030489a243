"""Noise that is drawn once for each patient, and stays inside the hospital until somebody pays for it to leave.

Invariants
----------
* The first draw for a patient is the one that counts, for ever: a second one would be a second release, and the
  mean of many tells the truth.
* Noise of a simulation is never kept for a real study (`Book.keep`).
* No price rests on what is kept: a vault that lost a draw makes a new one, and whatever leaves is paid for each time.
* `inside` is for the curator's side of the wall: what it returns must not leave but through a charged release.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from skdpal.privacy.events import Event
from skdpal.privacy.mechanisms.labels import LaplaceLabels, RandomizedResponse

if TYPE_CHECKING:
    from skdpal.privacy.ledger import Handle, PrivacyLedger

__all__ = ["Kept"]


@dataclass(frozen=True)
class Kept:
    """A mechanism on labels whose answer for each patient is kept in the vault.

    Parameters
    ----------
    mechanism : RandomizedResponse or LaplaceLabels
        What is drawn.
    ledger : PrivacyLedger or Handle
        Whose vault keeps it.
    name : str
        Public name, such as "histology"; another mechanism under the same name draws anew.

    Examples
    --------
    >>> import skdpal
    >>> from skdpal.privacy.mechanisms import Kept, RandomizedResponse, release
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=2.0), filter="renyi")
    >>> histology = Kept(RandomizedResponse(1.0, ["a", "b"]), ledger, "histology")
    >>> inside = histology.inside(["a", "b"], ["ann", "bob"])  # free, and stays
    >>> released = release(lambda: ["a", "b"], histology, ledger, "labels", record_ids=["ann", "bob"])
    >>> bool((inside == released).all())
    True
    """

    mechanism: RandomizedResponse | LaplaceLabels
    ledger: PrivacyLedger | Handle
    name: str
    one_row_each: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.mechanism, RandomizedResponse | LaplaceLabels):
            raise TypeError(
                "Expected mechanism to be RandomizedResponse or LaplaceLabels, which treat each patient alone. "
                f"Found {type(self.mechanism).__name__}."
            )
        if np.asarray(self.mechanism.classes).dtype.hasobject:
            raise ValueError("Expected classes to be words or numbers, which the vault can keep. Convert them first.")

    @property
    def event(self) -> Event:
        """The price of letting it leave."""
        return self.mechanism.event

    def inside(self, values: Any, ids: Sequence[str]) -> NDArray[Any]:
        """What was drawn for these patients, now or earlier; nothing is charged, and nothing of it may leave.

        Parameters
        ----------
        values : sequence of length n_rows
            Their labels. Whoever was drawn for before keeps that draw, also if the label was corrected since, or was
            missing then: pass those who have one.
        ids : sequence of str of length n_rows
            The patients, each once.
        """
        if len(set(map(str, ids))) < len(ids):
            raise ValueError("Expected one label for each patient. Pass one entry for each of record_ids.")
        return self.ledger.root.keep(f"{self.name}\n{self.mechanism!r}", ids, self.mechanism.run(values, ids))

    def run(self, values: Any, ids: Sequence[str]) -> NDArray[Any]:
        """The same, to leave. Only `release` calls this, after the charge."""
        return np.asarray(self.inside(values, ids))
