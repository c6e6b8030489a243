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
    """The page of a comparison, of made-up accuracies: tests/test_cli.py makes a real one."""
    import pandas as pd

    from skdpal.learner.benchmark import METHODS
    from skdpal.report import write_benchmark_page

    rows = [(split, method, 0.5 + split / 10, 12.0) for method in METHODS for split in range(3)]
    results = pd.DataFrame(rows, columns=["split", "method", "accuracy", "labels"])
    path = tmp_path_factory.mktemp("benchmark") / "benchmark.html"
    return write_benchmark_page(path, results, plan_of(), "published tumours")
