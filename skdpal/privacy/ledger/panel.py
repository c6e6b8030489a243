"""How a ledger looks in a notebook: bars of what was paid, the last receipts, in plain words.

It is made from a certificate, which is public, and from nothing else; whatever a user named is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

__all__ = ["bar", "framed", "panel", "table"]

_LAST = 5  # receipts shown
# colours are inherited or work on light and dark grounds; every rule is bound to our class
_STYLE = """<style>
.skdpal {font: 13px/1.45 system-ui, sans-serif; max-width: 46em; margin: .4em 0}
.skdpal h4, .skdpal p {margin: .5em 0 .3em; font-size: 1em}
.skdpal table {border-collapse: collapse; margin: .3em 0; background: none}
.skdpal th, .skdpal td {text-align: left; padding: .15em 1.2em .15em 0; border: 0; border-bottom: 1px solid rgba(128,128,128,.35); background: none; color: inherit}
.skdpal .note {opacity: .75}
</style>"""


def framed(*parts: str) -> str:
    """HTML of ours, with its style."""
    return f'{_STYLE}<div class="skdpal">{"".join(parts)}</div>'


def bar(spent: float, ceiling: float, words: str) -> str:
    """What was paid of a ceiling, as a bar that has words for those who cannot see it."""
    share = min(spent / ceiling, 1.0) if ceiling else 1.0
    return (
        f'<div role="img" aria-label="{escape(words)}" style="background:rgba(128,128,128,.3);height:.6em;width:12em;'
        f'max-width:100%;border-radius:3px"><div style="width:{100 * share:.1f}%;height:100%;border-radius:3px;'
        'background:#2f86b3"></div></div>'
    )


def table(caption: str, heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table whose cells are HTML; the first of each row is its head."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>' for first, *rest in rows
    )
    inside = f'<table aria-label="{escape(caption)}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div style="overflow-x:auto" tabindex="0">{inside}</div>'  # on a small screen it scrolls by itself


def panel(certificate: Mapping[str, Any]) -> str:
    """A ledger, from its certificate: what is promised, who has paid what, what was released last."""
    epsilon, delta, lower = certificate["epsilon"], certificate["delta"], certificate["lower_ceilings"]
    accounts = []
    for name, spent in certificate["odometer"]["epsilon_spent_by_account"].items():
        most = lower.get(name, epsilon)
        words = f"{spent:.2f} of {most:.2f}"
        accounts.append((escape(name), bar(spent, most, f"{name}: ε {words} paid"), words))
    receipts = certificate["receipts"]
    last = [(escape(r["label"]), escape(r["account"]), f"{r['epsilon']:.2f}", escape(r["date"])) for r in receipts]
    count = f"{len(receipts)} {'receipt' if len(receipts) == 1 else 'receipts'}"
    return framed(
        f"<h4>Privacy ledger: ε = {epsilon:g} at δ = {delta:g} committed, for each patient</h4>",
        f"<p>Status: <b>{escape(certificate['status'])}</b>. {escape(certificate['filter_in_words'])}</p>",
        table("Paid by each account", ("account", "paid", "ε (odometer)"), accounts),
        f"<p>{count}{', the last of them:' if last[_LAST:] else ''}</p>",
        table("Receipts", ("release", "account", "ε alone", "day"), last[-_LAST:]) if last else "",
        '<p class="note">A patient is in one account. Nothing here tells who is in which, or how many.</p>',
    )
