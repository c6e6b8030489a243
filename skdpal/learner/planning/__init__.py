"""The parts of `skdpal.learner.plan`: noise, schedules, policies, accuracies, alternatives, and the classic mistake."""

from skdpal.learner.planning.accuracy import PublicModel, expected_accuracy
from skdpal.learner.planning.mistake import ClassicMistake, classic_mistake
from skdpal.learner.planning.noise import acceptance_rates
from skdpal.learner.planning.policy import AllAtOnce, Geometric, Policy, PublicView, Uniform, follow, next_noise

__all__ = [
    "AllAtOnce",
    "ClassicMistake",
    "Geometric",
    "Policy",
    "PublicModel",
    "PublicView",
    "Uniform",
    "acceptance_rates",
    "classic_mistake",
    "expected_accuracy",
    "follow",
    "next_noise",
]
