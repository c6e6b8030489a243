"""Learners on small published cohorts of patients, at equal ε and with the same public data."""
