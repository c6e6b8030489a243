"""What the reference says of every public name: parameters that exist, what comes back, errors, a price, an example that runs.

Doctests run with the suite; here only what stands in a docstring is checked. What a parameter means that is the same
everywhere (`X`, `record_ids`, `event`) stands once, in docs/api/glossary.md, and is shown with every method that takes it.
"""

import ast
import dataclasses
import inspect
import re
import textwrap
from importlib import import_module
from pathlib import Path

import pytest

from skdpal.privacy.ledger import ledger as ledgers

validation = pytest.importorskip("numpydoc.validate")

GLOSSARY = Path(__file__).parents[1] / "docs" / "api" / "glossary.md"
ROOMS = ("audit", "cohort", "datasets", "estimators", "learner", "model_selection", "privacy", "query", "report")
SECTIONS = {"GL07", "RT02", "RT03", "PR02", "PR03", "PR04", "PR07", "YD01"}  # order, words, and nothing that does not exist
OWN = SECTIONS | {"PR01", "RT01", "EX01", "SS03"}  # of what stands by itself
PRICED = re.compile(r"[Cc]harge|[Pp]ays|[Pp]aid|[Pp]rice|[Cc]osts? |spends|free|budget", re.DOTALL)
SOURCED = re.compile(r"docs/\w+|Theorem|Lemma|\b(?:19|20)\d\d\b|arXiv|`events\.|privacy_event")


def everything():
    """Public names of the rooms, each once, with the path by which it is imported."""
    seen = {}
    for room in ROOMS:
        module = import_module(f"skdpal.{room}")
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                seen.setdefault(id(thing), (f"skdpal.{room}.{name}", thing))
    return dict(seen.values())


THINGS = everything()


def methods_of(path, kind):
    """Public methods and properties that are ours."""
    for name, member in inspect.getmembers_static(kind):
        body = getattr(member, "fget", None) or getattr(member, "func", None) or getattr(member, "__func__", member)
        ours = (getattr(body, "__module__", None) or "").startswith("skdpal")
        if not name.startswith("_") and inspect.isfunction(body) and ours:
            yield f"{path}.{name}", inspect.unwrap(body)


METHODS = {name: body for path, thing in THINGS.items() if inspect.isclass(thing) for name, body in methods_of(path, thing)}


def glossary():
    """Parameters that mean the same everywhere."""
    return set(re.findall(r"^`(\*{0,2}\w+)` : ", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE))


def faults(path, codes):
    """What numpydoc finds, less what stands elsewhere."""
    for code, message in validation.validate(path)["errors"]:
        if code in codes:
            yield code, message


def missing_of(message):
    return set(re.findall(r"'(\*{0,2}\w+)'", message))


def raised_by(function):
    """Errors that a function raises by name, without those of functions inside it."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
            yield node.exc.func.id


def fields_are_told(thing, message):
    """A record's fields may stand under Attributes."""
    doc = validation.Validator._load_obj  # noqa: SLF001
    return dataclasses.is_dataclass(thing) and missing_of(message) <= set(
        re.findall(r"^(\w+)(?:, \w+)* : ", inspect.getdoc(thing) or "", re.MULTILINE)
    ) | set() and doc


@pytest.mark.parametrize("path", sorted(THINGS))
def test_what_stands_by_itself_is_told_completely(path):
    thing = THINGS[path]
    found = [
        (code, message)
        for code, message in faults(path, OWN)
        if not (code == "PR01" and fields_are_told(thing, message))
    ]
    assert not found


@pytest.mark.parametrize("path", sorted(METHODS))
def test_a_method_tells_what_it_takes(path):
    found = list(faults(path, SECTIONS))
    for code, message in faults(path, {"PR01"}):
        found += [(code, missing_of(message) - glossary())] if missing_of(message) - glossary() else []
    assert not found
    assert len(inspect.getdoc(METHODS[path]) or "") > 15


@pytest.mark.parametrize("path", sorted(METHODS))
def test_a_method_tells_what_comes_back(path):
    body = METHODS[path]
    told = re.search(r"^(Returns|Yields)$", inspect.getdoc(body), re.MULTILINE)
    assert told or inspect.signature(body).return_annotation is not inspect.Signature.empty


@pytest.mark.parametrize("path", sorted({**THINGS, **METHODS}))
def test_errors_that_are_raised_by_name_are_told(path):
    thing = {**THINGS, **METHODS}[path]
    if inspect.isclass(thing) and "__init__" not in vars(thing):
        return
    text = inspect.getdoc(thing) or ""
    names = set(raised_by(vars(thing)["__init__"] if inspect.isclass(thing) else thing))
    assert not {name for name in names if name not in text}


assert ledgers
