"""Going on where a driver stopped, however it did.

The order matters. First the claim (making the journal's writer took it), so that nobody else drives. Then the state is
folded. Then the processes of earlier attempts are made sure to be gone, because one that still saves could commit what
nobody would ever journal. Then the new epoch begins, which ends those attempts for the record. Only then are
checkpoints adopted that were committed and whose rows never reached the journal, and what was left unfinished beside
them is swept away. Trials start after all that.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure.config import ResumeConfig, ResumeType
from perdure.core.events import (
    Action,
    CheckpointCommitted,
    CheckpointInfo,
    Decision,
    Noticed,
    Source,
    TrialActed,
    TrialRequeued,
)
from perdure.core.state import State, Status, Trial, let_go
from perdure.core.transitions import SKIPPED
from perdure.history import ExperimentHistory, read_experiment
from perdure.resources import fits
from perdure.storage.faults import fault_point
from perdure.trainable.messages import AttemptKey, Report

if TYPE_CHECKING:
    from perdure.checkpoints.manifest import Manifest
    from perdure.runner import Runner


Rows = Callable[[str], Sequence[dict[str, Any]]]
"""Gives the rows of a trial, in order."""


class RowsOfTrials:
    """Gives the rows of a trial, from a history that is read when it is first asked for.

    A row that was adopted just now is not in the journal yet, and is one of them.
    """

    def __init__(self, path: Path, state: State) -> None:
        self._path = path
        self._state = state

    @functools.cached_property
    def _history(self) -> ExperimentHistory:
        return read_experiment(self._path)

    def __call__(self, trial_id: str) -> Sequence[dict[str, Any]]:
        trial, last = self._history.trials[trial_id], self._state.trials[trial_id].last
        written = trial.last_row()
        rows = list(trial.expanded())
        if last is not None and (written is None or written.iteration < last.iteration):
            rows.append(trial.expand(last))
        return rows


def adopt(runner: Runner, unsettled: tuple[str, ...]) -> None:
    """Journal the checkpoints that were committed without anybody having heard, and sweep what was not committed.

    What an attempt saved of which the journal knows nothing (a power cut took its last second) is swept, too: its
    number will be used again.
    """
    for trial_id in unsettled:
        trial = runner.state.trials[trial_id]
        directory = runner.settings.path / trial.directory
        for manifest in runner.checkpoints.find_committed(directory, first=trial.next_checkpoint):
            _adopt(runner, trial, manifest)
        keep = {f"checkpoint_{number:06d}" for number in range(trial.next_checkpoint)}
        fault_point("adopt.known")
        runner.checkpoints.sweep(directory, keep=keep)
        fault_point("adopt.swept")


def _adopt(runner: Runner, trial: Trial, manifest: Manifest) -> None:
    latest = manifest.attempt == trial.attempts and manifest.segment == trial.segment
    if manifest.number < trial.next_checkpoint or not latest or trial.status.finished:
        return
    if manifest.iteration > trial.iteration + 1:
        return  # a power cut took the rows before it: the trial reports them again, so that none is missing
    fault_point("adopt.found")
    info = manifest.info()
    runner.inherited.add(Source(trial=trial.id, number=info.number))
    if manifest.iteration <= trial.iteration:
        runner.emit(CheckpointCommitted(at=runner.wall_clock(), trial=trial.id, checkpoint=info))
        runner.judge.saved(trial, info)
        return
    key = AttemptKey(trial.id, manifest.attempt)
    runner.tell_endings()
    event = runner.judge.report(trial, key, _report_of(manifest, info, runner.wall_clock()), adopted=True)
    runner.emit(event)
    runner.judge.reported(trial, event)
    text = f"Checkpoint {info.number} of trial {trial.id} was saved just before the crash; its row was adopted."
    runner.emit(Noticed(at=runner.wall_clock(), trial=trial.id, text=text))


def _report_of(manifest: Manifest, info: CheckpointInfo, at: float) -> Report:
    """Return the report that its worker did not live to make."""
    return Report(
        iteration=manifest.iteration,
        metrics=manifest.row,
        time_this_iter_s=manifest.time_this_iter_s,
        time_total_s=manifest.time_total_s,
        time_since_restore_s=manifest.time_since_restore_s,
        checkpoint=info,
        at=at,
        done=bool(manifest.row.get("done", False)),
    )


def requeue(runner: Runner, resume: ResumeConfig, rows: Rows | None = None, *, resized: bool = True) -> None:
    """Run again the trials that a restore was told to run again, and set aside those it was told to leave alone.

    `rows` gives those of a finished trial; `resized` is whether the trainable may ask for other resources than before.
    A trial that was given more than there is now, on a larger machine, also goes back to what its trainable asks for.
    """
    round_ = runner.state.round + (0 if runner.state.round_open else 1)
    for trial in list(runner.state.trials.values()):
        if trial.held:
            continue  # it waits for whoever paused it
        policy = _policy(resume, trial)
        if policy is ResumeType.RESTART or (policy is ResumeType.RESUME and (trial.status.finished or trial.skipped)):
            scratch = policy is ResumeType.RESTART
            runner.tell_endings()  # it may have ended just now, with the driver that had told it to
            if trial.status is Status.TERMINATED and not _has_more_to_do(runner, trial, rows, round_, scratch):
                continue
            _run_again(runner, trial, scratch=scratch, round_=round_)
        elif policy is ResumeType.SKIP and trial.status is Status.PENDING:
            action = Action(trial=trial.id, decision=Decision.PAUSE)
            runner.emit(TrialActed(at=runner.wall_clock(), action=action, request=SKIPPED))
    for waiting in (*runner.state.ahead, *runner.state.pending, *runner.state.paused):
        trial = runner.state.trials[waiting]
        if resized or not fits(trial.resources or {}, runner.state.capacity):
            _resize(runner, trial)
    runner.state.keep_finished = False
    for trial in runner.state.trials.values():
        if trial.status.finished and trial.id not in runner.state.agenda.finished:
            let_go(runner.state, trial)


def _has_more_to_do(runner: Runner, trial: Trial, rows: Rows | None, round_: int, scratch: bool) -> bool:
    """Whether a finished trial is to run again: not twice for one asking, and not if the stop rule ends it there."""
    if trial.round == round_:
        return False
    told = [] if scratch or rows is None else rows(trial.id)
    if told and runner.judge.stopper.recall(trial.id, told):
        runner.judge.stopper.forget(trial.id)
        return False
    return True


def _run_again(runner: Runner, trial: Trial, *, scratch: bool, round_: int) -> None:
    ended, terminated = trial.status.finished, trial.status is Status.TERMINATED
    event = TrialRequeued(
        at=runner.wall_clock(), trial=trial.id, from_scratch=scratch, round=round_ if terminated else 0
    )
    runner.emit(event)
    if scratch:
        runner.judge.stopper.forget(trial.id)
    if ended:
        runner.judge.continued(trial, from_scratch=scratch)
    adopt(runner, (trial.id,))


def _resize(runner: Runner, trial: Trial) -> None:
    """Give a waiting trial the resources that its trainable asks for now."""
    resources = runner.judge.resources_for(trial)
    if resources != trial.resources:
        runner.judge.view(trial).resources = dict(resources)
        action = Action(trial=trial.id, decision=Decision.CONTINUE, resources=resources)
        runner.emit(TrialActed(at=runner.wall_clock(), action=action))


def _policy(resume: ResumeConfig, trial: Trial) -> ResumeType:
    if trial.status is Status.TERMINATED:
        return ResumeType(resume.finished)
    if trial.status is Status.ERROR:
        return ResumeType(resume.errored)
    return ResumeType(resume.unfinished)
