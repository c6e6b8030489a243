"""Attacks, to see whether a mechanism tells more than it is charged for.

`attack` runs a mechanism in two worlds and counts an attacker's errors; `epsilon_lower_bound` and
`mu_lower_bound` say what the counts prove; `power` and `runs_needed` say how often a fault would be
found. A bound above the price is a fault; a bound below it is no proof.
"""

from skdpal.audit.bounds import RUNS, epsilon_lower_bound, mu_lower_bound, power, runs_needed
from skdpal.audit.two_worlds import Attack, World, attack, likelihood_ratio, repeated

__all__ = [
    "RUNS",
    "Attack",
    "World",
    "attack",
    "epsilon_lower_bound",
    "likelihood_ratio",
    "mu_lower_bound",
    "power",
    "repeated",
    "runs_needed",
]
