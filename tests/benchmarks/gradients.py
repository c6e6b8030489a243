"""What private gradients cost, in units of an ordinary training step of the same network in the same run.

python -m tests.benchmarks.gradients            # all engines, writes docs/benchmarks/gradients.csv
python -m tests.benchmarks.gradients --quick    # the fast engine only, writes nothing
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pandas as pd
import torch
from torch import nn

from skdpal.estimators.neural.engines import engine_for
from skdpal.estimators.neural.modules import GenomicClassifier
from skdpal.estimators.neural.noise import fill_with_gaussian_noise

DOCS = Path(__file__).parents[2] / "docs" / "benchmarks"
COMMAND = "python -m tests.benchmarks.gradients"
GENES, CLASSES = 20_000, 2
# Opacus holds one copy of the network for each row, and takes seconds a step
REPETITIONS = {"linear": 31, "ghost": 9, "hooks": 3, "functorch": 3}
THREADS = 2

Step = Callable[[], object]


def steps(batch_size: int) -> tuple[nn.Module, dict[str, Step]]:
    """An ordinary step, the draw of its noise alone, and a step by each engine; each engine is made when first used."""
    torch.manual_seed(0)
    module = GenomicClassifier(GENES, CLASSES)
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)
    row_loss = nn.CrossEntropyLoss(reduction="none")
    rows, labels = torch.randn(batch_size, GENES), torch.randint(CLASSES, (batch_size,))
    owners = torch.arange(batch_size)

    def ordinary() -> None:
        optimizer.zero_grad()
        row_loss(module(rows), labels).mean().backward()
        optimizer.step()

    def private(mode: str) -> Step:
        engine = None

        def step() -> None:
            nonlocal engine
            if engine is None:
                engine = engine_for(module, row_loss, noise_multiplier=1.0, max_grad_norm=1.0, mode=mode)
            engine.gradients(rows, labels, owners=owners, normaliser=float(batch_size))
            optimizer.step()

        return step

    def noise() -> None:
        for parameter in module.parameters():
            fill_with_gaussian_noise(parameter.grad, 1.0)

    return module, {"ordinary": ordinary, "noise": noise} | {mode: private(mode) for mode in REPETITIONS}


def seconds(step: Step) -> float:
    """Of one call."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def measure(batch_size: int, mode: str) -> dict[str, float]:
    """Medians of steps that take turns, so that a busy machine slows all alike."""
    _, all_steps = steps(batch_size)
    turns = {name: all_steps[name] for name in ("ordinary", mode, "noise")}
    for step in turns.values():
        step()
    times = [[seconds(step) for step in turns.values()] for _ in range(REPETITIONS[mode])]
    ordinary, private, noise = (median(column) for column in zip(*times, strict=True))
    return {"cost": private / ordinary, "of_which_noise": noise / ordinary, "ordinary_ms": 1000 * ordinary}


def peak(batch_size: int, mode: str) -> float:
    """The largest resident set of a process of its own, in MiB."""
    command = [sys.executable, "-m", "tests.benchmarks.gradients", "--peak", str(batch_size), mode]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_peak(batch_size: int, mode: str) -> None:
    """Train three steps and print the peak."""
    _, all_steps = steps(batch_size)
    for _ in range(3):
        all_steps[mode]()
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    print(int(status.split("VmHWM:")[1].split()[0]) / 1024)


def main() -> None:
    """Measure all engines and print them."""
    torch.set_num_threads(THREADS)
    if "--peak" in sys.argv:
        print_peak(int(sys.argv[-2]), sys.argv[-1])
        return
    quick = "--quick" in sys.argv
    copy = sum(p.numel() * p.element_size() for p in GenomicClassifier(GENES, CLASSES).parameters()) / 2**20
    found = []
    for batch_size in (64, 16):
        bound = peak(batch_size, "ordinary") + copy
        for mode in ["linear"] if quick else REPETITIONS:
            memory = {"peak_mib": peak(batch_size, mode), "ordinary_plus_copy_mib": bound}
            row = {"batch_size": batch_size, "engine": mode} | measure(batch_size, mode) | memory
            found.append(row | {"memory": row["peak_mib"] / bound, "repetitions": REPETITIONS[mode]})
            print(pd.DataFrame(found[-1:]).round(2).to_string(index=False), flush=True)
    if not quick:
        DOCS.mkdir(parents=True, exist_ok=True)
        text = pd.DataFrame(found).round(2).to_csv(index=False)
        (DOCS / "gradients.csv").write_text(f"# {COMMAND}\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
