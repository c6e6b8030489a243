"""Small studies of every kind, with their pages."""

import pytest

HOW = {"hidden": {}, "published": {"release": "published"}, "planned": {"filter": "planned"}}


def plan_of(kind="hidden", rounds=1):
    from skdpal import PrivacyBudget, plan_study

    return plan_study(
        PrivacyBudget(2.0),
        n_labelled=6,
        n_pool=20,
        labels_per_round=3,
        rounds=rounds,
        n_evaluation=11,
        n_components=16,
        **HOW[kind],
    )


@pytest.fixture(scope="session")
def studies(tmp_path_factory):
    """Studies by kind, run when first asked for."""
    from skdpal.demo import run_study

    class Studies(dict):
        def __missing__(self, kind):
            plan = plan_of(kind, rounds=2 if kind == "hidden" else 1)
            self[kind] = run_study(tmp_path_factory.mktemp("studies") / kind, plan)
            return self[kind]

    return Studies()


@pytest.fixture(scope="session")
def benchmark_page(tmp_path_factory):
    """A comparison over few splits."""
    from skdpal.demo import run_benchmark

    return run_benchmark(tmp_path_factory.mktemp("benchmark") / "benchmark.html", plan_of(), n_splits=3)
