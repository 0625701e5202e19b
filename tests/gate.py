"""A gate before the steps of an experiment in other processes: it cannot be over before a test has interrupted it.

The experiment's program is told of the gate by `PERDURE_TEST_GATE`, and its trials call `enter` before each step.
While the gate is shut, so many different steps may begin in all, over all sessions; the others wait at it. A step that
has begun before may always begin again.
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
    gate.parent.mkdir(parents=True, exist_ok=True)
    written = gate.with_name(f"{gate.name}.new")
    written.write_text(str(steps))
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
        if len(begun) >= _steps_let_in(gate):
            return False
        file.write(f"{step}\n")
        return True


def _steps_let_in(gate: Path) -> float:
    try:
        return int(gate.read_text())
    except FileNotFoundError:  # open; not asked for before, because it may be opened in between
        return math.inf
