"""Plugins that are told again know what they knew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perdure.core.events import Action, Decision, Reported, Source, TrialActed, TrialRequeued
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
