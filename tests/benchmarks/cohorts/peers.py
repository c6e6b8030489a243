"""diffprivlib's learners, run in an environment of their own (``make build/peers/.ready``): it has neither torch nor skdpal.

build/peers/bin/python tests/benchmarks/cohorts/peers.py INPUT.npz OUTPUT.csv
"""

import csv
import sys
import warnings

import numpy as np
from diffprivlib.models import GaussianNB, LogisticRegression


def learners(epsilon, n_embedded):
    """Name, space and maker; rows are in the unit ball, which is public."""
    bounds = (-np.ones(n_embedded), np.ones(n_embedded))
    return [
        ("logistic regression", "embedding", lambda: LogisticRegression(epsilon=epsilon, data_norm=1.0, max_iter=500)),
        ("logistic regression", "genes", lambda: LogisticRegression(epsilon=epsilon, data_norm=1.0, max_iter=500)),
        ("naive Bayes", "embedding", lambda: GaussianNB(epsilon=epsilon, bounds=bounds)),
    ]


def main(source, target):
    """Every table of rows, split, n and ε."""
    warnings.simplefilter("ignore")
    data = dict(np.load(source))
    with open(target, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "n", "epsilon", "method", "accuracy"])
        for split in range(len(data["y"])):
            y = data["y"][split]
            for n in data["sizes"]:
                for epsilon in data["epsilons"]:
                    for name, space, make in learners(epsilon, data["embedding"].shape[2]):
                        value = accuracy(make(), data[space][split], y, n)
                        writer.writerow([split, n, epsilon, f"diffprivlib {name} on {space}", value])


def accuracy(model, X, y, n):
    """On the patients who were not labelled; one class among the labelled is predicted as such."""
    if len(np.unique(y[:n])) < 2:
        return float((y[n:] == y[0]).mean())
    return float((model.fit(X[:n], y[:n]).predict(X[n:]) == y[n:]).mean())


if __name__ == "__main__":
    np.random.seed(0)
    main(*sys.argv[1:])
