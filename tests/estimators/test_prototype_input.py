"""Bad input is refused in plain words, without a patient's value or a count, and for free."""

import re

import numpy as np
import pandas as pd
import pytest

from skdpal import DPPrototypeClassifier
from skdpal.estimators import PublicPrior

CLASSES = ("a", "b", "c")
VALUE = 0.4321  # of a patient; it must not turn up in a message
ROWS = np.full((13, 3), VALUE) + np.eye(13, 3) / 8
LABELS = np.array(list("abcabcabcabca"))


def with_entry(entry):
    rows = ROWS.copy()
    rows[4, 1] = entry
    return rows


def with_label(label):
    labels = LABELS.astype(object)
    labels[4] = label
    return labels


BAD = {
    "NaN": (with_entry(np.nan), LABELS, "X", "Fill or drop"),
    "infinity": (with_entry(np.inf), LABELS, "X", "Fill or drop"),
    "words": (ROWS.astype(object) + np.where(np.eye(13, 3) > 0, 0, 0).astype(object), with_label("z"), "y", "classes"),
    "a name among the numbers": (np.array([["0.4321", "Smith", "1"]] * 13), LABELS, "X", "Convert"),
    "a column of words": (
        pd.DataFrame({"u": ROWS[:, 0], "sex": ["Smith"] * 13, "w": 0.0}),
        LABELS,
        "X",
        "Convert",
    ),
    "complex numbers": (ROWS + 1j, LABELS, "X", "Convert|real"),
    "one patient as a flat array": (ROWS[0], LABELS[:1], "X", "Reshape"),
    "an unknown label": (ROWS, with_label("zebra"), "y", "Correct the label"),
    "a missing label": (ROWS, with_label(None), "y", "Correct the label|label"),
    "a label that is NaN": (ROWS, with_label(np.nan), "y", "Correct the label|label"),
    "numbers for labels": (ROWS, np.arange(13) % 3, "y", "Correct the label"),
    "too few labels": (ROWS, LABELS[:-1], "y", "Pass the labels of the same rows"),
    "two columns of labels": (ROWS, np.column_stack([LABELS, LABELS]), "y", "y"),
    "columns that the prior has not": (np.column_stack([ROWS, ROWS]), LABELS, "X", "same PublicEncoder"),
}


def model(ledger, **parameters):
    prior = PublicPrior.from_public(np.eye(3), list(CLASSES))
    return DPPrototypeClassifier(4.0, prior=prior, ledger=ledger, **parameters)


@pytest.mark.parametrize("verb", ["fit", "partial_fit"])
@pytest.mark.parametrize("bad", BAD)
def test_bad_rows_and_labels_are_refused_discreetly_and_for_free(bad, verb, ledger, journal):
    rows, labels, argument, remedy = BAD[bad]
    before = journal(ledger)
    with pytest.raises(ValueError, match=remedy) as error:
        getattr(model(ledger), verb)(rows, labels)
    message = str(error.value)
    assert re.search(rf"\b{argument}\b", message)
    for secret in ("0.43", "Smith", "zebra", "13", "12"):  # values, a label, the number of patients
        assert secret not in message
    assert journal(ledger) == before


@pytest.mark.parametrize("verb", ["predict", "predict_proba", "uncertainty"])
@pytest.mark.parametrize(
    "rows", [ROWS[0], with_entry(np.nan), np.array([["0.4321", "Smith", "1"]])], ids=["flat", "NaN", "words"]
)
def test_predictions_refuse_bad_rows_discreetly(rows, verb, ledger):
    fitted = model(ledger).fit(ROWS, LABELS)
    with pytest.raises(ValueError, match="X") as error:
        getattr(fitted, verb)(rows)
    assert not re.search(r"0\.43|Smith", str(error.value))


def test_classes_are_never_inferred_from_private_labels(ledger, journal):
    with pytest.raises(ValueError, match=r"Expected classes.*classes=\[\.\.\.\]"):
        DPPrototypeClassifier(4.0, ledger=ledger).fit(ROWS, LABELS)
    assert len(journal(ledger)) == 1


def test_classes_may_be_inferred_in_a_simulation(simulated):
    assert DPPrototypeClassifier(4.0).fit(ROWS, LABELS).classes_.tolist() == list(CLASSES)


def test_all_classes_count_even_if_nobody_has_them(ledger):
    fitted = DPPrototypeClassifier(4.0, classes=["a", "b", "c", "d"], ledger=ledger).fit(ROWS[:2], ["a", "a"])
    assert fitted.predict_proba(ROWS).shape == (13, 4)


def test_classes_other_than_those_of_the_prior_are_refused(ledger, journal):
    with pytest.raises(ValueError, match=r"Expected classes to be those of the prior.*Make the prior"):
        model(ledger, classes=["a", "b"]).fit(ROWS, with_label("a"))
    assert len(journal(ledger)) == 1


def test_columns_in_another_order_than_the_prior_are_refused(ledger, journal):
    public = pd.DataFrame(np.eye(3), columns=["u", "v", "w"])
    prior = PublicPrior.from_public(public, list(CLASSES))
    frame = pd.DataFrame(ROWS, columns=["u", "w", "v"])
    with pytest.raises(ValueError, match=r"Expected X to have the columns of the prior.*Reorder"):
        DPPrototypeClassifier(4.0, prior=prior, ledger=ledger).fit(frame, LABELS)
    assert len(journal(ledger)) == 1


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("noise_multiplier", 0.0),
        ("noise_multiplier", -1.0),
        ("noise_multiplier", float("nan")),
        ("noise_multiplier", "2"),
        ("prior_weight", 0.0),
        ("prior_weight", "strong"),
    ],
)
def test_bad_parameters_are_refused_by_name_before_rows_are_read(parameter, value, ledger, untouchable, journal):
    with pytest.raises(ValueError, match=parameter):
        model(ledger).set_params(**{parameter: value}).fit(untouchable, untouchable)
    assert len(journal(ledger)) == 1


@pytest.mark.parametrize("expected", [-1, float("nan"), float("inf"), "3"])
def test_a_bad_expectation_is_refused(expected, ledger, journal):
    with pytest.raises(ValueError, match="expected_records"):
        model(ledger).fit(ROWS, LABELS, expected_records=expected)
    assert len(journal(ledger)) == 1


@pytest.mark.parametrize("ids", [["p"] * 12, ["p"] * 12 + [None]], ids=["too few", "a missing one"])
def test_bad_record_ids_are_refused(ids, ledger, journal):
    with pytest.raises(ValueError, match="Expected record_ids") as error:
        model(ledger).fit(ROWS, LABELS, record_ids=ids)
    assert "12" not in str(error.value)
    assert len(journal(ledger)) == 1


def test_a_second_cohort_with_other_columns_is_refused_for_free(ledger):
    fitted = DPPrototypeClassifier(4.0, classes=CLASSES, ledger=ledger).fit(ROWS, LABELS)
    with pytest.raises(ValueError, match="features"):
        fitted.partial_fit(ROWS[:, :2], LABELS)
    assert len(ledger.receipts()) == 1
    assert len(fitted.releases_) == 1


def test_a_second_cohort_cannot_bring_other_classes(ledger):
    fitted = DPPrototypeClassifier(4.0, classes=CLASSES, ledger=ledger).fit(ROWS, LABELS)
    with pytest.raises(ValueError, match="classes"):
        fitted.partial_fit(ROWS, LABELS, classes=["a", "b", "c", "d"])
    assert len(ledger.receipts()) == 1


@pytest.mark.parametrize(
    ("X", "y"),
    [(np.ones((2, 2)), ["a"]), (np.full((2, 2), np.nan), ["a", "b"]), (np.ones((0, 2)), []), (np.ones(2), ["a", "b"])],
)
def test_a_prior_refuses_bad_public_rows(X, y):
    with pytest.raises(ValueError, match=r"\bX\b"):
        DPPrototypeClassifier.prior_from_public(X, y)


def test_many_classes_among_few_labels_are_not_told(ledger):
    """scikit-learn warns of it, and so tells how many labels differ; warnings are errors here."""
    labels = [f"c{number}" for number in range(25)]
    model = DPPrototypeClassifier(4.0, classes=labels, ledger=ledger)
    model.fit(np.eye(25), labels)
    assert len(ledger.receipts()) == 1
