"""Faults of what surrounds the learner: hospitals, shift, synthetic rows, a negotiator, readers. Each is built of real parts.

The same parts without the fault are in `test_honest_parts.py`, or here beside it.
"""

import numpy as np
import pandas as pd
import pytest

from skdpal import DPPrototypeClassifier, PrivacyBudget, PrivacyLedger
from skdpal.cohort import DPModalityClassifier, Sites
from skdpal.cohort.experts import Panel, SecondOpinion
from skdpal.cohort.experts.benefit import SecondRead
from skdpal.estimators import DPShift
from skdpal.model_selection import private_accuracy
from skdpal.privacy import epsilon_of, events
from skdpal.privacy.accounting.gaussian import epsilon_of_mu
from skdpal.privacy.accounts import POOL
from skdpal.privacy.identities import sum_by_patient
from skdpal.privacy.mechanisms import GaussianBlocks, GaussianSum
from skdpal.privacy.randomness import perturb
from tests.audit.faults import studies
from tests.audit.faults.studies import CLASSES, DELTA, IDS, LABELS, ROWS, STRANGERS, WIDTH
from tests.audit.faults.tape import along

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
SIGMA = 1 / 0.5016  # ε = 2
CEILINGS = {"a": 4.0, "b": 12.0}


def there(present, size=8):
    return np.arange(0 if present else 1, size)


# ---- hospitals ---------------------------------------------------------------------------------------------------------


PUBLIC = {"a": 3.0, "b": 3.0}


def pooled(present, expected=PUBLIC):
    """The canary is at the strict hospital; a hidden selection decides who is in the release."""
    members = {"a": IDS[:3], "b": IDS[3:6]}
    ledger = PrivacyLedger(PrivacyBudget(12.0, DELTA))
    sites = Sites(members, CEILINGS).open(ledger)
    ledger.begin_round("hidden", hidden=True)
    who = there(present, 6)
    fitted = sites.fit(
        DPPrototypeClassifier(classes=range(CLASSES)),
        ROWS[who],
        LABELS[who],
        record_ids=IDS[who],
        expected_records=expected,
    )
    return [studies.released(fitted), studies.certified(ledger)]


def test_a_public_weight_tells_nothing():
    assert not along(pooled).visible


def test_a_realised_weight_is_seen(monkeypatch):
    """Σ C·n of those who were accepted, as the number that divides the sums."""

    def counted(self, sites, ids, expected):
        return {site: float((sites == site).sum()) for site in self.members}

    monkeypatch.setattr(Sites, "_numbers", counted)
    assert any("releases" in found or "proba" in found for found in along(pooled).visible)


def test_a_realised_weight_is_refused():
    """Without the public numbers."""
    with pytest.raises(ValueError, match="Expected expected_records, the public number of patients of each site"):
        pooled(True, expected=None)


def attempts(present, fresh):
    """Three hospitals add noise of σ/√3 each to sums of theirs; the third drops out, and the sum is made again.

    skdpal has no secure aggregation; its hospitals' releases (`Sites`) draw noise anew for every sum.
    """
    rows = {"a": np.zeros(2), "b": np.zeros(2), "c": present * np.array([0.6, 0.8])}
    share = SIGMA / np.sqrt(3)
    kept = {site: perturb(np.zeros(2), 1.0) for site in rows} if not fresh else None

    def noisy(names):
        if kept is None:
            return perturb(sum(rows[name] for name in names), share * np.sqrt(len(names)))
        return sum(rows[name] + share * kept[name] for name in names)

    return [noisy("abc"), noisy("ab")]


def test_shares_of_noise_that_are_used_again_are_seen():
    assert along(lambda present: attempts(present, fresh=True)).mu == pytest.approx(1 / SIGMA)
    assert along(lambda present: attempts(present, fresh=False)).visible
    # whoever subtracts the second sum from the first is left with the patient and one share of the noise
    assert epsilon_of_mu(np.sqrt(3) / SIGMA, DELTA) == pytest.approx(3.72, abs=0.02)
    assert epsilon_of_mu(1 / SIGMA, DELTA) == pytest.approx(2.0, abs=0.01)


# ---- a shift -------------------------------------------------------------------------------------------------------------

NOISE = 0.7


def shifted_start(present, late):
    """A shift of everybody, and a start; what is published, and what the start's patients have paid."""
    ledger = PrivacyLedger(PrivacyBudget(60.0, DELTA))
    who = there(present)
    if late:  # the start has left, and the pool pays for what it reads of everybody
        start = ledger.split(POOL, "cohort/start", list(IDS[:4]))
        ledger.charge(events.gaussian(NOISE), "shift", POOL)
        moved = DPShift(NOISE)
        moved.n_features_in_ = WIDTH
        moved.release_ = GaussianSum(NOISE).run(ROWS[who], IDS[who])
        moved.shift_ = moved.release_ / 12
    else:
        moved = DPShift(NOISE, ledger=ledger).fit(ROWS[who], record_ids=IDS[who], expected_records=12)
        start = ledger.split(POOL, "cohort/start", list(IDS[:4]))
    first = who[who < 4]
    model = DPPrototypeClassifier(NOISE, classes=range(CLASSES), ledger=start)
    model.fit(moved.transform(ROWS[first]), LABELS[first], record_ids=IDS[first], expected_records=4)
    return {"shift": moved.release_, **studies.released(model), "spent": ledger.spent("cohort/start")}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("late", [False, True])
def test_a_shift_that_is_charged_after_the_split_is_seen(late, seed):
    found = []
    path = along(lambda present: found.append(shifted_start(present, late)) or found[-1], seed)
    assert not path.visible, path.visible
    assert path.mu == pytest.approx(np.sqrt(2) / NOISE)
    assert (epsilon_of_mu(path.mu, DELTA) > found[0]["spent"] * (1 + 1e-6)) is late


def test_a_shift_after_the_split_is_refused():
    ledger = PrivacyLedger(PrivacyBudget(60.0, DELTA))
    ledger.split(POOL, "cohort/start", list(IDS[:4]))
    with pytest.raises(RuntimeError, match="no patients were moved to accounts of their own"):
        DPShift(NOISE, ledger=ledger).fit(ROWS, record_ids=IDS, expected_records=12)


# ---- synthetic rows --------------------------------------------------------------------------------------------------------


def synthetic(present, keep):
    """Rows drawn from a released model with a public seed; some are thrown away."""
    ledger = PrivacyLedger(PrivacyBudget(60.0, DELTA))
    who = there(present)
    model = DPPrototypeClassifier(NOISE, classes=range(CLASSES), ledger=ledger)
    model.fit(ROWS[who], LABELS[who], record_ids=IDS[who], expected_records=8)
    means = model.posterior_.class_means
    rows = means.repeat(200, axis=0) + np.random.default_rng(5).normal(size=(200 * CLASSES, WIDTH)) / 2
    return [rows[keep(rows, ROWS[who])], *studies.released(model).values()]


def all_of_them(rows, patients):
    return slice(None)


def none_like_a_patient(rows, patients):
    """Planted: rows that are near a real one are thrown away, which leaves a hole around every patient."""
    return np.linalg.norm(rows[:, None] - patients, axis=2).min(axis=1) > 0.8


def as_many_as_patients(rows, patients):
    return slice(len(patients))


@pytest.mark.parametrize("seed", range(2))
def test_synthetic_rows_of_a_release_are_free(seed):
    path = along(lambda present: synthetic(present, all_of_them), seed)
    assert not path.tells_more_than(1 / NOISE), path


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("keep", [none_like_a_patient, as_many_as_patients])
def test_synthetic_rows_that_patients_decide_about_are_seen(keep, seed):
    path = along(lambda present: synthetic(present, keep), seed)
    assert path.visible
    assert path.visible[0].startswith("published[0]")


# ---- a negotiator ----------------------------------------------------------------------------------------------------------


def negotiated(present, state):
    """Two releases; what the first leaves of the budget for the second is decided in between."""
    budget = PrivacyBudget(epsilon_of([events.gaussian(SIGMA)], DELTA) * (1 + 1e-9), DELTA)
    ledger = PrivacyLedger(budget)
    who = there(present)
    model = DPPrototypeClassifier(2 * SIGMA, classes=range(CLASSES), ledger=ledger)
    model.fit(ROWS[who], LABELS[who], record_ids=IDS[who], expected_records=8)
    noise = max(1.2 * SIGMA + 0.1 * state(model, who), ledger.headroom(events.gaussian))
    model.set_params(noise_multiplier=noise)
    model.partial_fit(ROWS[who], LABELS[who], record_ids=IDS[who], expected_records=8)
    return [studies.certified(ledger), *studies.released(model).values()]


@pytest.mark.parametrize("seed", range(3))
def test_a_negotiator_may_look_at_releases(seed):
    """Under the gdp filter, however it decides."""
    path = along(lambda present: negotiated(present, lambda model, who: model.release_[1].sum()), seed)
    assert not path.tells_more_than(1 / SIGMA), path


def test_a_negotiator_who_is_told_the_number_of_patients_is_seen():
    path = along(lambda present: negotiated(present, lambda model, who: len(who)))
    assert any("gaussian of" in found for found in path.visible)  # the noise itself tells it


# ---- an accuracy ------------------------------------------------------------------------------------------------------


def judged_by_hidden_patients(present):
    """Whom a hidden round chose, as the patients on whom a model is judged."""
    ledger = PrivacyLedger(PrivacyBudget(60.0, DELTA))
    ledger.begin_round("round 1", hidden=True)
    who = there(present)
    chosen = ledger.split(POOL, "cohort/round-1", list(IDS[who]))
    prior = DPPrototypeClassifier.prior_from_public(STRANGERS, np.arange(5) % CLASSES)
    model = DPPrototypeClassifier(prior=prior).public_model()
    score = private_accuracy(model, ROWS[who], LABELS[who], ledger=chosen, noise_multiplier=NOISE, record_ids=IDS[who])
    return vars(score)


def test_an_accuracy_of_hidden_patients_is_refused(monkeypatch):
    """Or their number would be published, and divide the noise."""
    with pytest.raises(ValueError, match="Expected patients whose number is public"):
        judged_by_hidden_patients(True)
    monkeypatch.setattr(PrivacyLedger, "settled", lambda self, account: True)
    assert "published['n_patients'] differs" in along(judged_by_hidden_patients).visible


def test_the_number_of_patients_is_public_where_no_hidden_round_moved_any():
    ledger = PrivacyLedger(PrivacyBudget(60.0, DELTA))
    ledger.split(POOL, "cohort/evaluation", list(IDS[:3]))
    assert ledger.settled(POOL)
    ledger.begin_round("round 1", hidden=True)
    ledger.split(POOL, "cohort/round-1", list(IDS[3:5]))
    assert {leaf: ledger.settled(leaf) for leaf in ledger.accounts()} == {
        POOL: False,
        "cohort/evaluation": True,
        "cohort/round-1": False,
    }


# ---- readers, labels, modalities: what cannot be said, and what is seen -------------------------------------------------------

CONFUSION = pd.DataFrame([[0.9, 0.1], [0.2, 0.8]], ["a", "b"], ["a", "b"])


def test_the_same_reader_twice_is_refused():
    panel = Panel({"local": CONFUSION, "central": CONFUSION})
    twice = pd.DataFrame([["a", "a", "b"]], columns=["local", "local", "central"])
    with pytest.raises(ValueError, match="Expected columns of votes to be different readers"):
        panel.codes(twice)


def second_opinion(present):
    """Published: who gets a second read. The canary's only vote is there, or the slot is empty."""
    table = pd.DataFrame({"local": ["b" if present else None, "a", "b", "a"], "central": None}, index=IDS[:4])
    ledger = PrivacyLedger(PrivacyBudget(60.0, DELTA))
    panel = Panel({"local": CONFUSION, "central": CONFUSION})
    opinion = SecondOpinion(panel, "central", 2, release="published", noise_multiplier=NOISE, ledger=ledger)
    return [opinion.choose(table).tolist(), studies.certified(ledger)]


def test_an_empty_slot_that_is_scored_is_seen(monkeypatch):
    """Planted: a slot that nobody read gets the benefit of a read, from 0 to 1, where one half is priced."""
    assert not along(second_opinion).tells_more_than(1 / NOISE)
    monkeypatch.setattr(SecondRead, "relative", lambda self, model, rows, largest: self.scores(model, rows) / largest)
    assert along(second_opinion).tells_more_than(1.5 / NOISE)


WIDTHS = {"rna": 2, "meth": 1, "clinical": 1}
NOISES = {"rna": 0.2, "meth": 4.0, "clinical": 0.2}


def of_meth(present, prepare=lambda rows: rows, modalities=None):
    """The canary's "meth" is there, or is not."""
    rows = ROWS[:8] / 2
    rows[0, 2] = 0.5 if present else 0.0
    ledger = PrivacyLedger(PrivacyBudget(60.0, DELTA))
    model = DPModalityClassifier(NOISES, WIDTHS, classes=range(CLASSES), ledger=ledger)
    model.fit(
        prepare(rows), LABELS[:8], record_ids=IDS[:8], expected_records=8, modalities=modalities and modalities(rows)
    )
    parts = model.releases_[-1].parts
    return [{name: [part.sums, part.counts] for name, part in parts.items()}, model.predict_proba(STRANGERS)]


def one_norm(rows):
    """Planted: the whole row is scaled to length 1 before it is cut into parts."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def only_what_somebody_has(rows):
    """Planted: a modality that nobody has is not released; the others lack "meth" here."""
    return [name for name in WIDTHS if name != "meth" or rows[0, 2] != 0.0]


def test_a_norm_over_all_modalities_is_seen():
    assert not along(of_meth).tells_more_than(1 / NOISES["meth"])
    assert along(lambda present: of_meth(present, one_norm)).tells_more_than(1 / NOISES["meth"])


def test_a_release_that_is_skipped_is_seen():
    assert along(lambda present: of_meth(present, modalities=only_what_somebody_has)).visible


def test_parts_that_share_a_clipping_norm_are_seen(monkeypatch):
    """Planted inside the mechanism: what one part leaves of the length may be used by another."""

    def shared(self, contributions, ids):
        patients = sum_by_patient(contributions, ids)
        norms = np.linalg.norm(patients, axis=1, keepdims=True)
        patients = patients / np.maximum(norms / np.sqrt(len(self.blocks)), 1e-12)
        cuts = np.cumsum([width for _, width in self.blocks.values()])[:-1]
        noises = [noise for noise, _ in self.blocks.values()]
        parts = zip(np.split(patients.sum(axis=0), cuts), noises, strict=True)
        return np.concatenate([perturb(part, noise) for part, noise in parts])

    monkeypatch.setattr(GaussianBlocks, "run", shared)
    assert along(of_meth).tells_more_than(1 / NOISES["meth"])
