"""What the reference says of every public name: parameters that exist, what comes back, errors, a price, an example.

Examples run as doctests, with the suite. A parameter that means the same everywhere (`X`, `record_ids`, `event`) stands once,
in docs/api/glossary.md; the reference shows it with every method that takes it.
"""

import ast
import dataclasses
import functools
import importlib
import inspect
import re
import textwrap
from pathlib import Path

import pytest

validation = pytest.importorskip("numpydoc.validate")

DOCS = Path(__file__).parents[1] / "docs"
ROOMS = ("audit", "cohort", "datasets", "estimators", "learner", "model_selection", "privacy", "query", "report")
FORM = {
    "GL07",
    "RT02",
    "PR02",
    "PR03",
    "PR04",
}  # sections in order; no parameter that does not exist, each with its type
ALONE = FORM | {"PR01", "PR07", "RT01", "RT03"}  # what stands by itself explains everything
PRICE = re.compile(r"[Cc]harge[ds]?\b|[Pp]ays|[Pp]rice|free\b")
SOURCE = re.compile(r"docs/\w+|Theorem|Lemma|\b(?:19|20)\d\d\b|arXiv|events\.\w+|privacy_event")
MATHS = re.compile(r":math:|\.\. math::")


def everything():
    """The public classes and functions of all rooms, each once, by the path from which it is imported."""
    seen = {}
    for room in ROOMS:
        module = importlib.import_module(f"skdpal.{room}")
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                seen.setdefault(id(thing), (f"skdpal.{room}.{name}", thing))
    return dict(seen.values())


def methods_of(path, kind):
    """Public methods and properties that are written here, not inherited from scikit-learn, modAL or skorch."""
    for name, member in inspect.getmembers_static(kind):
        body = getattr(member, "fget", None) or getattr(member, "func", None) or getattr(member, "__func__", member)
        ours = (getattr(body, "__module__", None) or "").startswith("skdpal")
        if not name.startswith("_") and inspect.isfunction(body) and ours:
            yield f"{path}.{name}", inspect.unwrap(body)


THINGS = everything()
METHODS = {
    name: body for path, thing in THINGS.items() if inspect.isclass(thing) for name, body in methods_of(path, thing)
}
ALL = {**THINGS, **METHODS}
COMMON = set(
    re.findall(r"^`(\*{0,2}\w+)` : ", (DOCS / "api" / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
)


@functools.cache
def faults(path):
    """What numpydoc finds fault with, as (code, message)."""
    return validation.validate(path)["errors"]


def untold(path):
    """Parameters that the docstring leaves out."""
    messages = [message for code, message in faults(path) if code == "PR01"]
    return {name for message in messages for name in re.findall(r"'(\*{0,2}\w+)'", message)}


def fields_in(text):
    """Names that a section explains: before a colon, or alone on their line; several share one explanation."""
    lines = re.findall(r"^([*\w, ]+?)(?: :.*)?$", text, re.MULTILINE)
    return {name.strip() for line in lines for name in line.split(",")}


def raised_by(function):
    """Errors that a function raises by name."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except OSError:  # a constructor that dataclasses made
        return set()
    raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    return {error.func.id for error in raised if isinstance(error, ast.Call) and isinstance(error.func, ast.Name)}


def issubclass_of(thing, kind):
    return inspect.isclass(thing) and issubclass(thing, kind)


def in_room(room, names):
    return sorted(path for path in names if path.startswith(f"skdpal.{room}."))


@pytest.fixture(params=ROOMS)
def room(request):
    return request.param


def lack_of(path):
    """What the docstring of something that stands by itself leaves open."""
    thing = THINGS[path]
    text = inspect.getdoc(thing) or ""
    found = [fault for fault in faults(path) if fault[0] in ALONE - {"PR01"}]
    missing = {name for name in untold(path) if not name.startswith("**") or name not in COMMON}
    if dataclasses.is_dataclass(thing):
        missing -= fields_in(text)  # a record may have its fields under Attributes
    example = [] if issubclass_of(thing, Exception) or "Examples\n--------" in text else ["no example"]
    return [*found, *sorted(missing), *example]


def lack_of_method(path):
    """What neither a method's docstring, nor the words in common, nor its annotations say."""
    body = METHODS[path]
    text = inspect.getdoc(body) or ""
    told = re.search(r"^(Returns|Yields)$", text, re.MULTILINE)
    back = [] if told or inspect.signature(body).return_annotation is not inspect.Signature.empty else ["no return"]
    return (
        [*(fault for fault in faults(path) if fault[0] in FORM), *sorted(untold(path) - COMMON), *back]
        if text
        else [path]
    )


def errors_untold(thing):
    """Errors raised by name that the docstring does not name.

    That an argument of a constructor must be what its line says, else ValueError or TypeError, needs no words.
    """
    body = vars(thing).get("__init__") if inspect.isclass(thing) else thing
    usual = {"ValueError", "TypeError"} if inspect.isclass(thing) else set()
    text = inspect.getdoc(thing) or ""
    return {name for name in raised_by(body) - usual if name not in text} if inspect.isfunction(body) else set()


def test_what_stands_by_itself_explains_everything(room):
    """Parameters as in the signature, their types and meanings, what comes back, an example."""
    lacking = {path: lack_of(path) for path in in_room(room, THINGS)}
    assert {path: lack for path, lack in lacking.items() if lack} == {}


def test_methods_explain_what_they_take_and_give(room):
    lacking = {path: lack_of_method(path) for path in in_room(room, METHODS)}
    assert {path: lack for path, lack in lacking.items() if lack} == {}


def test_errors_that_are_raised_by_name_are_told(room):
    lacking = {path: errors_untold(ALL[path]) for path in in_room(room, ALL)}
    assert {path: lack for path, lack in lacking.items() if lack} == {}


CHARGING = sorted(path for path, thing in THINGS.items() if inspect.isclass(thing) and hasattr(thing, "privacy_event"))


def test_what_charges_says_the_price_and_where_it_comes_from():
    texts = {path: inspect.getdoc(THINGS[path]) for path in CHARGING}
    assert len(texts) > 6
    assert [path for path, text in texts.items() if not PRICE.search(text) or not SOURCE.search(text)] == []


def test_formulas_need_no_renderer():
    assert [path for path, thing in ALL.items() if MATHS.search(inspect.getdoc(thing) or "")] == []


def test_words_in_common_are_used():
    """The glossary has no word that no method takes."""
    taken = set()
    for body in METHODS.values():
        for parameter in inspect.signature(body).parameters.values():
            taken.add("**" + parameter.name if parameter.kind is parameter.VAR_KEYWORD else parameter.name)
    assert COMMON - taken - {"**unknown"} == set()


class Planted:
    """Something public, badly explained."""

    def of(self, X, levels, width: int = 1):
        """Do something.

        Parameters
        ----------
        levels
            Without a type.
        depth : int
            Which does not exist.

        Notes
        -----
        Nothing.

        Returns
        -------
        float
        """
        raise LookupError(X, levels, width)


def test_planted_faults_are_found(monkeypatch):
    monkeypatch.setattr(importlib.import_module("skdpal.privacy"), "Planted", Planted, raising=False)
    monkeypatch.setitem(METHODS, "skdpal.privacy.Planted.of", Planted.of)
    lack = lack_of_method("skdpal.privacy.Planted.of")
    assert {fault[0] for fault in lack if isinstance(fault, tuple)} == {"GL07", "PR02", "PR04"}
    assert "width" in lack
    assert "X" not in lack
    assert errors_untold(Planted.of) == {"LookupError"}
