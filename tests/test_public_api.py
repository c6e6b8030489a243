"""The names that stay fixed, and their documentation."""

import importlib
import inspect

import pytest

import skdpal

PACKAGES = ["audit", "cohort", "datasets", "estimators", "learner", "model_selection", "privacy", "query", "report"]


@pytest.mark.parametrize(
    "name",
    [
        "PrivacyBudget",
        "PrivacyLedger",
        "BudgetExhausted",
        "PrivacyLeakWarning",
        "DPPrototypeClassifier",
        "DPLinearClassifier",
        "DPModalityClassifier",
        "DPNeuralClassifier",
        "DPEncoder",
        "ModalityBlocks",
        "PublicEncoder",
        "PrivateQuery",
        "PrivateActiveLearner",
        "BudgetGuard",
        "ActiveLearningStudy",
        "WarmStart",
        "plan_study",
    ],
)
def test_fixed_names_are_there(name):
    assert callable(getattr(skdpal, name))
    assert name in dir(skdpal)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Nothing"):
        skdpal.Nothing  # noqa: B018


@pytest.mark.parametrize(
    ("call", "parameters"),
    [
        ("PrivacyLedger", ["budget", "filter"]),
        ("DPPrototypeClassifier", ["noise_multiplier", "prior", "classes", "ledger"]),
        ("DPNeuralClassifier", ["module", "noise_multiplier", "max_grad_norm", "classes", "ledger"]),
        ("DPModalityClassifier", ["noise_multiplier", "blocks", "prior", "classes", "ledger"]),
        ("ModalityBlocks", ["modalities", "layer", "obs"]),
        ("PublicEncoder", ["method", "n_components"]),
        ("PrivateQuery", ["utility", "release", "reference", "n_pool", "noise_multiplier", "ledger"]),
        ("PrivateActiveLearner", ["estimator", "query_strategy", "X_training", "y_training", "ledger"]),
        ("BudgetGuard", ["estimator", "ledger"]),
        ("WarmStart", ["source", "budget", "classes"]),
        ("plan_study", ["budget", "n_labelled", "n_pool", "labels_per_round", "rounds", "release"]),
    ],
)
def test_fixed_signatures_begin_as_promised(call, parameters):
    assert list(inspect.signature(getattr(skdpal, call)).parameters)[: len(parameters)] == parameters


def documented():
    for package in PACKAGES:
        module = importlib.import_module(f"skdpal.{package}")
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                yield pytest.param(thing, id=f"{package}.{name}")


@pytest.mark.parametrize("thing", list(documented()))
def test_public_things_are_documented(thing):
    text = inspect.getdoc(thing)
    assert len(text or "") > 20


@pytest.mark.parametrize("name", skdpal._LATE)
def test_the_fixed_names_have_an_example_and_say_what_they_take(name):
    text = inspect.getdoc(getattr(skdpal, name))
    assert "Examples\n---" in text
    assert "Parameters\n---" in text


@pytest.mark.parametrize("package", PACKAGES)
def test_all_lists_what_exists(package):
    module = importlib.import_module(f"skdpal.{package}")
    assert all(hasattr(module, name) for name in module.__all__)
