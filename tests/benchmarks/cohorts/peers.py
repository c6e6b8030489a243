"""diffprivlib's learners, run in an environment of their own (``make build/peers/.ready``): it has neither torch nor skdpal.

build/peers/bin/python tests/benchmarks/cohorts/peers.py INPUT.npz OUTPUT.csv
"""

import csv
import sys
import warnings

import numpy as np
from diffprivlib.models import GaussianNB, LogisticRegression


def learners(epsilon, n_features):
    """By name; rows are in the unit ball, which is public."""
    bounds = (-np.ones(n_features), np.ones(n_features))
    return {
        "diffprivlib logistic regression": lambda: LogisticRegression(epsilon=epsilon, data_norm=1.0, max_iter=500),
        "diffprivlib naive Bayes": lambda: GaussianNB(epsilon=epsilon, bounds=bounds),
    }


def main(source, target):
    """Every table of rows, split, n and ε."""
    warnings.simplefilter("ignore")
    data = np.load(source)
    with open(target, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "n", "epsilon", "method", "accuracy"])
        for split in range(len(data["y"])):
            y = data["y"][split]
            for n in data["sizes"]:
                for epsilon in data["epsilons"]:
                    for space in ("embedding", "genes"):
                        X = data[space][split]
                        for name, make in learners(epsilon, X.shape[1]).items():
                            writer.writerow([split, n, epsilon, f"{name} on {space}", accuracy(make(), X, y, n)])


def accuracy(model, X, y, n):
    """On the patients who were not labelled; one class among the labelled is predicted as such."""
    if len(np.unique(y[:n])) < 2:
        return float((y[n:] == y[0]).mean())
    return float((model.fit(X[:n], y[:n]).predict(X[n:]) == y[n:]).mean())


if __name__ == "__main__":
    np.random.seed(0)
    main(*sys.argv[1:])
