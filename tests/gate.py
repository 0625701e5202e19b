"""A gate before the steps of an experiment in other processes: it cannot be over before a test has interrupted it.

The experiment's program is told of the gate by `PERDURE_TEST_GATE`, and its trials call `enter` before each step.
While the gate is shut, so many different steps may begin in all, over all sessions, or so many of each trial; the
others wait at it. A step that has begun before may always begin again.
"""

from __future__ import annotations

import fcntl
import math
import os
import time
from pathlib import Path

VARIABLE = "PERDURE_TEST_GATE"


def shut(gate: Path, steps: int) -> None:
    """Let so many steps begin, and have the others wait."""
    _write(gate, steps, math.inf)


def shut_for_each(gate: Path, steps: int) -> None:
    """Let so many steps of each trial begin, and have the others wait."""
    _write(gate, math.inf, steps)


def _write(gate: Path, in_all: float, of_each: float) -> None:
    gate.parent.mkdir(parents=True, exist_ok=True)
    written = gate.with_name(f"{gate.name}.new")
    written.write_text(f"{in_all} {of_each}")
    written.replace(gate)


def open_(gate: Path) -> None:
    """Let everyone pass."""
    gate.unlink(missing_ok=True)


def enter(trial: str, step: int) -> None:
    """Begin a step, or wait until it may begin; does nothing in a program that was told of no gate."""
    gate = os.environ.get(VARIABLE)
    while gate is not None and not _begins(Path(gate), f"{trial}/{step}"):
        time.sleep(0.002)


def _begins(gate: Path, step: str) -> bool:
    with gate.with_name(f"{gate.name}.begun").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        begun = set(file.read().split())
        if step in begun:
            return True
        in_all, of_each = _let_in(gate)
        of_trial = sum(_trial(other) == _trial(step) for other in begun)
        if len(begun) >= in_all or of_trial >= of_each:
            return False
        file.write(f"{step}\n")
        return True


def _trial(step: str) -> str:
    return step.rpartition("/")[0]


def _let_in(gate: Path) -> tuple[float, float]:
    """Return how many steps may begin, in all and of each trial."""
    try:
        in_all, of_each = gate.read_text().split()
    except FileNotFoundError:  # open; not asked for before, because it may be opened in between
        return math.inf, math.inf
    return float(in_all), float(of_each)
