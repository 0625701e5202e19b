"""The fold of a whole experiment's events, and reading it from the journal."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from sys import intern
from typing import Any, ClassVar

import msgspec

from perdure.core.events import (
    Action,
    AnyEvent,
    AttemptEnded,
    AttemptPlanned,
    AttemptStarted,
    CheckpointPinned,
    CheckpointsDeleted,
    CheckpointsDurable,
    CheckpointsRetired,
    CheckpointsUnsafe,
    Decision,
    DefinitionChanged,
    DriverStarted,
    Noticed,
    Outcome,
    Reported,
    TrialActed,
    TrialCreated,
    TrialRequeued,
)
from perdure.core.state import Agenda, State, Trial
from perdure.core.transitions import apply
from perdure.errors import ExperimentNotFoundError, JournalCorruptError
from perdure.history.rows import RowSource
from perdure.history.trial import AttemptHistory, TrialHistory
from perdure.journal.base import START, Batch, JournalReader, Position
from perdure.journal.outlines import Outlined, RowOutline
from perdure.storage.uri import locate

_AGENDA_LIMIT = 4096
"""Events after which what they asked for is dropped: nobody plans from a history."""


class ExperimentHistory:
    """The fold of an experiment's events.

    Args:
        reader: Where rows are read again from; None keeps them in memory.
        path: The experiment's directory, where there is one.
    """

    def __init__(self, reader: JournalReader | None = None, *, path: str | os.PathLike[str] = "") -> None:
        self.path = os.fspath(path)
        self.state = State(keep_finished=True)
        self.trials: dict[str, TrialHistory] = {}
        """By id, in the order they were created."""
        self.changes: list[DefinitionChanged] = []
        """What was asked for otherwise than before, in order."""
        self.position: Position = START
        """Of the event folded last."""
        self.created_at: float | None = None
        self.updated_at: float | None = None
        self.damage: str | None = None
        """Why reading ended before the journal did, where a damaged one was salvaged."""
        self._reader = reader
        self._forgot = False
        self._folded = 0
        self._sequence = 0  # of the event that is being folded
        self._source = RowSource(reader, self.path)

    @property
    def name(self) -> str:
        return self.state.name

    @property
    def metric(self) -> str | None:
        return self.state.spec.metric

    @property
    def mode(self) -> str | None:
        return self.state.spec.mode

    def fold(self, position: Position, event: AnyEvent) -> TrialHistory | None:
        """Take in the next event, and return the trial it is about, if it is about one."""
        self._source.mark(self.position)
        if self._forgot:
            left = self._without_forgotten(event)
            if left is None:
                self.position = position
                return None
            event = left
        trial = self._take(position.sequence, event)
        self.position = position
        return trial

    def _take(self, sequence: int, event: AnyEvent) -> TrialHistory | None:
        apply(self.state, event)
        handler = self._FOLDS.get(type(event))
        self._sequence = sequence
        trial = handler(self, event) if handler is not None else None
        self.updated_at = event.at
        self._folded += 1
        if not self._folded % _AGENDA_LIMIT:
            self.state.agenda = Agenda()
        return trial

    def fold_all(self, events: Iterable[tuple[Position, AnyEvent]]) -> None:
        """Take in events, in order."""
        fold = self.fold
        for position, event in events:
            fold(position, event)

    def refresh(self) -> None:
        """Take in what was written since the last fold."""
        if self._reader is None:
            return
        if self._forgot or (self.position.sequence and not self.position.offset):
            self.fold_all(self._reader.read(self.position))
            return
        for batch in self._reader.read_many(self.position):
            self._source.mark(batch.before)
            self._fold_batch(batch)
            self.position, self.updated_at = batch.last, batch.event(-1).at

    def _fold_batch(self, batch: Batch[Outlined]) -> None:
        """Take in many events. Of rows that a trial reported in a row, only the last one's state is worked out."""
        runs: defaultdict[str, list[int]] = defaultdict(list)
        for index, record in enumerate(batch.records):
            event = record.d
            if (
                type(event) is RowOutline  # one that changes nothing but how far its trial is
                and event.decision is Decision.CONTINUE
                and event.checkpoint is None
                and not (event.actions or event.save or event.adopted)
            ):
                runs[event.trial].append(index)
            else:
                if runs:
                    self._fold_runs(batch, runs)
                    runs.clear()
                self._take(record.q, batch.event(index))
        self._fold_runs(batch, runs)

    def _fold_runs(self, batch: Batch[Outlined], runs: Mapping[str, list[int]]) -> None:
        records = batch.records
        for trial_id, places in runs.items():
            rows: list[Any] = [records[place].d for place in places]
            sequences = [records[place].q for place in places]
            trial, attempt = self.trials[trial_id], rows[-1].attempt
            if all([row.attempt == attempt for row in rows]) and trial.index.extend(sequences, rows):  # noqa: C419
                last: Any = batch.event(places[-1])
                apply(self.state, last)
                trial.last = last
            else:
                for sequence, place in zip(sequences, places, strict=True):
                    self._take(sequence, batch.event(place))

    def forget(self, trial_id: str) -> None:
        """Drop a finished trial. Events that concern it are ignored from here on."""
        self._forgot = True
        self.trials.pop(trial_id, None)
        self.state.trials.pop(trial_id, None)

    def _without_forgotten(self, event: AnyEvent) -> AnyEvent | None:
        """Return the event without what concerns forgotten trials; None if nothing is left."""
        known = self.state.trials
        if isinstance(event, _ABOUT_ATTEMPTS):  # most are
            return event if event.trial in known else None
        match event:
            case TrialCreated() | Noticed():
                return event
            case Reported(actions=actions) if actions and event.trial in known:
                kept = tuple(_with_known_donor(each, known) for each in actions if each.trial in known)
                return msgspec.structs.replace(event, actions=kept)
            case TrialActed(action=action, more=more):
                all_of_it = (action, *more)
                kept = tuple(_with_known_donor(each, known) for each in all_of_it if each.trial in known)
                return msgspec.structs.replace(event, action=kept[0], more=kept[1:]) if kept else None
            case CheckpointPinned():
                return event if event.item.trial in known else None
            case CheckpointsDurable() | CheckpointsUnsafe() | CheckpointsRetired() | CheckpointsDeleted():
                items = tuple(item for item in event.items if item.trial in known)
                return msgspec.structs.replace(event, items=items) if items else None
            case _:
                trial_id = getattr(event, "trial", None)
                return event if trial_id is None or trial_id in known else None

    def _created(self, event: TrialCreated) -> TrialHistory:
        core = self.state.trials[event.trial]
        trial = TrialHistory(core, self._source, created_at=event.at)
        self.trials[event.trial] = trial
        return trial

    def _planned(self, event: AttemptPlanned) -> TrialHistory:
        trial = self.trials[event.trial]
        attempt = AttemptHistory(event.attempt, event.segment, event.start, trial.config, event.at)
        attempt.iteration = event.iteration
        own = event.start is not None and event.start.trial == trial.id
        info = trial.checkpoints.get(event.start.number) if own and event.start is not None else None
        attempt.start_segment = event.segment if info is None else info.segment
        trial.attempts.append(attempt)
        return trial

    def _started(self, event: AttemptStarted) -> TrialHistory:
        trial = self.trials[event.trial]
        attempt = trial.attempt(event.attempt)
        if attempt is None:
            return trial
        attempt.started_at = event.at
        attempt.host, attempt.node_ip, attempt.pid = intern(event.host), intern(event.node_ip), event.pid
        attempt.iteration = event.iteration
        if attempt.start is None:
            dropped = trial.index.clear()
        else:
            dropped = trial.index.cut(attempt.start_segment, event.iteration)
        if dropped:
            trial.last = None
        return trial

    def _reported(self, event: Reported) -> TrialHistory:
        trial = self.trials[event.trial]
        trial.index.add(self._sequence, event)
        trial.last = event
        return trial

    def _ended(self, event: AttemptEnded) -> TrialHistory:
        trial = self.trials[event.trial]
        attempt = trial.attempt(event.attempt)
        if attempt is not None:
            attempt.ended_at, attempt.outcome, attempt.error = event.at, event.outcome, event.error
        return trial

    def _requeued(self, event: TrialRequeued) -> TrialHistory:
        trial = self.trials[event.trial]
        if event.from_scratch:
            trial.index.clear()
            trial.last = None
        return trial

    def _definition_changed(self, event: DefinitionChanged) -> None:
        if event.changes:
            self.changes.append(event)

    def _driver_started(self, event: DriverStarted) -> None:
        for trial in self.trials.values():
            if trial.attempts and trial.attempts[-1].outcome is None:
                attempt = trial.attempts[-1]
                attempt.outcome, attempt.ended_at = Outcome.INTERRUPTED, event.at

    def all_rows(self) -> Iterator[Sequence[Reported]]:
        """Yield every row of every view, each trial's in order, in one pass over the journal, many rows at a time."""
        trials = self.trials
        if self._reader is None:
            yield from filter(None, (list(trial.rows()) for trial in trials.values()))
            return
        for rows in self._source.every_row(self.position):
            known = [row for row in rows if row.trial in trials] if self._forgot else rows
            if known:
                yield known

    _FOLDS: ClassVar[dict[type, Callable[[ExperimentHistory, Any], TrialHistory | None]]] = {
        TrialCreated: _created,
        AttemptPlanned: _planned,
        AttemptStarted: _started,
        Reported: _reported,
        AttemptEnded: _ended,
        TrialRequeued: _requeued,
        DefinitionChanged: _definition_changed,
        DriverStarted: _driver_started,
    }


_ABOUT_ATTEMPTS = (AttemptPlanned, AttemptStarted, AttemptEnded)


def _with_known_donor(action: Action, known: Mapping[str, Trial]) -> Action:
    """Return an action that needs no forgotten donor: that the trial goes on is all that a history asks of it."""
    if action.donor is None or action.donor.trial in known:
        return action
    return msgspec.structs.replace(action, donor=None)


def read_experiment(path: str | os.PathLike[str], *, salvage: bool = False) -> ExperimentHistory:
    """Read the history of the experiment at `path`, running, finished or moved there from elsewhere.

    Needs no user code and unpickles nothing: objects in configurations appear as their reprs.

    Args:
        path: The experiment's directory.
        salvage: Of a damaged journal read what precedes the damage, which `ExperimentHistory.damage` then names.

    Raises:
        ExperimentNotFoundError: there is no experiment at `path`.
        JournalCorruptError: the journal is damaged, and nothing was to be (or could be) salvaged; the message names
            file, line and byte.
        JournalVersionError: the journal was written by a newer perdure.
    """
    from perdure.journal.file import FileJournalReader

    directory = locate(path)
    if not any(directory.glob("journal-*.jsonl")):
        what = "has no journal" if directory.is_dir() else "does not exist"
        raise ExperimentNotFoundError(f"There is no experiment at {directory}: it {what}.")
    history = ExperimentHistory(FileJournalReader(directory), path=directory)
    try:
        history.refresh()
    except JournalCorruptError as error:
        if not salvage or not history.trials:
            raise
        history.damage = str(error)
    return history
