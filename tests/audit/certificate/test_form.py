"""The published form: what ledgers write fits it, what nobody should believe does not."""

import copy
import itertools
import math
import re
from importlib.resources import files

import jsonschema
import pytest

from skdpal.audit.certificate import schema, verify_certificate
from skdpal.audit.certificate.form import parsed, problems_of


def places(value, where=()):
    """Every place of a certificate, with what is there."""
    yield where, value
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inside:
        yield from places(part, (*where, name))


def changed(certificate, where, value):
    """The certificate with another value at a place; None there takes it out."""
    other = copy.deepcopy(certificate)
    inner = other
    for name in where[:-1]:
        inner = inner[name]
    if value is None:
        del inner[where[-1]]
    else:
        inner[where[-1]] = value
    return other


def test_the_schema_is_one_and_names_no_host():
    jsonschema.Draft202012Validator.check_schema(schema())
    assert schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert re.fullmatch(r"urn:skdpal:certificate:\d+", schema()["$id"])
    assert schema()["properties"]["schema"]["const"] == int(schema()["$id"].rpartition(":")[2])


def test_the_schema_travels_with_the_package():
    assert files("skdpal").joinpath("audit/certificate/certificate.schema.json").is_file()


def test_every_field_is_described():
    silent = [
        where
        for where, value in places(schema())
        if where[-2:-1] == ("properties",)
        and "if" not in where
        and "then" not in where
        and not value.get("description")
    ]
    assert not silent


def test_certificates_of_every_kind_have_the_form(certificate):
    assert problems_of(certificate) == []


def test_a_simulated_one(simulated, budget):
    from skdpal.privacy import PrivacyLedger

    certificate = PrivacyLedger(budget).certificate()
    assert certificate["status"] == "simulation: not private"
    assert problems_of(certificate) == []


def test_a_void_one(ledger):
    ledger.mark_void("chosen by uncharged scores")
    assert problems_of(ledger.certificate()) == []


def test_no_field_can_be_missing(certificate):
    needed = set(schema()["required"]) & set(certificate)
    assert len(needed) > 25
    for name in needed:
        assert problems_of(changed(certificate, (name,), None)), name
    for name in ("number", "label", "account", "event", "epsilon", "date", "cap", "question"):
        if certificate["receipts"]:
            assert problems_of(changed(certificate, ("receipts", 0, name), None)), name


def test_no_other_field_can_be_added(certificates):
    for kind in ("gdp", "caps", "planned"):
        certificate = certificates[kind]
        for where, value in places(certificate):
            free = where[:1] == ("versions",) or where[:2] == ("odometer", "epsilon_spent_by_account")
            if isinstance(value, dict) and not free and where[:1] not in (("caps",), ("lower_ceilings",)):
                assert problems_of(changed(certificate, (*where, "members"), 3)), where


def test_no_number_can_be_negative_infinite_none_or_a_word(certificates):
    wrongs = itertools.cycle([math.nan, math.inf, "2", -math.inf, True, [2]])
    for kind in ("gdp", "labels", "search", "planned"):
        certificate = certificates[kind]
        for where, value in places(certificate):
            if not isinstance(value, bool) and isinstance(value, int | float):
                for wrong in (-abs(value) - 1e-3, next(wrongs)):
                    assert problems_of(changed(certificate, where, wrong)), (where, wrong)


def test_words_have_their_form(certificates):
    certificate = certificates["gdp"]
    for where, wrong in {
        ("adjacency",): "add-remove",
        ("filter",): "zcdp",
        ("status",): "Valid",
        ("journal_head",): "0" * 63,
        ("created",): "1.5.2026",
        ("account",): "cohort/../x",
        ("receipts", 0, "event", "kind"): "nonprivate",
        ("history", 1, "kind"): "refund",
        ("schema",): 1,
        ("not_covered",): [],
    }.items():
        assert problems_of(changed(certificate, where, wrong)), where


def test_problems_name_the_place(certificates):
    (problem,) = problems_of(changed(certificates["gdp"], ("receipts", 0, "event", "steps"), 0))
    assert problem.startswith("receipts/0/event")
    assert "0 is less than the minimum of 1" in problem
    assert any(line.startswith("epsilon: Expected a number. Found nan") for line in problems_of({"epsilon": math.nan}))


@pytest.mark.parametrize("text", ['{"epsilon": NaN}', '{"epsilon": Infinity}', '{"epsilon": 2.0, "epsilon": 20.0}'])
def test_what_readers_could_read_differently_is_no_certificate(text, tmp_path):
    with pytest.raises(ValueError, match=r"Expected (JSON|each name once)"):
        parsed(text)
    path = tmp_path / "certificate.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="Ask for the certificate again"):
        verify_certificate(path)


def test_a_form_that_is_not_known_is_one_failed_check(certificates):
    found = verify_certificate({**certificates["gdp"], "epsilon": -2.0})
    assert [check.name for check in found.checks] == ["form"]
    assert not found.passed


def test_the_page_has_every_field():
    """docs/certificate.md repeats the schema; write it anew with `python -m tests.audit.certificate.table`."""
    from tests.audit.certificate.table import PAGE, page_with_table

    assert PAGE.read_text(encoding="utf-8") == page_with_table()
