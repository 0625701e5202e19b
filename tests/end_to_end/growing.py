"""An experiment that grows; run as a program, so that it can be killed.

    python -m tests.end_to_end.growing STORAGE start|grow

`start` runs two trials to iteration 3. `grow` restores it with a third trial and has all of them go on to iteration 6.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from perdure import tune

FIRST, THEN = 3, 6


def count_up(config: dict[str, Any]) -> None:
    """Report steps with a checkpoint each, until stopped."""
    latest = tune.get_checkpoint()
    step = int(Path(latest.path, "step").read_text()) if latest else 0
    began_at = step
    while True:
        step += 1
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "step").write_text(str(step))
            checkpoint = tune.Checkpoint.from_directory(directory)
            tune.report({"step": step, "began_at": began_at, "lr": config["lr"]}, checkpoint=checkpoint)


class Counts(tune.Stopper):
    """Stops a trial after so many rows, and keeps the numbers of rows it was shown, for each trial."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.shown: dict[str, list[int]] = {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        shown = self.shown.setdefault(trial_id, [])
        shown.append(result["training_iteration"])
        return len(shown) >= self.most

    def stop_all(self) -> bool:
        return False


def start(storage: str, samples: int = 2) -> tune.ResultGrid:
    """Run two trials, or as many as that."""
    return tune.Tuner(
        count_up,
        param_space={"lr": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(num_samples=samples, seed=3),
        run_config=tune.RunConfig(
            name="exp", storage_path=storage, verbose=0, stop=tune.stopper.MaximumIterationStopper(FIRST)
        ),
    ).fit()


def grow(storage: str) -> tune.ResultGrid:
    """Go on with one trial and some iterations more."""
    return tune.Tuner.restore(
        Path(storage, "exp"),
        count_up,
        num_samples=3,
        stop=tune.stopper.MaximumIterationStopper(THEN),
        resume_finished=True,
    ).fit()


if __name__ == "__main__":
    {"start": start, "grow": grow}[sys.argv[2]](sys.argv[1])
