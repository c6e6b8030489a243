"""What a verification found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Check", "Verification"]

_WORDS = {True: "ok", False: "failed", None: "not told"}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
        What was checked.
    ok : bool or None
        None if a certificate alone cannot tell.
    found : str
        What was found, or why it cannot be told.

    Examples
    --------
    >>> from skdpal.audit import Check
    >>> Check("dates", True, "2026-01-02 to 2026-03-01").result
    'ok'
    """

    name: str
    ok: bool | None
    found: str

    @property
    def result(self) -> str:
        """In a word."""
        return _WORDS[self.ok]


@dataclass(frozen=True)
class Verification:
    """All checks of one certificate; made by `verify_certificate`.

    Attributes
    ----------
    checks : tuple of Check
        In the order in which they were made.

    Examples
    --------
    >>> import skdpal
    >>> from skdpal.audit import verify_certificate
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(2.0))
    >>> verification = verify_certificate(ledger.certificate())
    >>> verification.passed
    True
    >>> verify_certificate({**ledger.certificate(), "epsilon": 1.98}).failed[0].name
    'statement'
    """

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed. It does not mean that the ledger holds the same: see docs/certificate.md."""
        return not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.ok is False)

    @property
    def not_told(self) -> tuple[Check, ...]:
        """What the certificate alone cannot tell."""
        return tuple(check for check in self.checks if check.ok is None)

    def frame(self) -> pd.DataFrame:
        """One row a check: name, result ("ok", "failed" or "not told") and what was found."""
        import pandas as pd

        rows = [(check.name, check.result, check.found) for check in self.checks]
        return pd.DataFrame(rows, columns=["check", "result", "found"])

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"passed": self.passed, "checks": [asdict(check) for check in self.checks]}

    def __str__(self) -> str:
        wide = max(len(check.name) for check in self.checks)
        lines = [f"{check.name:<{wide}}  {check.result:<8}  {check.found}" for check in self.checks]
        return "\n".join([*lines, "", self.in_words])

    @property
    def in_words(self) -> str:
        """The result in a sentence."""
        if self.failed:
            return f"Not verified: {', '.join(check.name for check in self.failed)}."
        return "Every figure follows from the receipts. What the certificate alone cannot tell is marked so."
