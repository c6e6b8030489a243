"""The names that stay fixed, and their documentation."""

import importlib
import inspect
import re

import numpy as np
import pytest

import skdpal
from skdpal.privacy import events

PACKAGES = ["datasets", "estimators", "learner", "model_selection", "privacy", "query", "report"]
PROMISED = [
    "PrivacyBudget",
    "PrivacyLedger",
    "BudgetExhausted",
    "PrivacyLeakWarning",
    "DPPrototypeClassifier",
    "PublicEncoder",
    "PrivateQuery",
    "PrivateActiveLearner",
    "BudgetGuard",
    "ActiveLearningStudy",
    "plan_study",
]
# name: positional parameters in order, with defaults
SIGNATURES = {
    "PrivacyBudget": {"epsilon": ..., "delta": 1e-5},
    "PrivacyLedger": {"budget": ..., "filter": "gdp"},
    "PrivacyLedger.create": {"url": ..., "budget": ..., "filter": "gdp"},
    "PrivacyLedger.open": {"url": ...},
    "PrivacyLedger.charge": {"self": ..., "event": ..., "label": ..., "account": "cohort"},
    "PrivacyLedger.affords": {"self": ..., "event": ...},
    "PrivacyLedger.split": {"self": ..., "source": ..., "into": ..., "members": ...},
    "PrivacyLedger.within": {"self": ..., "account": ...},
    "privacy.epsilon_of": {"events": ..., "delta": ...},
    "privacy.calibrate": {"make_event": ..., "budget": ...},
    "privacy.events.gaussian": {"noise_multiplier": ..., "steps": 1},
    "privacy.randomness.simulation": {"seed": ...},
    "DPPrototypeClassifier": {"noise_multiplier": 2.0, "prior": None, "classes": None, "ledger": None},
    "DPPrototypeClassifier.prior_from_public": {"X": ..., "y": ...},
    "DPPrototypeClassifier.fit": {"self": ..., "X": ..., "y": ...},
    "DPPrototypeClassifier.partial_fit": {"self": ..., "X": ..., "y": ...},
    "DPPrototypeClassifier.predict": {"self": ..., "X": ...},
    "DPPrototypeClassifier.predict_proba": {"self": ..., "X": ...},
    "DPPrototypeClassifier.score": {"self": ..., "X": ..., "y": ...},
    "PublicEncoder": {"method": "whitened-pca", "n_components": 8},
    "PrivateQuery": {"utility": "margin", "release": "hidden", "reference": None, "n_pool": None},
    "PrivateQuery.__call__": {"self": ..., "learner": ..., "X_pool": ..., "n_instances": 3},
    "PrivateActiveLearner": {"estimator": ..., "query_strategy": ..., "X_training": None, "y_training": None, "ledger": None},
    "PrivateActiveLearner.query": {"self": ..., "X_pool": ..., "n_instances": 3},
    "PrivateActiveLearner.teach": {"self": ..., "X": ..., "y": ...},
    "PrivateActiveLearner.score": {"self": ..., "X": ..., "y": ...},
    "BudgetGuard": {"estimator": ..., "ledger": None},
    "plan_study": {
        "budget": ...,
        "n_labelled": ...,
        "n_pool": ...,
        "labels_per_round": ...,
        "rounds": ...,
        "release": "hidden",
    },
}  # fmt: skip
# what only the library makes: it has attributes, and no example of how to make it
RECORDS = {"Handle", "Posterior", "Price", "PrivateScore", "Receipt", "Release", "StudyPlan"}


def find(path):
    thing = skdpal
    for name in path.split("."):
        try:
            thing = getattr(thing, name)
        except AttributeError:
            thing = importlib.import_module(f"{thing.__name__}.{name}")
    return thing


def sections(thing):
    return re.findall(r"^(\w[\w ]*)\n-+$", inspect.getdoc(thing) or "", re.MULTILINE)


def public_things():
    for package in PACKAGES:
        module = importlib.import_module(f"skdpal.{package}")
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                yield pytest.param(thing, id=f"{package}.{name}")


def takes_something(thing):
    return any(name != "self" for name in inspect.signature(thing).parameters)


@pytest.mark.parametrize("name", PROMISED)
def test_fixed_names_are_there(name):
    assert callable(getattr(skdpal, name))
    assert name in dir(skdpal)
    assert name in skdpal.__all__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Nothing"):
        skdpal.Nothing  # noqa: B018


@pytest.mark.parametrize("path", SIGNATURES)
def test_fixed_signatures_begin_as_promised(path):
    promised = SIGNATURES[path]
    parameters = list(inspect.signature(find(path)).parameters.values())
    assert [parameter.name for parameter in parameters[: len(promised)]] == list(promised)
    for parameter in parameters[: len(promised)]:
        default = promised[parameter.name]
        assert parameter.default is (parameter.empty if default is ... else parameter.default)
        assert default is ... or parameter.default == default
        assert parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    # what comes on top is optional, so that the promised call works
    required = [parameter for parameter in parameters[len(promised) :] if parameter.default is parameter.empty]
    assert {parameter.kind for parameter in required} <= {inspect.Parameter.VAR_KEYWORD}


@pytest.mark.parametrize(
    ("path", "keyword"),
    [
        ("PrivateQuery", "ledger"),
        ("DPPrototypeClassifier.score", "public"),
        ("DPPrototypeClassifier.fit", "expected_records"),
        ("DPPrototypeClassifier.fit", "record_ids"),
        ("DPPrototypeClassifier.partial_fit", "expected_records"),
        ("DPPrototypeClassifier.partial_fit", "record_ids"),
        ("DPPrototypeClassifier.privacy_event", "n_records"),
        ("PrivateActiveLearner.teach", "record_ids"),
        ("PrivateActiveLearner.score", "public"),
        ("datasets.load_srbct", "as_frame"),
    ],
)
def test_fixed_keywords_are_taken(path, keyword):
    assert keyword in inspect.signature(find(path)).parameters


def test_a_ledger_has_the_promised_verbs(ledger):
    assert ledger.spent() == 0.0
    assert ledger.receipts() == []
    ledger.verify()
    assert {"epsilon", "delta", "adjacency", "status", "receipts"} <= set(ledger.certificate())
    assert ledger.certificate()["adjacency"] == "zero-out"
    assert skdpal.privacy.epsilon_of([events.nonprivate()], 1e-5) == float("inf")


def test_the_snippet_of_the_readme_runs_as_it_is_typed(srbct, tmp_path):
    plan = skdpal.plan_study(
        skdpal.PrivacyBudget(epsilon=2.0, delta=1e-5),
        n_labelled=6,
        n_pool=20,
        labels_per_round=3,
        rounds=3,
        release="hidden",
    )
    ledger = skdpal.PrivacyLedger.create(tmp_path / "study.ledger", plan.budget)
    encoder = skdpal.PublicEncoder(n_components=16).fit(srbct.X_public, srbct.y_public)
    prior = skdpal.DPPrototypeClassifier.prior_from_public(encoder.transform(srbct.X_public), srbct.y_public)
    learner = skdpal.PrivateActiveLearner(
        estimator=skdpal.DPPrototypeClassifier(
            noise_multiplier=plan.noise_multiplier, prior=prior, classes=["BL", "EWS", "NB", "RMS"]
        ),
        query_strategy=skdpal.PrivateQuery(
            utility="margin", release="hidden", reference=encoder.transform(srbct.X_public), n_pool=20
        ),
        X_training=encoder.transform(srbct.X[:6]),
        y_training=srbct.y[:6],
        ledger=ledger,
    )
    for _ in range(3):
        indices, X_query = learner.query(encoder.transform(srbct.X[6:26]), n_instances=3)
        learner.teach(X_query, srbct.y[6:26].to_numpy()[indices])
    assert len(ledger.receipts()) == 4
    assert ledger.spent() == pytest.approx(2.0, rel=1e-6)
    assert ledger.spent() <= 2.0
    assert np.isfinite(learner.predict_proba(encoder.transform(srbct.X[26:]))).all()


@pytest.mark.parametrize("thing", list(public_things()))
def test_public_things_say_what_they_are(thing):
    text = inspect.getdoc(thing) or ""
    assert thing.__doc__  # its own, not its parent's
    assert len(text.splitlines()[0]) > 10
    assert text.splitlines()[0].rstrip().endswith((".", ":"))


@pytest.mark.parametrize("thing", list(public_things()))
def test_public_things_have_the_sections_of_numpydoc_and_an_example(thing):
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return  # nobody makes one by hand
    if thing.__name__ in RECORDS:
        assert sections(thing)[:1] == ["Attributes"] or thing.__name__ == "Handle"
        return
    assert "Examples" in sections(thing)
    assert not takes_something(thing) or {"Parameters", "Attributes"} & set(sections(thing))


@pytest.mark.parametrize("package", PACKAGES)
def test_all_lists_what_exists(package):
    module = importlib.import_module(f"skdpal.{package}")
    assert all(hasattr(module, name) for name in module.__all__)
