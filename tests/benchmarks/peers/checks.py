"""The register of checks: a question, the peer that is asked, and a function that runs it and says what it saw."""

from __future__ import annotations

import importlib
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

QUESTIONS = (
    "searching",
    "spending",
    "dying",
    "small_cohorts",
    "choosing",
    "asking",
    "keeping",
    "noise",
    "speed",
    "accuracy",
)  # modules
DISTRIBUTIONS = {
    "skdpal": "skdpal",
    "Opacus": "opacus",
    "diffprivlib": "diffprivlib",
    "OpenDP": "opendp",
    "modAL": "modAL-python",
    "scikit-activeml": "scikit-activeml",
}
ELSEWHERE = ("diffprivlib", "OpenDP", "modAL")  # in build/peers, with the newest scikit-learn on which they work

CHECKS: dict[str, Callable[[], str]] = {}


def check(question: str, peer: str) -> Callable[[Callable[[], str]], Callable[[], str]]:
    """Register a function that asks a peer a question."""

    def register(function: Callable[[], str]) -> Callable[[], str]:
        name = f"{question}.{peer}"
        assert peer in DISTRIBUTIONS
        assert name not in CHECKS, name
        CHECKS[name] = function
        return function

    return register


def load() -> dict[str, Callable[[], str]]:
    """All of them; nothing but the standard library and numpy is imported before one runs."""
    for module in QUESTIONS:
        importlib.import_module(f"{__package__}.{module}")
    return CHECKS


def refusal(call: Callable[[], object], width: int = 90) -> str:
    """The name and the first words of what is raised, or "no error"; addresses of memory are left out."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whatever a peer raises is what we want to see
        words = re.sub(r" at 0x[0-9a-f]+", "", (str(error).strip().splitlines() or [""])[0])
        name = type(error).__name__
        return f"{name}: {textwrap.shorten(words, width, placeholder=' …')}" if words else name
    return "no error"


def in_a_process(code: str, *, killed: bool = False) -> str:
    """Run code in a fresh interpreter of the same environment; what it printed. `killed`: it must die by SIGKILL."""
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        cwd=root,
        env=os.environ,
        check=False,
    )
    if done.returncode != (-signal.SIGKILL if killed else 0):
        raise RuntimeError(f"exit status {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout.strip()
