"""Error rates of readers from the cohort's own votes, at a price: one noisy histogram, and all else for free.

Invariants
----------
* A patient is in one cell, or, unread, in none: the sensitivity is 1 for any number of readers.
* What is made of the histogram reads the histogram, the public guess and public numbers only.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skdpal.cohort.experts.dawid_skene import estimate
from skdpal.cohort.experts.panel import NOT_READ, Codes, Panel
from skdpal.cohort.experts.tables import patients_of
from skdpal.estimators.patients import expected_number
from skdpal.estimators.transition import Transition
from skdpal.privacy.mechanisms import GaussianSum, release, require_ledger
from skdpal.privacy.validation import check_real

__all__ = ["VoteHistogram", "release_votes"]

Array = NDArray[np.float64]
_MOST_CELLS = 4096
_FAR_TOO_MANY = 10  # cells by patients
_GUESS_COUNTS_AS = 10.0  # patients of each class, and for the class fractions, if there were no noise


@dataclass(frozen=True, eq=False)
class VoteHistogram:
    """How often each pattern of votes was seen, with noise: released, so that all that follows is free.

    Attributes
    ----------
    counts : ndarray of shape (n_patterns,)
        With noise, so perhaps negative; of every pattern but that of patients whom nobody has read.
    guess : Panel
        The public panel that it was made with.
    noise_multiplier : float
        Standard deviation of the noise.
    expected_records : float
        Public number of patients.

    Examples
    --------
    >>> import pandas as pd
    >>> from skdpal.cohort import Panel, VoteHistogram
    >>> guess = pd.DataFrame([[0.9, 0.1], [0.2, 0.8]], ["benign", "malignant"], ["benign", "malignant"])
    >>> VoteHistogram([28.4, 11.2], Panel({"Ada": guess}), noise_multiplier=1.0, expected_records=40.0).expected_records
    40.0
    """

    counts: Array
    guess: Panel
    noise_multiplier: float
    expected_records: float

    @property
    def frame(self) -> pd.Series:
        """The noisy counts, by what each reader said; an empty word for "not read"."""
        names = [[*map(str, reader.observed), ""] for reader in self.guess.readers.values()]
        index = pd.MultiIndex.from_tuples(
            [tuple(words[code] for words, code in zip(names, row, strict=True)) for row in _cells(self.guess)],
            names=self.guess.names,
        )
        return pd.Series(self.counts, index=index, name="patients")

    def panel(self, *, strength: float = _GUESS_COUNTS_AS) -> Panel:
        """A panel with the error rates and class fractions that the histogram suggests; nothing is charged.

        Parameters
        ----------
        strength : float, default=10.0
            PUBLIC. The guess counts as so many patients of each class, and more where noise hides more.

        Returns
        -------
        Panel
            Released: it may leave, and label any patient. It says something about readers, whom nothing protects.
        """
        strength = check_real("strength", strength, above=0.0)
        cells, guess = _cells(self.guess), self.guess
        total = min(max(float(self.counts.sum()), 1.0), max(self.expected_records, 1.0))
        matrices = [reader.matrix for reader in guess.readers.values()]
        expected = np.maximum(self.expected_records * guess.class_prior, 1e-12)
        hidden = [self._noise_of(len(reader.observed)) / expected for reader in guess.readers.values()]
        rates, fractions = estimate(
            cells,
            _counts(self.counts, total),
            matrices,
            guess.class_prior,
            [strength * (1 + part) for part in hidden],
            strength * (1 + self.noise_multiplier**2 * len(cells) / max(self.expected_records, 1e-12)),
        )
        readers = {
            name: Transition(matrix, reader.classes, reader.observed)
            for (name, reader), matrix in zip(guess.readers.items(), rates, strict=True)
        }
        return Panel(readers, np.maximum(fractions, 1e-12) / np.maximum(fractions, 1e-12).sum())

    def _noise_of(self, n_labels: int) -> float:
        """Variance of the noise in one entry of a reader's table: of the patterns with this label, those of one class."""
        return self.noise_multiplier**2 * (len(self.counts) + 1) / (n_labels + 1) / len(self.guess.classes)


def release_votes(
    votes: Any,
    panel: Panel,
    *,
    noise_multiplier: float,
    ledger: Any,
    record_ids: Any = None,
    account: str | None = None,
    expected_records: float | None = None,
    name: str = "votes",
) -> VoteHistogram:
    """Charge, then release how often each pattern of votes was seen, for error rates of the cohort's own readers.

    First ask whether it is worth it: public error rates are free, and a histogram finds 1 to 3 labels more in a hundred
    if readers differ (docs/guide/experts.md).

    Parameters
    ----------
    votes : DataFrame of shape (n_patients, n_readers)
        As for `Panel`. They must be settled: a read that was ordered because of other votes belongs here like any
        other, but one that comes later is not counted.
    panel : Panel
        PUBLIC guess of the readers' error rates, which also names readers, classes and labels.
    noise_multiplier : float
        Standard deviation of the noise in units of the sensitivity, 1; 1 or less, or it tells too little.
    ledger : PrivacyLedger or Handle
        Who pays. None is allowed inside `simulation` only.
    record_ids : sequence of length n_patients, optional
        The patients. Default: the index of `votes`.
    account : str, optional
        Every leaf at or below pays; all patients must belong to it. Default: that of the handle, else everybody.
    expected_records : float, optional
        The public number of patients. Default: the number in `votes`, unless a selection was hidden.
    name : str, default="votes"
        Public, for the receipt. Asked again under it for the same patients, the stored histogram comes back, free.

    Returns
    -------
    VoteHistogram
        Released; what follows from it is free.

    Raises
    ------
    TypeError
        If `panel` is no `Panel`.
    BudgetExhausted
        Before a vote is read.
    ValueError
        If there are far more patterns than patients: then nearly all of the histogram is noise.

    Warns
    -----
    UserWarning
        If there are more patterns than patients, or the noise multiplier is above 1.

    Notes
    -----
    Charged: `events.gaussian(noise_multiplier)`, with √2 under exchange of a patient, whatever the number of readers,
    since a patient moves one of Π_r (K_r + 1) cells by 1. (Sums for each reader, as in the usual M-step,
    have the sensitivity √R, and every iteration another release.) The same patients trained on later pay
    √(μ_votes² + μ_train²).

    Refused is expectation maximisation on the patients themselves, without noise: one patient's votes move the error
    rates, and so everybody's label.

    Readers are people too, and this is about them: their error rates are released, and not protected.

    Examples
    --------
    >>> import numpy as np, pandas as pd, skdpal
    >>> from skdpal.cohort.experts import Panel, release_votes
    >>> guess = pd.DataFrame([[0.9, 0.1], [0.1, 0.9]], ["benign", "malignant"], ["benign", "malignant"])
    >>> panel = Panel({"Ada": guess, "Ben": guess})
    >>> votes = pd.DataFrame({"Ada": ["benign", "malignant"] * 20, "Ben": ["benign"] * 40}, index=[f"p{n}" for n in range(40)])
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=8.0, delta=1e-5))
    >>> histogram = release_votes(votes, panel, noise_multiplier=1.0, ledger=ledger)
    >>> len(histogram.counts), [receipt.label for receipt in ledger.receipts()]
    (8, ['votes'])
    >>> sorted(histogram.panel().readers)
    ['Ada', 'Ben']
    """
    if not isinstance(panel, Panel):
        raise TypeError(
            f"Expected panel to be a Panel of public error rates, a guess. Found {type(panel).__name__}. Pass Panel({{...}})."
        )
    _refuse_exact(noise_multiplier)
    mechanism = GaussianSum(noise_multiplier, replace_one=math.sqrt(2))
    payer = require_ledger(ledger)
    codes, ids = panel.codes(votes, record_ids), patients_of(votes, record_ids)
    if payer is not None:
        expected_number(payer, expected_records)
    number = len(ids) if expected_records is None else expected_records
    number = check_real("expected_records", number, above=0.0, closed=True)
    cells = _cells(panel)
    _judge(len(cells), number, mechanism.noise_multiplier)
    if payer is not None:
        asked = payer.root.tag(f"{sorted(ids)!r} {[reader.observed.tolist() for reader in panel.readers.values()]!r}")
        payer = payer.root.within(payer.account if account is None else account, question=f"{name}: {asked}")
    counts = release(lambda: _rows(codes, panel), mechanism, payer, name, record_ids=ids)
    return VoteHistogram(counts, panel, mechanism.noise_multiplier, number)


def _refuse_exact(noise_multiplier: Any) -> None:
    if noise_multiplier is None or noise_multiplier == 0:
        raise ValueError(
            f"Expected noise_multiplier above 0. Found {noise_multiplier!r}. Exact Dawid-Skene lets one patient's votes move "
            "everybody's label: use public error rates (Panel), which is free, or pass noise_multiplier=1.0."
        )


def _judge(n_cells: int, number: float, noise_multiplier: float) -> None:
    """Whether the histogram can tell anything, from public numbers."""
    way_out = "Use public error rates, as in the panel itself, fewer readers, or fewer labels."
    if n_cells > _MOST_CELLS or n_cells > _FAR_TOO_MANY * number:
        raise ValueError(
            f"Expected fewer patterns of votes than patients ({number:g}), and at most {_MOST_CELLS}. Found {n_cells}. {way_out}"
        )
    if n_cells > number or noise_multiplier > 1:
        warnings.warn(
            f"{n_cells} patterns of votes, {number:g} patients, noise_multiplier={noise_multiplier:g}: the histogram will tell "
            f"little (it needs more patients than patterns, and a noise multiplier of 1 or less). {way_out}",
            UserWarning,
            stacklevel=3,
        )


def _cells(panel: Panel) -> Codes:
    """Every pattern but that of nobody reading, in the order of the histogram."""
    options = [[NOT_READ, *range(len(reader.observed))] for reader in panel.readers.values()]
    if math.prod(map(len, options)) > 100 * _MOST_CELLS:
        _judge(math.prod(map(len, options)), math.inf, 0.0)
    return np.array(list(product(*options))[1:], dtype=np.intp)


def _rows(codes: Codes, panel: Panel) -> Array:
    """One-hot rows over the cells; zeros for an unread patient."""
    shape = tuple(len(reader.observed) + 1 for reader in panel.readers.values())
    cell = np.ravel_multi_index(tuple((codes + 1).T), shape)
    return np.asarray(cell[:, None] == np.arange(1, math.prod(shape)), dtype=np.float64)


def _counts(noisy: Array, total: float) -> Array:
    """The nearest counts, 0 or more, with a given sum (projection on a simplex)."""
    ordered = np.sort(noisy)[::-1]
    excess = (np.cumsum(ordered) - total) / np.arange(1, len(noisy) + 1)
    last = int(np.flatnonzero(ordered > excess)[-1])
    return np.maximum(noisy - excess[last], 0.0)
