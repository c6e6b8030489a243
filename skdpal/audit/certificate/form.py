"""Whether a certificate has the published form."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.resources import files
from typing import Any

__all__ = ["parsed", "problems_of", "schema"]

_WHOLE = "the certificate"


@cache
def schema() -> dict[str, Any]:
    """The JSON Schema of a certificate (draft 2020-12).

    Examples
    --------
    >>> from skdpal.audit.certificate import schema
    >>> schema()["$id"]
    'urn:skdpal:certificate:2'
    """
    text = files("skdpal.audit.certificate").joinpath("certificate.schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def parsed(text: str) -> Any:
    """JSON, without the words for numbers that JSON does not have, and without a name that stands twice.

    Raises
    ------
    ValueError
        Otherwise: readers of such a file would not agree on what it says.
    """
    return json.loads(text, parse_constant=_refused, object_pairs_hook=_once)


def problems_of(certificate: Any) -> list[str]:
    """What is wrong with the form, a line for each place; nothing if it is as published."""
    try:
        problems = [
            f"{place or _WHOLE}: Expected a number. Found {value}." for place, value in _endless(certificate, "")
        ]
        found = sorted(_validator().iter_errors(certificate), key=lambda error: list(map(str, error.absolute_path)))
        return problems + [f"{'/'.join(map(str, error.absolute_path)) or _WHOLE}: {_short(error)}" for error in found]
    except RecursionError:
        return [f"{_WHOLE}: Expected events in events to a depth that a ledger writes. Found more."]


@cache
def _validator() -> Any:
    return import_module("jsonschema").Draft202012Validator(schema())  # imported when a certificate is verified


def _short(error: Any) -> str:
    for inner in error.context or ():  # of the kinds of event or row, the one that is named
        if inner.validator != "const" and not any(
            other.validator == "const" and other.schema_path[0] == inner.schema_path[0] for other in error.context
        ):
            return str(inner.message)[:300]
    return str(error.message)[:300]


def _endless(value: Any, where: str) -> Iterator[tuple[str, float]]:
    """Infinite numbers and those that are none; a schema's comparisons let the latter pass."""
    if isinstance(value, float) and not math.isfinite(value):
        yield where, value
    inside = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inside:
        yield from _endless(part, f"{where}/{name}" if where else str(name))


def _refused(word: str) -> Any:
    raise ValueError(f"Expected JSON. Found {word}, which is no JSON number. Ask for the certificate again.")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"Expected each name once. Found {sorted(twice)} twice. Ask for the certificate again.")
    return dict(pairs)
