"""Requests made in the driver's own process: by its callbacks, its other threads, and trials that run inline."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from perdure import tune
from perdure.control.asking import ask
from perdure.core.requests import PauseTrials, ResumeTrials
from perdure.core.state import Status
from perdure.errors import RequestRefusedError
from perdure.history import read_experiment

STEPS = 6


def save_each(config: dict[str, Any]) -> None:
    """Report steps with a checkpoint each; pin the third if told to."""
    latest = tune.get_checkpoint()
    step = int(Path(latest.path, "step").read_text()) if latest else 0
    while step < config["steps"]:
        step += 1
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "step").write_text(str(step))
            tune.report({"step": step}, checkpoint=tune.Checkpoint.from_directory(directory))
        newest = tune.get_checkpoint()
        assert newest is not None
        if step == config["pin"]:
            newest.pin()
        while config["until"] and not Path(config["until"]).exists():
            tune.report({"step": step})


class Pins(tune.Callback):
    """Pins the checkpoint of each trial's second row; num_to_keep=1 would have it gone with the third."""

    def on_checkpoint(self, iteration: int, trials: Any, trial: Any, checkpoint: tune.Checkpoint, **info: Any) -> None:
        if Path(checkpoint.path).name == "checkpoint_000001":
            checkpoint.pin()


def fit(tmp_path: Path, *, pin: int = 0, until: str = "", steps: int = STEPS, **options: Any) -> tune.ResultGrid:
    tuner = tune.Tuner(
        save_each,
        param_space={"steps": steps, "pin": pin, "until": until},
        tune_config=tune.TuneConfig(num_samples=2),
        run_config=tune.RunConfig(
            name="exp",
            storage_path=str(tmp_path),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
            **options,
        ),
    )
    return tuner.fit()


def kept(grid: tune.ResultGrid) -> list[list[str]]:
    return [sorted(path.name for path in Path(result.path).glob("checkpoint_*")) for result in grid]


@pytest.mark.parametrize("executor", ["local", "inline"])
def test_a_trial_and_a_callback_pin_what_retention_would_remove_next(tmp_path: Path, executor: str) -> None:
    grid = fit(tmp_path, pin=4, executor=executor, callbacks=[Pins()])
    assert kept(grid) == [["checkpoint_000001", "checkpoint_000003", "checkpoint_000005"]] * 2
    assert [Path(checkpoint.path, "step").read_text() for checkpoint, _ in grid[0].best_checkpoints] == ["2", "4", "6"]
    assert not (tmp_path / "exp" / "control").exists(), "a file would be a detour"


def test_a_trial_is_told_why_its_request_is_refused(tmp_path: Path) -> None:
    """By the time it is asked for, the checkpoint has been retired."""
    grid = fit(tmp_path, callbacks=[Pins()], executor="inline")
    first = Path(grid[0].path)

    def pin_what_is_gone(config: dict[str, Any]) -> None:
        with pytest.raises(RequestRefusedError, match="no checkpoint 0"):
            from perdure.core.requests import Pin
            from perdure.trainable.session import current_session

            session = current_session()
            assert session is not None
            session.request(Pin(trial=session.assignment.trial, number=0))
        tune.report({"refused": 1})

    assert first.exists()
    run = tune.RunConfig(name="refused", storage_path=str(tmp_path), verbose=0)
    result = tune.Tuner(pin_what_is_gone, run_config=run).fit()[0]
    assert (result.error, result.metrics.get("refused")) == (None, 1)


def test_another_thread_of_the_driver(tmp_path: Path) -> None:
    """It pauses a trial, lets it go on, and lets it end; what it asks is written when it returns."""
    path, until, seen = tmp_path / "exp", tmp_path / "until", {}

    class Tells(tune.Callback):
        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
            if len(list(trials)) == 2:
                seen.setdefault("trial", trial.trial_id)
                begun.set()

    begun = threading.Event()

    def meddle() -> None:
        begun.wait(60)
        for what, request in (("paused", PauseTrials), ("resumed", ResumeTrials)):
            assert ask(path, request(trials=(seen["trial"],))) is None
            seen[what] = read_experiment(path).trials[seen["trial"]].held
        try:
            ask(path, PauseTrials(trials=("nobody",)))
        except RequestRefusedError as error:
            seen["refused"] = str(error)
        until.touch()

    thread = threading.Thread(target=meddle)
    thread.start()
    grid = fit(tmp_path, steps=1, until=str(until), callbacks=[Tells()])
    thread.join(60)
    assert (seen["paused"], seen["resumed"]) == (True, False)
    assert seen["refused"] == "Nothing was changed: there is no trial nobody."
    assert [result.status for result in grid] == [Status.TERMINATED.value] * 2
