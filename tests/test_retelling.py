"""Plugins that are told again know what they knew."""

from __future__ import annotations

from pathlib import Path

from perdure.core.events import Source, TrialRequeued
from perdure.journal.file import FileJournalReader
from perdure.retelling import Retelling
from perdure.schedulers.async_hyperband import AsyncHyperBandScheduler
from perdure.schedulers.base import TrialScheduler
from perdure.searchers.driver import PastCompletion, PastContinuation, PastResult, PastSuggestion
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
    kinds = [PastSuggestion, PastResult, PastResult, PastCompletion, PastContinuation, PastResult]
    assert [type(one) for one in told] == kinds
    assert told[4] == PastContinuation(trial=trial, config={"lr": 0.5})


def retelling(
    written: WrittenExperiment, *, scheduler: TrialScheduler | None = None, stopper: Stopper | None = None
) -> Retelling:
    return Retelling(FileJournalReader(written.path), path=str(written.path), scheduler=scheduler, stopper=stopper)
