"""The ceiling is two numbers, checked once and then fixed."""

import dataclasses
import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skdpal.privacy import PrivacyBudget

EPSILONS = st.floats(0, 1e300, exclude_min=True)
DELTAS = st.floats(0, 1, exclude_min=True, exclude_max=True)


@given(epsilon=EPSILONS, delta=DELTAS)
def test_any_positive_epsilon_and_any_delta_between_0_and_1_are_legal(epsilon, delta):
    budget = PrivacyBudget(epsilon, delta)
    assert (budget.epsilon, budget.delta) == (epsilon, delta)


@given(epsilon=EPSILONS, delta=DELTAS)
def test_equal_numbers_are_equal_budgets_also_after_pickle_and_json(epsilon, delta):
    budget = PrivacyBudget(epsilon, delta)
    assert pickle.loads(pickle.dumps(budget)) == budget
    assert PrivacyBudget(**json.loads(json.dumps(dataclasses.asdict(budget)))) == budget


def test_delta_has_a_default():
    assert PrivacyBudget(1.0).delta == 1e-5


@pytest.mark.parametrize("number", [2, np.float32(2), np.float64(2), np.int64(2)])
def test_numbers_of_any_kind_become_floats(number):
    assert type(PrivacyBudget(number).epsilon) is float


def test_a_budget_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PrivacyBudget(1.0).epsilon = 9.0


@pytest.mark.parametrize("epsilon", [0, -1, float("nan"), float("inf"), "2", None, True, 1j, np.array([1.0, 2.0])])
def test_a_bad_epsilon_is_named_with_what_was_expected(epsilon):
    with pytest.raises(ValueError, match=r"Expected epsilon to be a finite number in \(0, inf\)\. Found"):
        PrivacyBudget(epsilon)


@pytest.mark.parametrize("delta", [0, 1, -1e-5, 1.5, float("nan"), "1e-5", None, False])
def test_a_bad_delta_is_named_with_what_was_expected(delta):
    with pytest.raises(ValueError, match=r"Expected delta to be a finite number in \(0, 1\)\. Found"):
        PrivacyBudget(1.0, delta)
