"""Trials that go on until they are told; run as a program, to be asked things from outside.

    python -m tests.control.workload STORAGE [option=value ...]

Each trial reports steps, with a checkpoint each, until there is a file `end` in the storage.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from perdure import tune

NAME = "exp"
TRIALS = 2


def until_told(config: dict[str, Any]) -> None:
    """Report steps until the file is there."""
    latest = tune.get_checkpoint()
    step = int(Path(latest.path, "step").read_text()) if latest else 0
    end = Path(tune.get_context().get_storage().experiment_path).parent / "end"
    while not end.exists():
        step += 1
        time.sleep(0.02)
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "step").write_text(str(step))
            tune.report({"step": step}, checkpoint=tune.Checkpoint.from_directory(directory))
        if step == 1 and config["pins"]:
            newest = tune.get_checkpoint()
            assert newest is not None
            newest.pin()


def make(storage: str | Path, **options: Any) -> tune.Tuner:
    """Return the Tuner; it goes on with what it finds."""
    keep, pins = int(options.pop("keep", 2)), bool(options.pop("pins", ""))
    run = {"name": NAME, "storage_path": str(storage), "verbose": 0, "resume": "auto", **options}
    return tune.Tuner(
        tune.with_resources(until_told, {"cpu": 0.5}),  # both at a time, whatever the machine has
        param_space={"pins": pins},
        tune_config=tune.TuneConfig(num_samples=TRIALS, metric="step", mode="max"),
        run_config=tune.RunConfig(**run, checkpoint_config=tune.CheckpointConfig(num_to_keep=keep or None)),
    )


def main(storage: str, *options: str) -> None:
    """Start the experiment, or go on with it."""
    make(storage, **dict(option.split("=") for option in options)).fit()


if __name__ == "__main__":
    main(*sys.argv[1:])
