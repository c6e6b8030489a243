"""Events as plain JSON, under a schema version: what cannot be read costs infinity, so it is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from skdpal.privacy.events.kinds import KINDS, Event, check_event

__all__ = ["from_json", "to_json"]

SCHEMA = 2


def to_json(event: Event) -> dict[str, Any]:
    """An event as plain JSON, with its schema version."""
    check_event(event)
    body = {field.name: _plain(getattr(event, field.name)) for field in fields(event)}
    return {"schema": SCHEMA, "kind": next(kind for kind, made in KINDS.items() if made is type(event)), **body}


def from_json(record: Mapping[str, Any]) -> Event:
    """The event of a JSON record; anything unknown is refused."""
    body = dict(record)
    schema, kind = body.pop("schema", None), body.pop("kind", None)
    if schema != SCHEMA:
        raise ValueError(f"Expected an event of schema {SCHEMA}. Found {schema!r}. Update skdpal to read it.")
    if not isinstance(kind, str) or kind not in KINDS or set(body) != {field.name for field in fields(KINDS[kind])}:
        raise ValueError(
            f"Expected a known kind of event with its own fields. Found kind={kind!r}. Update skdpal to read it."
        )
    return KINDS[kind](**{name: _parsed(value) for name, value in body.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Event):
        return to_json(value)
    return "inf" if value == float("inf") else value  # JSON has no infinity


def _parsed(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(part if isinstance(part, str) else from_json(part) for part in value)  # names, or events
    if isinstance(value, dict):
        return from_json(value)
    return float("inf") if value == "inf" else value
