"""Plugins that are told again know what they knew."""

from __future__ import annotations

from pathlib import Path

from perdure.core.events import TrialRequeued
from perdure.journal.file import FileJournalReader
from perdure.retelling import Retelling
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
