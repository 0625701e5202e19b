"""An experiment with a user's own searcher, stopper and callback; run as a program, to be interrupted.

    python -m tests.end_to_end.program STORAGE [option=value ...]

It goes on with what it finds. When it comes to its end it writes down, in `told.json`, what the plugins know: each
must have been told of every row once, however often the program was interrupted.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from perdure import tune
from tests import gate

TRIALS, STEPS = 4, 6


class Remembering(tune.search.Searcher):
    """Suggests 0, 1, 2, ... and keeps a list of what it is told; written as for Ray Tune."""

    def __init__(self) -> None:
        super().__init__(metric="score", mode="max")
        self.suggested: dict[str, int] = {}
        self.told: list[Any] = []

    def suggest(self, trial_id: str) -> dict[str, Any]:
        self.suggested[trial_id] = len(self.suggested)
        return {"x": self.suggested[trial_id]}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.told.append([self.suggested[trial_id], result["step"]])  # KeyError for a trial it does not know

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.told.append([self.suggested[trial_id], "end"])

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).write_text(json.dumps(self.__dict__))

    def restore(self, checkpoint_path: str) -> None:
        self.__dict__.update(json.loads(Path(checkpoint_path).read_text()))


class Reminded(Remembering):
    """One that does not want to be asked again what it suggested."""

    def replay_suggestion(self, trial_id: str, config: dict[str, Any]) -> bool:
        self.suggested[trial_id] = config["x"]
        return True


class CountsRows(tune.Stopper):
    """Ends nothing; counts the rows it sees."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self.rows[trial_id] = self.rows.get(trial_id, 0) + 1
        return False

    def stop_all(self) -> bool:
        return False


class CountsTrials(tune.Callback):
    """Counts the trials that have come to their end, over all sessions."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.ended.append(trial.trial_id)

    def get_state(self) -> dict[str, Any]:
        return {"ended": self.ended}

    def set_state(self, state: dict[str, Any]) -> None:
        self.ended = state["ended"]


def count_up(config: dict[str, Any]) -> None:
    """Report steps with a checkpoint each."""
    latest = tune.get_checkpoint()
    first = int(Path(latest.path, "step").read_text()) if latest else 0
    for step in range(first + 1, STEPS + 1):
        gate.enter(tune.get_context().get_trial_id(), step)
        time.sleep(config["pause"])
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "step").write_text(str(step))
            checkpoint = tune.Checkpoint.from_directory(directory)
            tune.report(
                {"step": step, "score": config.get("x", config.get("lr", 0)), "was": first}, checkpoint=checkpoint
            )


def main(storage: str, *options: str) -> None:
    """Start the experiment, or go on with it."""
    given = dict(option.split("=") for option in options)
    space: dict[str, Any] = {"pause": float(given.get("pause", "0.05"))}
    searchers = {"remembering": Remembering, "reminded": Reminded}
    searcher = searchers[given["searcher"]]() if "searcher" in given else None
    if searcher is None:
        space["lr"] = tune.uniform(0, 1)
    stopper, callback = CountsRows(), CountsTrials()
    tuner = tune.Tuner(
        tune.with_resources(count_up, {"cpu": 0.5}),  # two at a time, whatever the machine has
        param_space=space,
        tune_config=tune.TuneConfig(
            num_samples=int(given.get("trials", TRIALS)), search_alg=searcher, seed=11, max_concurrent_trials=2
        ),
        run_config=tune.RunConfig(
            name="exp",
            storage_path=storage,
            resume="auto",
            verbose=int(given.get("verbose", "0")),
            stop=stopper,
            callbacks=[callback],
            failure_config=tune.FailureConfig(max_failures=int(given.get("failures", "0"))),
        ),
    )
    grid = tuner.fit()
    if grid.num_terminated == len(grid) == int(given.get("trials", TRIALS)):
        stopper = _stopper_of(tuner) or stopper
        told = {
            "searcher": None if searcher is None else searcher.told,
            "rows": stopper.rows,
            "ended": callback.ended,
            "configs": [result.config for result in grid],
        }
        Path(storage, "told.json").write_text(json.dumps(told))


def _stopper_of(tuner: tune.Tuner) -> Any:
    return tuner.definition.run_config.stop


if __name__ == "__main__":
    main(*sys.argv[1:])
