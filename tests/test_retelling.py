"""Plugins that are told again know what they knew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perdure import tune
from perdure.core.events import Action, Decider, Decision, Outcome, Reported, Source, Spec, TrialActed, TrialRequeued
from perdure.journal.file import FileJournalReader
from perdure.retelling import Retelling
from perdure.schedulers.async_hyperband import AsyncHyperBandScheduler
from perdure.schedulers.base import TrialScheduler
from perdure.schedulers.fifo import FIFOScheduler
from perdure.searchers.driver import PastCompletion, PastContinuation, PastMove, PastResult, PastSuggestion
from perdure.stoppers.base import Stopper
from perdure.stoppers.maximum_iteration import MaximumIterationStopper
from perdure.testing.written import WrittenExperiment


def test_a_stopper_forgets_a_trial_where_it_did_when_it_ran(tmp_path: Path) -> None:
    written = WrittenExperiment(tmp_path / "exp")
    trial = written.trial()
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.0})
    written.fail(trial)
    written.write(TrialRequeued(at=9.0, trial=trial, from_scratch=True))
    written.attempt(trial, segment=1)
    written.report(trial, 1, {"loss": 1.0})
    written.close()
    stopper = MaximumIterationStopper(3)
    for _ in Retelling(FileJournalReader(written.path), path=str(written.path), scheduler=None, stopper=stopper).run():
        pass
    assert stopper.get_state() == {"rows": {trial: 1}}


def extended(path: Path) -> tuple[WrittenExperiment, str]:
    """A trial that ended after two rows, went on after a restore, and has reported a third."""
    written = WrittenExperiment(path)
    trial = written.trial({"lr": 0.5})
    written.attempt(trial)
    written.report(trial, 1, {"loss": 3.0})
    written.directory(trial).mkdir(parents=True, exist_ok=True)
    written.report(trial, 2, {"loss": 2.0}, checkpoint=0)
    written.end(trial)
    written.write(TrialRequeued(at=9.0, trial=trial, round=1))
    written.attempt(trial, start=Source(trial=trial, number=0), iteration=2)
    written.report(trial, 3, {"loss": 1.0})
    written.close()
    return written, trial


def test_a_stopper_remembers_an_extended_trial_as_when_it_ran(tmp_path: Path) -> None:
    written, trial = extended(tmp_path / "exp")
    stopper = MaximumIterationStopper(9)
    list(retelling(written, stopper=stopper).run())
    assert stopper.get_state() == {"rows": {trial: 3}}


def test_a_scheduler_counts_an_extended_trial_once_at_each_rung(tmp_path: Path) -> None:
    written, trial = extended(tmp_path / "exp")
    scheduler = AsyncHyperBandScheduler(metric="loss", mode="min", max_t=9, reduction_factor=2)
    list(retelling(written, scheduler=scheduler).run())
    state = scheduler.get_state()
    assert [len(rung) for rung in state["scores"][0]] == [1, 1, 0, 0]
    assert state["reached"] == {trial: [0, 0, 1]}


def test_a_searcher_is_told_that_it_goes_on(tmp_path: Path) -> None:
    written, trial = extended(tmp_path / "exp")
    told = list(retelling(written).run())
    kinds = [PastSuggestion, PastMove, PastResult, PastResult, PastCompletion, PastContinuation, PastMove, PastResult]
    assert [type(one) for one in told] == kinds
    assert told[5] == PastContinuation(trial=trial, config={"lr": 0.5})


def retelling(
    written: WrittenExperiment, *, scheduler: TrialScheduler | None = None, stopper: Stopper | None = None
) -> Retelling:
    return Retelling(FileJournalReader(written.path), path=str(written.path), scheduler=scheduler, stopper=stopper)


def test_a_row_that_a_person_pauses_is_told_as_it_was_answered(tmp_path: Path) -> None:
    """The scheduler had let the trial go on; of what is decided for another trial's sake it had not been asked."""
    told: list[tuple[int, str]] = []

    class Told(FIFOScheduler):
        def on_trial_retold(self, tuner: Any, trial: Any, result: Any, decision: str, actions: Any) -> None:
            told.append((result["training_iteration"], decision))

    written = WrittenExperiment(tmp_path / "exp")
    trial = written.trial()
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.0})
    for iteration, hold, agreed in ((2, True, False), (3, True, True), (4, None, False)):
        action = Action(trial=trial, decision=Decision.PAUSE, hold=hold)
        written.write(TrialActed(at=0.0, action=action, request=f"r{iteration}" if hold else ""))
        written.write(paused_row(trial, iteration, agreed=agreed))
    written.close()
    stopper = MaximumIterationStopper(9)
    list(retelling(written, scheduler=Told(), stopper=stopper).run())
    assert told == [(1, "CONTINUE"), (2, "CONTINUE"), (3, "PAUSE")]
    assert stopper.get_state() == {"rows": {trial: 4}}


def paused_row(trial: str, iteration: int, *, agreed: bool) -> Reported:
    return Reported(
        at=0.0,
        trial=trial,
        attempt=1,
        iteration=iteration,
        metrics={"loss": 1.0},
        decision=Decision.PAUSE,
        agreed=agreed,
    )


def rolled_back(path: Path) -> tuple[WrittenExperiment, str]:
    """A trial that reported three rows, went back to the checkpoint of the first, and reported the second again."""
    written = WrittenExperiment(path, spec=Spec(max_failures=-1))
    trial = written.trial({"lr": 0.5})
    written.attempt(trial)
    written.report(trial, 1, {"loss": 3.0}, checkpoint=0)
    written.report(trial, 2, {"loss": 2.0})
    written.report(trial, 3, {"loss": 1.0})
    written.end(trial, Outcome.LOST)
    written.attempt(trial, start=Source(trial=trial, number=0), iteration=1)
    return written, trial


def repeat_second_row(written: WrittenExperiment, trial: str) -> None:
    row = Reported(at=0.0, trial=trial, attempt=2, iteration=2, metrics={"loss": 9.0}, judged=False)
    written.write(row)


@pytest.mark.parametrize(("repeats", "loss"), [(True, 9.0), (False, 1.0)])
def test_a_trial_ends_with_the_last_row_that_it_reported_as_when_it_ran(
    tmp_path: Path, repeats: bool, loss: float
) -> None:
    """Also where that row repeats one that was judged: the row after that was rolled back, and counts no longer."""
    written, trial = rolled_back(tmp_path / "exp")
    if repeats:
        repeat_second_row(written, trial)
    written.end(trial)
    written.close()
    *_, completed = retelling(written).run()
    assert isinstance(completed, PastCompletion)
    assert completed.result is not None
    assert completed.result["loss"] == loss


def test_a_trial_that_goes_on_has_been_as_far_as_it_had_been_when_it_ended(tmp_path: Path) -> None:
    """It had gone back and ended before it came there again; rows up to there are not judged a second time."""
    written, trial = rolled_back(tmp_path / "exp")
    written.end(trial)
    written.write(TrialRequeued(at=9.0, trial=trial, round=1))
    written.close()
    scheduler = AsyncHyperBandScheduler(metric="loss", mode="min", max_t=9, reduction_factor=3)
    list(retelling(written, scheduler=scheduler).run())
    assert scheduler.get_state()["reached"] == {trial: [0, 0, 1]}


def test_what_a_scheduler_asks_is_answered_as_when_it_ran(tmp_path: Path) -> None:
    """A person holds one trial, one has become a clone and saved nothing since, and one has ended."""
    asked: dict[str, Any] = {}

    class Asking(FIFOScheduler):
        def on_trial_retold(self, tuner: Any, trial: Any, result: Any, decision: str, actions: Any) -> None:
            asked.clear()
            asked["live"] = sorted(trial.number for trial in tuner.get_live_trials())
            asked["active"] = sorted(trial.number for trial in tuner.get_active_trials())
            asked["paused"] = [trial.number for trial in tuner.get_paused_trials()]
            asked["all"] = [trial.status for trial in tuner.get_trials()]
            asked["checkpoints"] = [tuner.checkpoint_of(trial.trial_id) is not None for trial in tuner.get_trials()]

    written = WrittenExperiment(tmp_path / "exp")
    held, clone, donor, ended = trials = [written.trial() for _ in range(4)]
    for trial in trials:
        written.attempt(trial)
        written.report(trial, 1, {"loss": 1.0}, checkpoint=0)
    pause = Action(trial=held, decision=Decision.PAUSE, hold=True)
    written.write(TrialActed(at=0.0, action=pause, request="r"))
    source = Source(trial=donor, number=0)
    action = Action(trial=clone, decision=Decision.PAUSE, donor=source, config={"lr": 2.0}, resume=True)
    written.report(clone, 2, {"loss": 1.0}, decision=Decision.PAUSE, actions=(action,))
    written.end(clone, Outcome.PAUSED)
    written.attempt(clone, start=source, iteration=1, segment=1)
    written.end(ended)
    written.report(donor, 2, {"loss": 1.0})
    written.close()
    list(retelling(written, scheduler=Asking()).run())
    assert asked == {
        "live": [1, 2],
        "active": [1, 2],
        "paused": [],
        "all": ["RUNNING", "RUNNING", "RUNNING", "TERMINATED"],
        "checkpoints": [True, False, True, True],
    }


class Told(FIFOScheduler):
    """Remembers what it is told again, in a list that is not its own state; `name` makes it another one."""

    def __init__(self, name: str, told: list[tuple[str, int]] | None = None) -> None:
        super().__init__()
        self.name = name
        self._told = [] if told is None else told

    def on_trial_retold(self, tuner: Any, trial: Any, result: Any, decision: str, actions: Any) -> None:
        self._told.append((decision, result["training_iteration"]))


@pytest.mark.parametrize(
    ("ended_by", "told"),
    [
        (Decider.SCHEDULER, [("CONTINUE", 1), ("STOP", 2)]),
        (Decider.EXPERIMENT, [("CONTINUE", 1), ("STOP", 2)]),
        (Decider.STOPPER, [("CONTINUE", 1)]),
        (Decider.TRIAL, [("CONTINUE", 1)]),
        (None, [("CONTINUE", 1), ("STOP", 2)]),  # a journal from before it was recorded
    ],
)
def test_the_scheduler_is_shown_no_row_that_somebody_else_had_ended(
    tmp_path: Path, ended_by: Decider | None, told: list[tuple[str, int]]
) -> None:
    """Whatever the stop rule is now: here there is none left."""
    written = WrittenExperiment(tmp_path / "exp")
    trial = written.trial()
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.0})
    written.report(trial, 2, {"loss": 1.0}, decision=Decision.STOP, stopped_by=ended_by)
    written.end(trial)
    written.close()
    scheduler = Told("any")
    list(retelling(written, scheduler=scheduler).run())
    assert scheduler._told == told


def test_a_scheduler_that_is_new_is_told_what_its_predecessor_was_shown(tmp_path: Path) -> None:
    """The rule that ended the trials at their second row is another one by now."""

    def train(config: dict[str, int]) -> None:
        for step in range(4):
            tune.report({"loss": step})

    train.__name__ = "train"
    told: list[tuple[str, int]] = []

    def run(scheduler: TrialScheduler, stop: Any) -> None:
        tune.Tuner(
            train,
            tune_config=tune.TuneConfig(scheduler=scheduler, metric="loss", mode="min", num_samples=2),
            run_config=tune.RunConfig(
                name="exp", storage_path=str(tmp_path), executor="inline", verbose=0, resume="auto", stop=stop
            ),
        ).fit()

    run(Told("first"), lambda trial_id, result: result["training_iteration"] >= 2)
    run(Told("second", told), {"training_iteration": 9})
    assert told == [("CONTINUE", 1), ("CONTINUE", 1)]
