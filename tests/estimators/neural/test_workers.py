"""Networks travel: to worker processes, from scripts and notebooks, and back."""

import subprocess
import sys
import textwrap

import pytest

SCRIPT = """
import sys, warnings
import numpy as np
import torch
from torch import nn
from sklearn.ensemble import VotingClassifier
from sklearn.model_selection import GridSearchCV, KFold, RandomizedSearchCV, cross_validate
from skdpal import BudgetExhausted, BudgetGuard, DPNeuralClassifier, PrivacyBudget, PrivacyLedger

torch.set_num_threads(1)


class Home(nn.Module):
    # defined in __main__: workers cannot import it
    def __init__(self, n_features, n_classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_features, 8), nn.SELU(), nn.Linear(8, n_classes))

    def forward(self, rows):
        return self.layers(rows)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    X = np.random.default_rng(0).normal(size=(40, 5))
    y = (X[:, 0] > 0).astype(int)
    ledger = PrivacyLedger.create(sys.argv[1], PrivacyBudget(1e3, 1e-5))
    net = DPNeuralClassifier(Home, noise_multiplier=5.0, classes=[0, 1], ledger=ledger, max_epochs=2)
    grid = {"noise_multiplier": [4.0, 8.0]}
    for jobs in (1, 2):
        for fitted in (False, True):
            before = len(ledger.receipts())
            start = net.fit(X, y) if fitted else net
            search = GridSearchCV(start, grid, cv=KFold(2), n_jobs=jobs, scoring="accuracy", error_score="raise").fit(X, y)
            assert len(ledger.receipts()) - before == 5 + fitted, ledger.receipts()
            search.predict(X)
    RandomizedSearchCV(net, grid, n_iter=2, cv=KFold(2), n_jobs=2, scoring="accuracy", error_score="raise").fit(X, y)
    back = cross_validate(net, X, y, cv=KFold(2), n_jobs=2, return_estimator=True, scoring="accuracy", error_score="raise")
    back["estimator"][0].predict(X)
    VotingClassifier([("a", net), ("b", DPNeuralClassifier(Home, 6.0, classes=[0, 1], ledger=ledger))], n_jobs=2).fit(X, y).predict(X)

    small = PrivacyLedger.create(sys.argv[1] + ".small", PrivacyBudget(1.0, 1e-5))
    guard = BudgetGuard(GridSearchCV(net.set_params(ledger=small), grid, cv=KFold(2), n_jobs=2), ledger=small)
    try:
        guard.fit(X, y)
    except BudgetExhausted as refusal:
        print("refused:", refusal)
    assert not small.receipts()
"""


@pytest.mark.slow  # two workers import torch
def test_a_module_of_the_main_script_can_be_searched_in_two_processes(tmp_path):
    script = tmp_path / "study.py"
    script.write_text(textwrap.dedent(SCRIPT), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "study.ledger")],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "refused: fit of GridSearchCV costs" in done.stdout
