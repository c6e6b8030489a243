"""Attacks, to see whether a study, or a mechanism, tells more than it is charged for.

`audit` attacks whole studies, `replay` shows what of one follows a patient; `attack` runs a single mechanism in two worlds
and counts an attacker's errors; `epsilon_lower_bound` and `mu_lower_bound` say what the counts prove, `power` and
`runs_needed` how often a fault would be found. A bound above the price is a fault; a bound below it is no proof.
`verify_certificate` computes the figures of a certificate again.
"""

from skdpal.audit.bounds import RUNS, epsilon_lower_bound, mu_lower_bound, power, runs_needed
from skdpal.audit.canary import Canary, GhostCanary, LabelCanary, ModalityCanary, PatientCanary
from skdpal.audit.certificate import Check, Verification, verify_certificate
from skdpal.audit.cohort import AuditCohort
from skdpal.audit.engine import audit, default_canaries
from skdpal.audit.replay import ReplayReport, replay
from skdpal.audit.report import AuditReport, Finding
from skdpal.audit.slot import SlotUtility
from skdpal.audit.two_worlds import Attack, World, attack, likelihood_ratio, repeated

__all__ = [
    "RUNS",
    "Attack",
    "AuditCohort",
    "AuditReport",
    "Canary",
    "Check",
    "Finding",
    "GhostCanary",
    "LabelCanary",
    "ModalityCanary",
    "PatientCanary",
    "ReplayReport",
    "SlotUtility",
    "Verification",
    "World",
    "attack",
    "audit",
    "default_canaries",
    "epsilon_lower_bound",
    "likelihood_ratio",
    "mu_lower_bound",
    "power",
    "repeated",
    "replay",
    "runs_needed",
    "verify_certificate",
]
