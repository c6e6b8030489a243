"""A reader whose errors are known."""

import copy

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from skdpal import DPPrototypeClassifier
from skdpal.cohort import Reader
from skdpal.datasets import load_wilms_readers
from skdpal.estimators import Transition

CLASSES = ["carcinoma", "adenoma"]
TABLE = [[0.7, 0.2, 0.1], [0.05, 0.9, 0.05]]
READER = Reader("night shift", TABLE, CLASSES, defer="unsure")


def test_a_reader_is_a_transition_with_a_name():
    assert READER.name == "night shift"
    assert READER.classes.tolist() == ["adenoma", "carcinoma"]
    assert READER.transition.observed.tolist() == ["adenoma", "carcinoma", "unsure"]
    assert READER.transition.frame.loc["carcinoma", "unsure"] == pytest.approx(0.1)
    framed = Reader("night shift", pd.DataFrame(TABLE, CLASSES, [*CLASSES, "unsure"]), defer="unsure")
    pd.testing.assert_frame_equal(framed.transition.frame, READER.transition.frame)
    assert Reader("same", READER.transition, defer="unsure").transition is READER.transition
    assert copy.deepcopy(READER) is READER
    assert repr(READER) == "Reader(name='night shift', defer='unsure')"


@pytest.mark.parametrize(
    ("confusion", "options", "words"),
    [
        ([[0.7, 0.2], [0.5, 0.5]], {}, r"sum 1.*0\.9"),
        ([[1.1, -0.1], [0.5, 0.5]], {}, r"least entry of -0\.1"),
        (TABLE, {}, r"Found shape \(2, 3\)"),
        ([[0.7, 0.3], [0.5, 0.5]], {"defer": "unsure"}, r"column for each of 3 labels"),
        ([[0.7, 0.3], [0.5, 0.5]], {"classes": None}, r"Expected classes"),
        ([[0.7, 0.3], [0.5, 0.5]], {"classes": ["a", "a"]}, r"different from each other"),
        (np.ones((5, 2, 2)) / 2, {}, r"one table for all patients.*private"),
        ({"patient 1": np.eye(2), "patient 2": np.eye(2)}, {}, r"one table for all patients.*average"),
        (
            pd.DataFrame(TABLE, CLASSES, [*CLASSES, "unsure"]),
            {"classes": None},
            r"column for \['unsure'\].*pass defer='unsure'",
        ),
        (pd.DataFrame(np.eye(2), CLASSES, ["carcinoma", "adenona"]), {"classes": None}, r"column for \['adenona'\]"),
        (
            pd.DataFrame(np.eye(2), CLASSES, CLASSES),
            {"classes": None, "defer": "unsure"},
            r"defer='unsure'.*column of its own",
        ),
        (pd.DataFrame(np.eye(2), CLASSES, CLASSES), {"classes": None, "defer": "adenoma"}, r"is no class"),
    ],
)
def test_a_bad_matrix_is_refused(confusion, options, words):
    with pytest.raises(ValueError, match=words):
        Reader("x", confusion, **({"classes": CLASSES} | options))


@pytest.mark.parametrize("name", ["", "  ", None, 3])
def test_a_reader_has_a_name(name):
    with pytest.raises(ValueError, match="Expected name to be a word"):
        Reader(name, np.eye(2), CLASSES)


def test_counts_with_a_defer_column():
    reader = Reader.from_counts("x", [[7, 2, 1], [1, 9, 0]], CLASSES, defer="unsure", pseudo_count=1)
    assert reader.transition.frame.loc["adenoma", "unsure"] == pytest.approx(1 / 13)
    assert reader.defer == "unsure"


def test_a_learner_takes_the_labels_of_a_reader(simulated):
    rows, truth = np.repeat(np.eye(2), 20, axis=0), np.repeat(["adenoma", "carcinoma"], 20)
    given = np.where(np.arange(40) % 7 == 0, "unsure", truth)
    model = DPPrototypeClassifier(0.5, transition=READER.transition).fit(rows, given)
    assert model.classes_.tolist() == READER.classes.tolist()
    assert (model.predict(rows) == truth).all()


def test_the_wilms_table_is_as_published():
    table = load_wilms_readers()
    assert table.index.name == "central"
    assert table.columns.name == "hospital"
    np.testing.assert_array_equal(table.T.to_numpy(), [[3493, 129], [76, 330]])  # hospital down, central across
    cells = table.stack()
    central, hospital = (cells.index.get_level_values(name).repeat(cells) for name in ("central", "hospital"))
    assert len(central) == 4028
    assert cohen_kappa_score(central, hospital) == pytest.approx(0.735, abs=5e-4)
    rates = Reader.from_counts("hospital", table).transition.frame
    assert rates.loc["unfavorable", "unfavorable"] == pytest.approx(0.719, abs=5e-4)
    assert rates.loc["favorable", "favorable"] == pytest.approx(0.979, abs=5e-4)


def test_noise_on_the_label_comes_after_the_reader():
    both = READER.transition @ Transition.randomized_response(1.0, READER.transition.observed)
    assert both.matrix.shape == (2, 3)
    np.testing.assert_allclose(both.matrix.sum(axis=1), 1)
    assert both.matrix.min() > READER.transition.matrix.min()
