"""A problem as a script for perdure's simulated executor: no processes, and every epoch takes equally long.

The runner, journal, searchers and schedulers are the real ones. It is what `ray_in_process.py` is for Ray.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from problems import Problem

from perdure.executors.simulated import SimulatedExecutor, Step


def executor(problem: Problem, slots: int) -> SimulatedExecutor:
    """Return an executor with room for so many trials of one CPU each."""
    order = itertools.count()
    states: dict[tuple[str, int], Any] = {}
    """The state in each checkpoint, by trial and number."""

    def script(config: dict[str, Any], assignment: Any) -> Iterator[Step]:
        start = assignment.start
        state = problem.start(config) if start is None else states[start.trial, start.number]
        for number in range(problem.epochs - assignment.iteration):
            state, value = problem.epoch(config, state)
            states[assignment.trial, assignment.next_checkpoint + number] = state
            done = assignment.iteration + number + 1 >= problem.epochs
            yield Step(1.0, {"value": value, "reported_at": next(order), "done": done}, checkpoint=True)

    return SimulatedExecutor(script, capacity={"CPU": float(slots)}, saves=True)
