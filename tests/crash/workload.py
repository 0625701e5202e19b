"""An experiment whose every row tells whether a step was lost or doubled; run as a program, to be killed.

    python -m tests.crash.workload STORAGE API [key=value ...]

Each step folds its number into a running value that only the checkpoint carries over, so a row is right only if every
step before it was taken exactly once, from the state that the step before it left.

If the environment names a file in `WORKLOAD_LOG`, the workers write down in it, one line each, the steps that they
begin and the rows that `report` has said are kept.
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
from perdure.control.door import Door
from perdure.core.requests import StopExperiment
from perdure.tune import Checkpoint
from tests import gate

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


class Gain:
    """A leaf of the configuration that is no data."""


def begin(step: int) -> None:
    """Begin a step, at the latest when the gate is open."""
    gate.enter(tune.get_context().get_trial_id(), step)
    note("begins", step)


def note(what: str, step: int) -> None:
    """Write into the log that a step begins, or that its row is kept."""
    if "WORKLOAD_LOG" in os.environ:
        descriptor = os.open(os.environ["WORKLOAD_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(descriptor, f"{tune.get_context().get_trial_id()} {what} {step}\n".encode())
        os.close(descriptor)


def fill(config: dict[str, Any], directory: str) -> None:
    """Write a file that is too large for its digest to be taken at once."""
    if config["bulk"]:
        Path(directory, "bulk").write_bytes(b"\7" * config["bulk"])


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
        begin(step)
        value = advance(value, step, config["factor"])
        time.sleep(config["pause"])
        row = {"step": step, "value": value}
        if step % config["every"]:
            tune.report(row)
            note("kept", step)
            continue
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "state.json").write_text(json.dumps(row))
            fill(config, directory)
            tune.report(row, checkpoint=Checkpoint.from_directory(directory))
        note("kept", step)


class Class(tune.Trainable):
    """The Class API."""

    def setup(self, config: dict[str, Any]) -> None:
        self.count, self.value = 0, 1
        self.reported = 0

    def step(self) -> dict[str, Any]:
        if self.reported:
            note("kept", self.reported)
        self.count += 1
        begin(self.count)
        self.value = advance(self.value, self.count, self.config["factor"])
        time.sleep(self.config["pause"])
        self.reported = self.count
        return {"step": self.count, "value": self.value, "done": self.count >= self.config["steps"]}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        fill(self.config, checkpoint_dir)
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
            "bulk": int(given.get("bulk", 0)),
            **({"gain": tune.choice([Gain])} if given.get("objects") == "yes" else {}),
        },
        tune_config=tune.TuneConfig(
            num_samples=int(given.get("samples", 4)),
            seed=7,
            max_concurrent_trials=int(given.get("concurrent", 0)),
            reuse_actors=given.get("reuse") == "yes",
        ),
        run_config=tune.RunConfig(
            name=NAME,
            storage_path=storage,
            resume="auto",
            verbose=0,
            durability=given.get("durability", "default"),
            checkpoint_config=checkpoints,
            failure_config=tune.FailureConfig(max_failures=int(given.get("failures", 0))),
        ),
    )
    if given.get("request") == "yes":
        experiment = Path(storage, NAME)
        experiment.mkdir(parents=True, exist_ok=True)
        Door(experiment).post(StopExperiment(epoch=0))  # to no driver that ever was: it is read and refused
    tuner.fit()


if __name__ == "__main__":
    os.environ.setdefault("PERDURE_STORAGE_PATH", tempfile.gettempdir())
    if "PERDURE_FAULT_VICTIMS" in os.environ:  # whoever is killed takes the driver along
        Path(os.environ["PERDURE_FAULT_VICTIMS"]).write_text(f"{os.getpid()}\n")
    main(*sys.argv[1:])
