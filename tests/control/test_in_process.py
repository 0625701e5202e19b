"""Requests made in the driver's own process: by its callbacks, its other threads, and trials that run inline."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from perdure import tune
from perdure.control.asking import ask
from perdure.core.events import Reported
from perdure.core.requests import PauseTrials, Pin, ResumeTrials
from perdure.core.state import Status
from perdure.errors import DriverSilentError, RequestRefusedError
from perdure.history import read_experiment
from perdure.journal.file import FileJournalReader
from perdure.schedulers.fifo import FIFOScheduler
from perdure.trainable.session import current_session

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

    def pin_what_is_gone(config: dict[str, Any]) -> None:
        session = current_session()
        assert session is not None
        trial = session.assignment.trial
        while 0 in read_experiment(tmp_path / "refused").trials[trial].checkpoints:
            tune.report({"saved": 1}, checkpoint=tune.Checkpoint.from_directory(config["something"]))
        with pytest.raises(RequestRefusedError, match=r"no checkpoint 0 \(any more\)"):
            session.request(Pin(trial=trial, number=0))
        tune.report({"refused": 1})

    def save_and_pin(config: dict[str, Any]) -> None:
        tune.report({"saved": 1}, checkpoint=tune.Checkpoint.from_directory(config["something"]))
        pin_what_is_gone(config)

    (tmp_path / "something").mkdir()
    (tmp_path / "something" / "weights").touch()
    run = tune.RunConfig(
        name="refused",
        storage_path=str(tmp_path),
        verbose=0,
        checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
    )
    space = {"something": str(tmp_path / "something")}
    result = tune.Tuner(save_and_pin, param_space=space, run_config=run).fit()[0]
    assert (result.error, result.metrics.get("refused")) == (None, 1)


class PausesAt(tune.Callback):
    """Asks for a pause while the trial's next row is on its way; lets the trial go on once it has paused."""

    def __init__(self, path: Path, row: int) -> None:
        self.path = path
        self.row = row
        self.asked = False
        self.paused = 0

    def on_step_begin(self, iteration: int, trials: Any, **info: Any) -> None:
        for trial in trials:
            if trial.last_result.get("training_iteration") == self.row - 1 and not self.asked:
                self.asked = True
                ask(self.path, PauseTrials(trials=(trial.trial_id,)))

    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        for trial in trials:
            if trial.status == Status.PAUSED.value:
                self.paused += 1
                ask(self.path, ResumeTrials(trials=(trial.trial_id,)))


class Shown(FIFOScheduler):
    """Knows which rows it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []

    def on_trial_result(self, tuner: Any, trial: Any, result: dict[str, Any]) -> str:
        self.rows.append(result["training_iteration"])
        return self.CONTINUE


def paused_once(tmp_path: Path, *, row: int, **options: Any) -> tuple[list[tuple[int, str]], int]:
    """Run one trial that a person pauses with this row; return its rows with their decisions, and how often it paused.

    Inline, as there nothing but the row itself begins a turn of the loop.
    """
    pauses = PausesAt(tmp_path / "exp", row)
    result = tune.Tuner(
        save_each,
        param_space={"steps": STEPS, "pin": 0, "until": ""},
        tune_config=tune.TuneConfig(scheduler=options.pop("scheduler", None)),
        run_config=tune.RunConfig(
            name="exp", storage_path=str(tmp_path), verbose=0, executor="inline", callbacks=[pauses], **options
        ),
    ).fit()[0]
    assert result.error is None
    rows = [event for _, event in FileJournalReader(tmp_path / "exp").read() if isinstance(event, Reported)]
    return [(row.iteration, row.decision.value) for row in rows], pauses.paused


def test_the_stop_rule_sees_the_row_with_which_a_person_pauses_its_trial(tmp_path: Path) -> None:
    rows, paused = paused_once(tmp_path, row=3, stop={"training_iteration": 3})
    assert (rows[2:], paused) == ([(3, "stop")], 0), "to end goes before to pause"


def test_counts_and_rungs_miss_no_row_because_of_a_pause(tmp_path: Path) -> None:
    scheduler, stopper = Shown(), tune.stopper.MaximumIterationStopper(5)
    rows, paused = paused_once(tmp_path, row=3, stop=stopper, scheduler=scheduler)
    assert (rows[2:], paused) == ([(3, "pause"), (4, "continue"), (5, "stop")], 1)
    assert scheduler.rows == [1, 2, 3, 4]


@pytest.mark.parametrize("executor", ["local", "inline"])
def test_a_thread_that_a_callback_waits_for_is_told_that_nobody_answers(tmp_path: Path, executor: str) -> None:
    told: list[BaseException] = []

    class Waits(tune.Callback):
        def on_checkpoint(self, iteration: int, trials: Any, trial: Any, checkpoint: Any, **info: Any) -> None:
            if not told:
                thread = threading.Thread(target=self.pause, args=(trial.trial_id,))
                thread.start()
                thread.join(60)
                assert not thread.is_alive()

        def pause(self, trial: str) -> None:
            try:
                ask(tmp_path / "exp", PauseTrials(trials=(trial,)), patience_s=0.2)
            except DriverSilentError as error:
                told.append(error)

    grid = fit(tmp_path, steps=2, executor=executor, callbacks=[Waits()])
    assert "The request was withdrawn" in str(told[0])
    assert [result.status for result in grid] == [Status.TERMINATED.value] * 2
    assert not any(trial.held for trial in read_experiment(tmp_path / "exp").trials.values())


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
