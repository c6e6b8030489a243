"""Whole studies out of skdpal's own parts, in two worlds: the patient takes part, or the slot is empty; public numbers stay."""

import re

import numpy as np

from skdpal import DPPrototypeClassifier, PrivateActiveLearner, PrivateQuery
from skdpal.privacy import PrivacyBudget, PrivacyLedger, epsilon_of, events

DELTA = 1e-5
SIGMA = 0.5
MU = 1 / SIGMA  # what a patient of a study below pays
BUDGET = PrivacyBudget(epsilon_of([events.gaussian(SIGMA)], DELTA) * (1 + 1e-6), DELTA)  # one release, and no more
CLASSES, WIDTH, ROUNDS, WANTED = 3, 4, 3, 2

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(12, WIDTH))
ROWS /= np.linalg.norm(ROWS, axis=1, keepdims=True)
LABELS = np.array([2, 0, 1, 0, 1, 0, 1, 2, 0, 1, 2, 0])
IDS = np.array([f"patient {number}" for number in range(12)])
CANARY = 0
STRANGERS = RNG.normal(size=(5, WIDTH)) / 3  # public rows, on which released models are tried
REFERENCE = RNG.normal(size=(12, WIDTH)) / 4
IN_START = (CANARY, 1, 2, 3), tuple(range(4, 12))
IN_POOL = (1, 2, 3), (CANARY, *range(4, 12))


def certified(ledger):
    """All that a ledger says in public."""
    said = ledger.certificate()
    said.pop("issued")
    return {
        "certificate": said,
        "receipts": list(map(str, ledger.receipts())),
        "spent": ledger.spent(),
        "repr": [repr(ledger), ledger._repr_html_()],
    }


def released(model):
    """All that a fitted prototype classifier is."""
    return {
        "releases": [[one.sums, one.counts, one.noise_multiplier, one.expected_records] for one in model.releases_],
        "proba": model.predict_proba(STRANGERS),
        "uncertainty": model.uncertainty(STRANGERS),
        "fractions": model.posterior_.fractions,
        "classes": model.classes_,
        "repr": repr(model.set_params(ledger=None)),
    }


def learner_page(learner):
    """What a notebook shows, without the counters that scikit-learn gives every box it draws."""
    return re.sub(r"sk-(container|estimator)-id-[\w-]*", "sk-id", learner._repr_html_())


def active(
    present,
    groups=IN_START,
    *,
    query=None,
    rounds=ROUNDS,
    sigma=SIGMA,
    prepare=lambda rows: rows,
    model=None,
    **options,
):
    """A study of hidden rounds: everything that leaves."""
    start, pool = ([one for one in group if present or one != CANARY] for group in groups)
    ledger = PrivacyLedger(
        BUDGET if sigma == SIGMA else PrivacyBudget(epsilon_of([events.gaussian(sigma)], DELTA) * 1.000001)
    )
    rows = prepare(ROWS[[*start, *pool]])
    learner = PrivateActiveLearner(
        DPPrototypeClassifier(sigma, classes=range(CLASSES)) if model is None else model(sigma),
        PrivateQuery(n_pool=9) if query is None else query(),
        rows[: len(start)],
        LABELS[start],
        ledger=ledger,
        record_ids=IDS[start],
        expected_records=4,
        **options,
    )
    waiting = np.array(pool)
    for _ in range(rounds):
        chosen, found = learner.query(rows[len(start) :], WANTED, record_ids=IDS[waiting])
        learner.teach(found, LABELS[waiting[chosen]], record_ids=IDS[waiting[chosen]])
    out = {**certified(ledger), "rounds": ledger.rounds(), "learner": [repr(learner), learner_page(learner)]}
    return (
        {**out, **released(learner.estimator)} if model is None else {**out, "proba": learner.predict_proba(STRANGERS)}
    )
