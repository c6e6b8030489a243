"""The table of fields of docs/certificate.md, from the schema.

Run ``python -m tests.audit.certificate.table`` to write it anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skdpal.audit.certificate import schema

PAGE = Path(__file__).parents[3] / "docs" / "certificate.md"
_BEGIN, _END = "<!-- fields, from the schema -->", "<!-- end of fields -->"


def rows_of(part: dict[str, Any], before: str = "") -> list[str]:
    """A row for each field, with those inside it."""
    rows = []
    for name, field in part["properties"].items():
        rows.append(f"| `{before}{name}` | {_type(field)} | {_words(field)} |")
        inner = field.get("items", field)
        if "properties" in inner:
            rows += rows_of(inner, f"{before}{name}{'[]' if 'items' in field else ''}.")
    return rows


def table() -> str:
    """Of the certificate, its receipts, the rows of its history, and events."""
    whole, defs = schema(), schema()["$defs"]
    parts = [_table("The certificate", rows_of(whole)), _table("A receipt", rows_of(defs["receipt"]))]
    kinds = defs["row"]["oneOf"]
    lines = [f"| {_kind(row)} | {_own(row)} | {row['description']} |" for row in kinds]
    parts.append(
        "### A row of the history\n\n| `kind` | its own fields | what it means |\n|---|---|---|\n" + "\n".join(lines)
    )
    events = [defs[ref["$ref"].rpartition("/")[2]] for ref in defs["event"]["oneOf"]]
    lines = [f"| {_kind(event)} | {_own(event)} | {event['description']} |" for event in events]
    parts.append("### An event\n\n| `kind` | its own fields | what it means |\n|---|---|---|\n" + "\n".join(lines))
    return "\n\n".join(parts)


def page_with_table() -> str:
    """The page, with the table of today's schema."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    after = rest.partition(_END)[2]
    return f"{before}{_BEGIN}\n\n{table()}\n\n{_END}{after}"


def _table(title: str, rows: list[str]) -> str:
    return f"### {title}\n\n| field | type | what it is |\n|---|---|---|\n" + "\n".join(rows)


def _kind(part: dict[str, Any]) -> str:
    kind = part["properties"]["kind"]
    return ", ".join(f"`{word}`" for word in kind.get("enum", [kind.get("const")]))


def _own(part: dict[str, Any]) -> str:
    names = [name for name in part["properties"] if name not in ("schema", "kind", "number")]
    return "; ".join(f"`{name}`: {_words(part['properties'][name])}" for name in names) or "none"


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        return {"account": "string", "day": "string", "epsilon": "number"}.get(
            field["$ref"].rpartition("/")[2], "object"
        )
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{word}`" for word in field["enum"])
    if "oneOf" in field:
        return " or ".join(_type(one) for one in field["oneOf"])
    kind = field["type"]
    return (
        " or ".join(kind)
        if isinstance(kind, list)
        else f"list of {_type(field['items'])}s"
        if kind == "array"
        else kind
    )


def _words(field: dict[str, Any]) -> str:
    ref = field.get("$ref", "").rpartition("/")[2]
    words = field.get("description") or schema()["$defs"][ref]["description"]
    return words.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page_with_table(), encoding="utf-8")
