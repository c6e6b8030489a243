"""The loop: learner, plan and study."""

from skdpal.learner.active_learner import PrivateActiveLearner
from skdpal.learner.model_file import load_model, save_model
from skdpal.learner.plan import StudyPlan, plan_study
from skdpal.learner.study import ActiveLearningStudy

__all__ = ["ActiveLearningStudy", "PrivateActiveLearner", "StudyPlan", "load_model", "plan_study", "save_model"]
