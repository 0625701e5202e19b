"""An experiment whose every row tells whether a step was lost or doubled; run as a program, to be killed.

    python -m tests.crash.workload STORAGE API [key=value ...]

Each step folds its number into a running value that only the checkpoint carries over, so a row is right only if every
step before it was taken exactly once, from the state that the step before it left.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from perdure import tune
from perdure.tune import Checkpoint

NAME = "workload"
MODULUS = 1_000_003


def advance(value: int, step: int, factor: int) -> int:
    """Take one step."""
    return (value * factor + step) % MODULUS


def expected_rows(factor: int, steps: int) -> list[tuple[int, int]]:
    """Return (step, value) of each row that an uninterrupted trial reports."""
    rows, value = [], 1
    for step in range(1, steps + 1):
        value = advance(value, step, factor)
        rows.append((step, value))
    return rows


def function(config: dict[str, Any]) -> None:
    """The Function API, with a checkpoint at each `every`-th report."""
    step, value = 0, 1
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as directory:
            saved = json.loads(Path(directory, "state.json").read_text())
        step, value = saved["step"], saved["value"]
    while step < config["steps"]:
        step += 1
        value = advance(value, step, config["factor"])
        time.sleep(config["pause"])
        row = {"step": step, "value": value}
        if step % config["every"]:
            tune.report(row)
            continue
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "state.json").write_text(json.dumps(row))
            tune.report(row, checkpoint=Checkpoint.from_directory(directory))


class Class(tune.Trainable):
    """The Class API."""

    def setup(self, config: dict[str, Any]) -> None:
        self.count, self.value = 0, 1

    def step(self) -> dict[str, Any]:
        self.count += 1
        self.value = advance(self.value, self.count, self.config["factor"])
        time.sleep(self.config["pause"])
        return {"step": self.count, "value": self.value, "done": self.count >= self.config["steps"]}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"count": self.count, "value": self.value}

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.count, self.value = checkpoint["count"], checkpoint["value"]


def main(storage: str, api: str, *options: str) -> None:
    """Start the experiment, or go on with it."""
    given = dict(option.split("=") for option in options)
    every = int(given.get("every", 1))
    is_class = api == "class"
    checkpoints = tune.CheckpointConfig(
        num_to_keep=int(given["keep"]) if "keep" in given else None,
        checkpoint_frequency=every if is_class else 0,
    )
    tuner = tune.Tuner(
        Class if is_class else function,
        param_space={
            "factor": tune.randint(2, 1000),
            "steps": int(given.get("steps", 12)),
            "pause": float(given.get("pause", 0.01)),
            "every": every,
        },
        tune_config=tune.TuneConfig(
            num_samples=int(given.get("samples", 4)),
            seed=7,
            reuse_actors=given.get("reuse") == "yes",
        ),
        run_config=tune.RunConfig(
            name=NAME,
            storage_path=storage,
            resume="auto",
            verbose=0,
            checkpoint_config=checkpoints,
            failure_config=tune.FailureConfig(max_failures=int(given.get("failures", 0))),
        ),
    )
    tuner.fit()


if __name__ == "__main__":
    os.environ.setdefault("PERDURE_STORAGE_PATH", tempfile.gettempdir())
    main(*sys.argv[1:])
