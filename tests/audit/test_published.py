"""Everything that a study returns is read, whatever it is."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skdpal import DPPrototypeClassifier, PrivacyBudget, PrivacyLedger
from skdpal.audit.published import differences, publication_of
from skdpal.privacy import events


def leaves_of(published, **options):
    return publication_of(published, **options).leaves


@dataclass
class Card:
    number: int
    words: str


def base():
    return {
        "number": 1.0,
        "list": [1, (2, "a")],
        "array": np.arange(3.0),
        "words": np.array(["a", "b"]),
        "objects": np.array(["a", None], dtype=object),
        "frame": pd.DataFrame({"x": [1.0, 2.0]}, index=["p", "q"]),
        "series": pd.Series([1, 2]),
        "card": Card(1, "a"),
        "scaler": StandardScaler().fit(np.arange(4.0)[:, None]),
        "pipeline": Pipeline([("scaler", StandardScaler().fit(np.arange(6.0)[:, None]))]),
        "nothing": None,
        "set": {"b", "a"},
        "bytes": b"ab",
        "space": SimpleNamespace(inner={"deep": [np.nan]}),
    }


def changed(**new):
    return {**base(), **new}


@pytest.mark.parametrize(
    ("other", "path"),
    [
        (changed(number=2.0), "number"),
        (changed(number=1), "number"),
        (changed(list=[1, (3, "a")]), "list[1][0]"),
        (changed(list=[1, (2, "b")]), "list[1][1]"),
        (changed(array=np.array([0.0, 1.0, np.nextafter(2.0, 3.0)])), "array"),
        (changed(array=np.arange(4.0)), "array"),
        (changed(words=np.array(["a", "c"])), "words"),
        (changed(objects=np.array(["a", 1], dtype=object)), "objects"),
        (changed(frame=pd.DataFrame({"x": [1.0, 3.0]}, index=["p", "q"])), "frame['x']"),
        (changed(frame=pd.DataFrame({"x": [1.0, 2.0]}, index=["p", "r"])), "frame.index"),
        (changed(series=pd.Series([1, 3])), "series.values"),
        (changed(card=Card(1, "b")), "card.words"),
        (changed(scaler=StandardScaler().fit(np.arange(5.0)[:, None])), "scaler.mean_"),
        (changed(pipeline=Pipeline([("scaler", StandardScaler().fit(np.ones((6, 1))))])), "pipeline.steps[0][1].mean_"),
        (changed(nothing=0), "nothing"),
        (changed(set={"a"}), "set.length"),
        (changed(bytes=b"abc"), "bytes"),
        (changed(space=SimpleNamespace(inner={"deep": [0.0]})), "space.inner['deep'][0]"),
        (changed(more=1), "more"),
    ],
)
def test_what_differs_is_found_by_its_path(other, path):
    assert path in differences(leaves_of(base()), leaves_of(other))


def test_the_same_is_the_same_also_nan():
    assert not differences(leaves_of(base()), leaves_of(base()))


def test_numbers_tell_how_far_they_are_apart():
    assert differences(leaves_of(base()), leaves_of(changed(number=3.0))) == {"number": 2.0}


def test_files_are_compared_by_name_size_and_bytes(tmp_path):
    for name in ("one", "two", "three"):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "inner" / "a.txt").write_text("same")
    (tmp_path / "two" / "inner" / "a.txt").write_text("sane")
    (tmp_path / "three" / "b.txt").write_text("")
    one, two, three = (leaves_of({"release": tmp_path / name}) for name in ("one", "two", "three"))
    assert list(differences(one, two)) == ["release/inner/a.txt"]
    assert list(differences(one, three)) == ["release/", "release/b.txt"]
    assert one["release/inner/a.txt"].form == "4 bytes"


def test_ledgers_are_found_wherever_they_are():
    ledger = PrivacyLedger(PrivacyBudget(2.0))
    ledger.charge(events.gaussian(4.0), "a")
    model = DPPrototypeClassifier(4.0, ledger=ledger.within("cohort"))
    found = publication_of({"models": [model, Pipeline([("model", model)])], "again": ledger}).ledgers
    assert found == [ledger]
    leaves = leaves_of(model)
    assert any(path.endswith("['label']") for path in leaves)
    assert not any("certificate" in path for path in leaves)
    assert any("certificate" in path for path in leaves_of(model, certificates=True))


def test_a_learner_does_not_publish_the_patients_that_it_holds():
    learner = SimpleNamespace(estimator=SimpleNamespace(sums=1.0), X_training=np.ones((3, 3)), ledger=None)
    assert not any("X_training" in path for path in leaves_of(learner))
    assert "estimator.sums" in leaves_of(learner)


def test_a_thing_that_holds_itself_ends():
    loop = []
    loop.append(loop)
    assert leaves_of({"loop": loop})
