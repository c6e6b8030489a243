"""All that can be checked of a certificate by somebody who has only the certificate, and what needs the ledger."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from skdpal.audit.certificate.checks import made
from skdpal.audit.certificate.form import parsed, problems_of
from skdpal.audit.certificate.journal import compared
from skdpal.audit.certificate.verification import Check, Verification

__all__ = ["verify_certificate"]

_NOT_TOLD = {
    "journal": "whether the ledger holds these receipts: pass the ledger, or compare the head with one that was noted",
    "releases": "whether anything left without a receipt, or was released otherwise than its event says",
    "public data": "whether what was used as public data is public, and holds no patient of the study",
    "other studies": "whether the same patients were in another study: prices add up",
}


def verify_certificate(
    certificate: Mapping[str, Any] | str | os.PathLike[str],
    *,
    ledger: str | os.PathLike[str] | None = None,
    head: str | None = None,
) -> Verification:
    """Compute every figure of a certificate again, from its receipts and by other code than that which made it.

    Parameters
    ----------
    certificate : mapping or path
        From ``ledger.certificate()``, or a file ``certificate.json``.
    ledger : path or str, optional
        The ledger: then the certificate must say the same, row by row. It is only read.
    head : str, optional
        A head of the journal that was noted when the certificate was issued: then it must be that of the certificate.

    Returns
    -------
    Verification
        One `Check` for each thing that was looked at; ``passed`` if none failed.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file holds no JSON, or no ledger.

    Notes
    -----
    It shares no arithmetic with `skdpal.privacy`: δ(ε) of Gaussian DP is inverted by another formula, Rényi divergences
    are integrated from densities, frozen schedules are priced by an own discretisation and Fourier transform. It reads
    JSON only. Whoever changes all figures of a certificate so that they agree is not found by the certificate alone, but
    by the ledger, or by a head that was noted elsewhere and the ledger. See docs/certificate.md.

    Examples
    --------
    >>> import skdpal
    >>> from skdpal.audit import verify_certificate
    >>> from skdpal.privacy import events
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(2.0))
    >>> receipt = ledger.charge(events.gaussian(4.0), "fit round 1")
    >>> certificate = ledger.certificate()
    >>> verify_certificate(certificate).passed
    True
    >>> certificate["receipts"][0]["event"]["noise_multiplier"] = 8.0
    >>> print(verify_certificate(certificate).failed[0].found)
    receipt 1 states ε=0.926342; its event costs 0.434416
    """
    if not isinstance(certificate, Mapping):
        certificate = _of_file(Path(certificate))
    return Verification(tuple(_checks(certificate, ledger, head)))


def _checks(certificate: Mapping[str, Any], ledger: str | os.PathLike[str] | None, head: str | None) -> Iterator[Check]:
    problems = problems_of(dict(certificate))
    if problems:  # nothing can be computed from what has no known form
        yield Check("form", False, "; ".join(problems[:3]))
        return
    yield Check("form", True, f"as published, version {certificate['schema']}")
    yield from made(certificate)
    if head is not None:
        same = certificate["journal_head"] == head
        yield Check("noted head", same, "the one that was noted" if same else f"noted was {head}")
    for name, words in _NOT_TOLD.items():
        if name == "journal" and ledger is not None:
            yield from compared(certificate, ledger)
        else:
            yield Check(name, None, words)


def _of_file(path: Path) -> Mapping[str, Any]:
    try:
        found = parsed(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Expected {path.name} to be a certificate in UTF-8. Found other bytes. Check the path."
        ) from error
    except RecursionError as error:
        raise ValueError(
            f"Expected {path.name} to be a certificate. It is nested too deeply. Check the path."
        ) from error
    if not isinstance(found, Mapping):
        raise ValueError(f"Expected {path.name} to hold a JSON object. Found {type(found).__name__}. Check the path.")
    return found
