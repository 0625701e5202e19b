"""What the population fixtures train. Their pickles name these objects by module and name: they stay as they are."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from perdure import tune
from perdure.control.asking import ask
from perdure.core.requests import PauseTrials, ResumeTrials, StopExperiment

RATES = [1, 2, 3, 5]
STEPS = 8
TRIALS, GROWN = 3, 4
KILLED_AFTER = 17
"""Steps of the last driver."""
PINNED = 0
"""Number of the trial whose first checkpoint is pinned, and has metadata."""
PAUSED = 2
"""Number of the trial that a person pauses and lets go on."""
UNPINNED = 2
"""Number of the trial whose first checkpoint is pinned while nobody drives, and is to be pinned no longer."""
METADATA = {"chosen by": "hand", "score": 0.5}


class Making:
    """What happens while a fixture is made; nothing does when one is opened."""

    experiment: Path | None = None
    """Where the requests go that `Meddles` makes; None makes none."""
    fails_at: int | None = None
    """The next attempt that comes to this step fails there."""
    steps_left = 0
    """Its process ends when so many steps have begun; 0 is never."""
    step_s = 0.0
    """How long a step takes, so that there are snapshots."""

    @staticmethod
    def die() -> None:
        """Replaced by the script that makes the fixture."""


def advance(value: int, rate: int) -> int:
    """Take one step. The order of steps matters, and so does the rate of each."""
    return 2 * value + rate


class Grow(tune.Trainable):
    """Each row is right only if every step before it was taken once, by itself or by who it was cloned from."""

    def setup(self, config: dict[str, Any]) -> None:
        self.count, self.value = 0, 1

    def step(self) -> dict[str, Any]:
        self.count += 1
        if self.count == Making.fails_at:
            Making.fails_at = None
            raise RuntimeError("once")
        time.sleep(Making.step_s)
        Making.steps_left -= 1
        if Making.steps_left == 0:
            Making.die()
        self.value = advance(self.value, self.config["rate"])
        return {"count": self.count, "value": self.value, "done": self.count >= STEPS}

    def save_checkpoint(self, directory: str) -> None:
        Path(directory, "state.json").write_text(json.dumps({"count": self.count, "value": self.value}))

    def load_checkpoint(self, directory: str) -> None:
        state = json.loads(Path(directory, "state.json").read_text())
        self.count, self.value = state["count"], state["value"]


class Meddles(tune.Callback):
    """Pins a checkpoint, pauses a trial and has it resumed with the next row, and at last stops the experiment."""

    rows = 0
    paused: str | None = None

    def on_checkpoint(self, iteration: int, trials: Any, trial: Any, checkpoint: tune.Checkpoint, **info: Any) -> None:
        if Making.experiment is not None and _number(trial) == PINNED and checkpoint.path.endswith("000000"):
            checkpoint.set_metadata(METADATA)
            checkpoint.pin()

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        if Making.experiment is None:
            return
        self.rows += 1
        if _number(trial) == PAUSED and result["training_iteration"] == 2:
            self.paused = trial.trial_id
            ask(Making.experiment, PauseTrials(trials=(trial.trial_id,)))
        elif self.paused is not None:
            ask(Making.experiment, ResumeTrials(trials=(self.paused,)))
            self.paused = None
        if self.rows == TRIALS * 4:
            ask(Making.experiment, StopExperiment(epoch=1))


def _number(trial: Any) -> int:
    return int(trial.trial_id.rpartition("_")[2])
