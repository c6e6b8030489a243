"""What a repeated search must not tell: how often it ran, what lost, and why something failed."""

import json
import pickle
import sys
import warnings

import numpy as np
import pytest
from sklearn.base import clone

from skdpal import DPPrototypeClassifier, PrivacyBudget, PrivacyLedger
from skdpal.model_selection import PrivateSearchCV, repeats
from skdpal.model_selection.runs import Run, best_of
from skdpal.privacy.randomness import simulation

RNG = np.random.default_rng(1)
Y = np.array(["a", "b"] * 10)
X = RNG.normal(size=(20, 2)) + 2 * (Y == "a")[:, None]
IDS = [f"p{number}" for number in range(20)]
LAST_WORDS = "p7 is the one with label a"


class Loud(DPPrototypeClassifier):
    """Prints, warns, and may fail."""

    fails = False

    def fit(self, X, y, **parameters):
        fitted = super().fit(X, y, **parameters)
        print("fitted", self.prior_weight)
        print("fitted", file=sys.stderr)
        warnings.warn(f"fitted {id(self)}", UserWarning, stacklevel=2)
        if self.fails:
            raise KeyError(LAST_WORDS)
        return fitted


def search(path, runs, monkeypatch, model=None, **more):
    """A search that runs so often, on a ledger of its own."""
    monkeypatch.setattr(repeats, "draw", lambda mean, law: runs)
    ledger = PrivacyLedger.create(path / f"{runs}.ledger", PrivacyBudget(2.0, 1e-5), filter="renyi")
    model = model or Loud(8.0, classes=["a", "b"])
    found = PrivateSearchCV(model, {"prior_weight": [2.0, 3.0, 9.0]}, ledger=ledger, mean_repeats=5.0, **more)
    return found, ledger


def shape_of(thing):
    """Everything about an object but its numbers and where it is."""
    if isinstance(thing, dict):
        return {key: shape_of(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [shape_of(value) for value in thing]
    if isinstance(thing, np.ndarray):
        return thing.shape
    return shape_of(vars(thing)) if type(thing).__module__.startswith("skdpal.estimators") else type(thing).__name__


def test_nothing_tells_how_often_it_ran(tmp_path, monkeypatch, capsys, journal):
    seen = []
    for runs in (1, 17):
        found, ledger = search(tmp_path, runs, monkeypatch)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", "κ = n μ")  # from the rehearsal, once a candidate
            found.fit(X, Y, record_ids=IDS)
        rows = [{**row, "id": "", "created": ""} for row in journal(ledger)]
        certificate = {**ledger.certificate(), "head": ""}
        attributes = {name: value for name, value in vars(found).items() if name not in ("ledger", "candidates")}
        attributes["estimator"] = None
        seen.append(
            {
                "rows": json.dumps(
                    [{k: v for k, v in row.items() if k not in ("digest", "previous", "hash")} for row in rows],
                    default=str,
                ),
                "receipts": [(receipt.label, receipt.event, receipt.account) for receipt in ledger.receipts()],
                "attributes": shape_of(attributes),
                "certificate": len(json.dumps(certificate, default=str)),
                "size": len(pickle.dumps(clone(found.best_estimator_).set_params(ledger=None, prior_weight=2.0))),
                "output": capsys.readouterr(),
            }
        )
    assert seen[0] == seen[1]
    assert seen[0]["output"] == ("", "")


@pytest.mark.parametrize("runs", [1, 5])
def test_a_failure_has_no_reason(tmp_path, monkeypatch, capsys, runs):
    monkeypatch.setattr(Loud, "fails", True)
    found, ledger = search(tmp_path, runs, monkeypatch)
    with pytest.raises(RuntimeError, match="A run of the search failed; the charge stands") as error:
        found.fit(X, Y, record_ids=IDS)
    assert error.value.__context__ is None
    assert error.value.__cause__ is None
    frames = [entry.frame for entry in error.traceback]
    held = {name for frame in frames for name in frame.f_locals}
    assert "number" not in held
    assert all(LAST_WORDS not in repr(frame.f_locals.get("error")) for frame in frames)
    assert capsys.readouterr() == ("", "")
    assert len(ledger.receipts()) == 1


def test_the_number_is_drawn_after_the_charge(tmp_path, monkeypatch):
    found, ledger = search(tmp_path, 1, monkeypatch)
    paid = []
    monkeypatch.setattr(repeats, "draw", lambda mean, law: paid.append(len(ledger.receipts())) or 2)
    found.fit(X, Y, record_ids=IDS)
    assert paid == [1]


def test_a_crash_is_paid_for(tmp_path, monkeypatch):
    found, ledger = search(tmp_path, 1, monkeypatch)

    def dies(mean, law):
        raise KeyboardInterrupt

    monkeypatch.setattr(repeats, "draw", dies)
    with pytest.raises(KeyboardInterrupt):
        found.fit(X, Y, record_ids=IDS)
    assert len(PrivacyLedger.open(tmp_path / "1.ledger").receipts()) == 1


@pytest.mark.parametrize(("runs", "pad_to", "fits"), [(2, None, 2), (2, 6, 6), (9, 6, 9)])
def test_padding_runs_at_least_so_often_and_changes_no_choice(tmp_path, monkeypatch, runs, pad_to, fits):
    fitted = []

    class Counting(DPPrototypeClassifier):
        def fit(self, X, y, **parameters):
            super().fit(X, y, **parameters)
            fitted.append(self)
            return self

    found, _ = search(tmp_path, runs, monkeypatch, Counting(8.0, classes=["a", "b"]), pad_to=pad_to)
    found.fit(X, Y, record_ids=IDS)
    assert len(fitted) == fits
    assert any(found.best_estimator_ is model for model in fitted[:runs])


def test_of_equals_the_first_is_kept_and_padding_never_wins():
    runs = [Run(score, {}, name) for name, score in zip("abcde", [1.0, 3.0, 3.0, 2.0, 9.0], strict=True)]
    stream = iter(runs)
    assert best_of(lambda: next(stream), 4, pad_to=5).model == "b"
    assert next(stream, None) is None


def test_every_candidate_is_drawn_with_replacement_from_secret_coins(tmp_path, monkeypatch):
    """600 runs over three candidates: each 200 ± 67 times, wrong with probability below 1e-7."""
    counts = {}

    class Counting(DPPrototypeClassifier):
        def fit(self, X, y, **parameters):
            counts[self.prior_weight] = counts.get(self.prior_weight, 0) + 1
            self.classes_ = np.array(["a", "b"])
            if self.ledger is not None:
                self.ledger.charge(self.privacy_event(), "fit")
            return self

        def predict(self, X):
            return np.full(len(X), "a")

    found, _ = search(tmp_path, 600, monkeypatch, Counting(8.0, classes=["a", "b"]))
    found.fit(X, Y, record_ids=IDS)
    assert set(counts) == {2.0, 3.0, 9.0}
    assert all(133 < number < 267 for number in counts.values())


def test_a_simulation_repeats_the_whole_search():
    results = []
    for _ in range(2):
        with simulation(5):
            found = PrivateSearchCV(
                DPPrototypeClassifier(8.0, classes=["a", "b"]), {"prior_weight": [1.0, 2.0, 9.0]}, method="repeat"
            ).fit(X, Y)
            results.append((found.best_params_, found.best_score_))
    assert results[0] == results[1]
