"""What the fixtures train. Their pickles name these objects by module and name: they stay as they are."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from perdure import tune

FACTORS = (2, 3, 4)
STEPS = 6
PADDING = {2: 10, 3: 200, 4: 10}
"""Bytes. In format 1 the digests of the trial with the larger checkpoints are in a file of their own."""

reports_left = -1
"""Counted down by the script that makes a fixture, which ends its process at 0."""


def die() -> None:
    """Replaced by that script."""


class Rule:
    """A part of the configuration that is no data."""

    def __init__(self, modulus: int) -> None:
        self.modulus = modulus

    def __call__(self, value: int, step: int, factor: int) -> int:
        return (value * factor + step) % self.modulus


def train(config: dict[str, Any]) -> None:
    """Each row is right only if every step before it was taken once."""
    global reports_left
    step, value = 0, 1
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as directory:
            step, value = map(int, Path(directory, "state.txt").read_text().split())
    while step < config["steps"]:
        step += 1
        value = config["rule"](value, step, config["factor"])
        with tune.checkpoint_dir() as directory:
            Path(directory, "state.txt").write_text(f"{step} {value}")
            Path(directory, "padding.bin").write_bytes(bytes(PADDING[config["factor"]]))
            tune.report({"step": step, "value": value}, checkpoint=tune.Checkpoint.from_directory(directory))
        reports_left -= 1
        if reports_left >= 0:
            time.sleep(0.3)
        if reports_left == 0:
            die()


def expected(factor: int) -> list[tuple[int, int]]:
    """Return (step, value) of each row of a whole trial."""
    rule, rows, value = Rule(1009), [], 1
    for step in range(1, STEPS + 1):
        value = rule(value, step, factor)
        rows.append((step, value))
    return rows
