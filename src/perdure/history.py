"""What happened in an experiment, as people read it: a fold of its events.

The core's state says what is true now; the history adds what was: every attempt, and the rows that count. A row's
key is (segment, training_iteration). An attempt that goes on from a checkpoint supersedes every row after that
checkpoint's key: such rows stay in the journal and are gone from every view (P4).

Rows are not held in memory. Of each the history keeps its key and its number in the journal (16 bytes), of every few
hundred records where they stand, and reads a row again when it is asked for. A history without a reader, made from a
list of events, keeps the events themselves.
"""

from __future__ import annotations

import operator
import os
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from sys import intern
from typing import Any, NamedTuple

import msgspec

from perdure.checkpoint import Checkpoint
from perdure.core.events import (
    Action,
    AnyEvent,
    AttemptEnded,
    AttemptPlanned,
    AttemptStarted,
    CheckpointInfo,
    CheckpointPinned,
    CheckpointsDeleted,
    CheckpointsDurable,
    CheckpointsRetired,
    CheckpointsUnsafe,
    Data,
    Decision,
    DefinitionChanged,
    DriverStarted,
    ErrorInfo,
    Noticed,
    Outcome,
    Reported,
    Source,
    TrialActed,
    TrialCreated,
    TrialRequeued,
)
from perdure.core.state import Agenda, State, Status, Trial
from perdure.core.transitions import apply
from perdure.errors import ExperimentNotFoundError, JournalCorruptError, StorageError
from perdure.journal.base import START, Batch, JournalReader, Position
from perdure.journal.outlines import Outlined, RowOutline
from perdure.journal.values import from_data, has_objects
from perdure.rows import AUTO_FILLED, RowOrigin, date_of, expand_row, flatten, leaf
from perdure.storage.uri import locate
from perdure.trial_view import TrialView

__all__ = [
    "AUTO_FILLED",
    "AttemptHistory",
    "ExperimentHistory",
    "LineageStep",
    "RowIndex",
    "RowOrigin",
    "TrialHistory",
    "date_of",
    "expand_row",
    "flatten",
    "read_experiment",
    "row_of",
    "view_of",
]

row_of = expand_row

_SEGMENT = 40  # bits of a row's key that hold the iteration
_MARK_EVERY = 256  # records, of which the place of one is held
_FAR = 1024  # rows of a trial with more records than this between them are looked for apart
_AGENDA_LIMIT = 4096


# --- a trial --------------------------------------------------------------------------------------------------------


class AttemptHistory(msgspec.Struct, gc=False):
    """One attempt of a trial."""

    number: int
    segment: int
    start: Source | None
    config: Data
    planned_at: float
    started_at: float | None = None
    host: str = ""
    node_ip: str = ""
    pid: int = 0
    iteration: int = 0
    """`training_iteration` it went on from."""
    start_segment: int = 0
    """The segment of the row it went on from: an earlier one than its own, for a clone or what went back behind one."""
    ended_at: float | None = None
    outcome: Outcome | None = None
    error: ErrorInfo | None = None

    def origin(self, trial_id: str, config: Mapping[str, Any]) -> RowOrigin:
        """Return what its rows have in common; `config` is its decoded configuration."""
        return RowOrigin(
            trial_id=trial_id,
            config=config,
            pid=self.pid,
            hostname=self.host,
            node_ip=self.node_ip,
            iteration=self.iteration,
        )


class LineageStep(NamedTuple):
    """One stretch of a trial: with which configuration it trained, and what it began with."""

    segment: int
    donor: str | None
    """The id of the trial whose checkpoint it began with; None for its own, or none."""
    checkpoint: int | None
    """The number of that checkpoint of the donor's."""
    iteration: int
    """`training_iteration` of what it began with; 0 is from scratch."""
    config: Any


class RowIndex:
    """Which records the rows of one trial's view are, in the order of their keys."""

    __slots__ = ("_gone", "_kept", "_keys", "_sequences", "superseded")

    def __init__(self, *, keep: bool, gone: set[int]) -> None:
        self._keys = array("q")
        self._sequences = array("q")
        self._kept: list[Reported] | None = [] if keep else None
        self._gone = gone  # sequence numbers of superseded rows, of all trials
        self.superseded = 0
        """Rows that were in the view once and no longer are."""

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, sequence: int, event: Reported) -> int:
        """Put a row at the end; rows at or after its key are superseded. Returns how many were."""
        key = (event.segment << _SEGMENT) + event.iteration
        keys = self._keys
        dropped = self.cut(event.segment, event.iteration - 1) if keys and keys[-1] >= key else 0
        keys.append(key)
        self._sequences.append(sequence)
        if self._kept is not None:
            self._kept.append(event)
        return dropped

    def extend(self, sequences: Sequence[int], rows: Sequence[RowOutline]) -> bool:
        """Put many rows at the end; False, with nothing done, where they do not just follow what is there."""
        more = [(row.segment << _SEGMENT) + row.iteration for row in rows]
        keys = self._keys
        if (keys and keys[-1] >= more[0]) or any(map(operator.ge, more, more[1:])):
            return False
        layout = f"{len(more)}q"
        keys.frombytes(struct.pack(layout, *more))
        self._sequences.frombytes(struct.pack(layout, *sequences))
        return True

    def cut(self, segment: int, iteration: int) -> int:
        """Supersede every row after the key (segment, iteration). Returns how many there were."""
        first = bisect_left(self._keys, (segment << _SEGMENT) + iteration + 1)
        dropped = len(self) - first
        if dropped:
            self._gone.update(self._sequences[first:])
            del self._keys[first:]
            del self._sequences[first:]
            if self._kept is not None:
                del self._kept[first:]
            self.superseded += dropped
        return dropped

    def clear(self) -> int:
        """Supersede every row. Returns how many there were."""
        return self.cut(-1, 0)

    def find(self, segment: int, iteration: int) -> int | None:
        """Return the index of the row with that key, or None."""
        key = (segment << _SEGMENT) + iteration
        index = bisect_left(self._keys, key)
        return index if index < len(self) and self._keys[index] == key else None

    def kept(self, index: int) -> Reported | None:
        """Return the row itself, where rows are kept."""
        return None if self._kept is None else self._kept[index]

    def sequence(self, index: int) -> int:
        """Return the sequence number of the row's record."""
        return self._sequences[index]


class TrialHistory:
    """One trial: what the core knows of it, its attempts, and its rows."""

    __slots__ = ("_core", "_history", "attempts", "created_at", "index", "last")

    def __init__(
        self, history: ExperimentHistory, core: Trial, *, created_at: float, keep: bool, gone: set[int]
    ) -> None:
        self._history = history
        self._core = core
        self.created_at = created_at
        self.attempts: list[AttemptHistory] = []
        self.index = RowIndex(keep=keep, gone=gone)
        self.last: Reported | None = None
        """The last row of the view; None before the first, and right after a rollback (see `last_row`)."""

    @property
    def id(self) -> str:
        return self._core.id

    @property
    def number(self) -> int:
        """Counts the experiment's trials from 0."""
        return self._core.number

    @property
    def name(self) -> str:
        return self._core.name

    @property
    def directory(self) -> str:
        """Name of its directory in the experiment's."""
        return self._core.directory

    @property
    def config(self) -> Data:
        """Its configuration now, as data; objects in it are tagged with their repr."""
        return self._core.config or {}

    @property
    def searched(self) -> Data:
        """The searched parameters, flattened, as they were when the trial was created."""
        return self._core.searched or {}

    @property
    def searched_now(self) -> Data:
        """The searched parameters with the values they have now: a scheduler such as PBT changes them on the way."""
        config = self.config
        return {name: leaf(config, name, before) for name, before in self.searched.items()}

    @property
    def tag(self) -> str:
        return self._core.tag

    @property
    def resources(self) -> dict[str, float]:
        return self._core.resources or {}

    @property
    def status(self) -> Status:
        return self._core.status

    @property
    def decision(self) -> Decision | None:
        """STOP or PAUSE that was decided and has not come true yet."""
        return self._core.decision

    @property
    def held(self) -> bool:
        """Whether a person paused it (or will have, once it reports), and has not let it go on."""
        return self._core.held

    @property
    def failures(self) -> int:
        """How often an attempt failed or was lost."""
        return self._core.failures

    @property
    def error(self) -> ErrorInfo | None:
        """The last error, if there was any; with status ERROR, the one that ended the trial."""
        return self._core.error

    @property
    def checkpoints(self) -> dict[int, CheckpointInfo]:
        """The checkpoints that are whole and not retired, by number, oldest first."""
        return self._core.checkpoints

    def is_durable(self, number: int) -> bool:
        """Whether this checkpoint has reached the disk, digests and all."""
        return self._core.is_durable(number)

    @property
    def latest_checkpoint(self) -> CheckpointInfo | None:
        return self._core.latest

    @property
    def rows_superseded(self) -> int:
        """How many rows were rolled back, over all attempts."""
        return self.index.superseded

    def attempt(self, number: int) -> AttemptHistory | None:
        """Return the attempt of that number, or None."""
        for attempt in reversed(self.attempts):
            if attempt.number == number:
                return attempt
        return None

    def attempt_of(self, row: Reported) -> AttemptHistory:
        """Return the attempt that reported `row`."""
        attempts = self.attempts
        if attempts and attempts[-1].number == row.attempt:
            return attempts[-1]
        found = self.attempt(row.attempt)
        if found is None:  # a row whose attempt the history never saw: what is missing shows as empty
            found = AttemptHistory(row.attempt, row.segment, None, self.config, row.at)
        return found

    @property
    def row_count(self) -> int:
        """The number of rows in the view."""
        return len(self.index)

    def rows(self) -> Iterator[Reported]:
        """Yield the rows of the view in order, reading them from the journal."""
        return self._history.rows_of(self)

    def row(self, segment: int, iteration: int) -> Reported | None:
        """Return the row of that key, or None where the view has none."""
        index = self.index.find(segment, iteration)
        return None if index is None else self._history.row_at(self, index)

    def last_row(self) -> Reported | None:
        """Return the last row of the view; reads the journal after a rollback."""
        if self.last is None and len(self.index):
            self.last = self._history.row_at(self, len(self.index) - 1)
        return self.last

    def decoded_config(self, attempt: AttemptHistory | None = None) -> dict[str, Any]:
        """Return the configuration (of an attempt, or as it is now) as the user wrote it.

        Objects in it come as their reprs: reading never unpickles.
        """
        return self.decode(self.config if attempt is None else attempt.config)

    def decode(self, data: Data) -> dict[str, Any]:
        """Return a configuration of the trial as the user wrote it, with the reprs of objects."""
        config = from_data(data)
        assert isinstance(config, dict)
        return config

    def lineage(self) -> list[LineageStep]:
        """Return how what the trial is now was trained: a step for each segment, and for each new configuration.

        Configurations are data. Attempts that only repeat a segment, after a failure or a pause, are no steps.
        """
        steps: list[LineageStep] = []
        for attempt in self.attempts:
            if steps and (steps[-1].segment, steps[-1].config) == (attempt.segment, attempt.config):
                continue
            start = attempt.start
            cloned = start is not None and start.trial != self.id
            donor, number = (start.trial, start.number) if start is not None and cloned else (None, None)
            steps.append(LineageStep(attempt.segment, donor, number, attempt.iteration, attempt.config))
        return steps

    def expanded(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of the view with the columns Ray Tune fills in."""
        origins: dict[int, RowOrigin] = {}
        for row in self.rows():
            origin = origins.get(row.attempt)
            if origin is None:
                origin = origins[row.attempt] = self._origin_of(row)
            yield expand_row(origin, row, done=row.decision is Decision.STOP)

    def expand(self, row: Reported) -> dict[str, Any]:
        """Return one row, perhaps of a record that is not written yet, with the columns Ray Tune fills in."""
        return expand_row(self._origin_of(row), row, done=row.decision is Decision.STOP)

    def _origin_of(self, row: Reported) -> RowOrigin:
        attempt = self.attempt_of(row)
        return attempt.origin(self.id, self.decoded_config(attempt))


def view_of(
    trial: TrialHistory,
    *,
    experiment_path: str,
    trainable: str = "",
    config: dict[str, Any] | None = None,
) -> TrialView:
    """Return what plugins and callbacks see of a trial. `config` replaces the one decoded without objects."""
    shown = trial.decoded_config() if config is None else config
    view = TrialView(
        trial_id=trial.id,
        trial_name=trial.name,
        number=trial.number,
        config=shown,
        evaluated_params=shown if trial.searched is trial.config else trial.decode(trial.searched),
        experiment_tag=trial.tag,
        experiment_path=experiment_path,
        directory=trial.directory,
        trainable_name=trainable,
        resources=trial.resources,
        status=trial.status.value,
        has_objects=has_objects(trial.config),
    )
    latest = trial.latest_checkpoint
    if latest is not None:
        view.checkpoint = Checkpoint(os.path.join(view.path, latest.directory))
    view.num_failures = trial.failures
    if trial.failures:
        view.error_file = os.path.join(view.path, "error.txt")
    return view


# --- the experiment -------------------------------------------------------------------------------------------------


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
        self._superseded: set[int] = set()
        self._marks: list[Position] = [START]  # of every few hundred records the one before them

    @property
    def name(self) -> str:
        return self.state.name

    @property
    def metric(self) -> str | None:
        return self.state.spec.metric

    @property
    def mode(self) -> str | None:
        return self.state.spec.mode

    # --- folding

    def fold(self, position: Position, event: AnyEvent) -> TrialHistory | None:
        """Take in the next event, and return the trial it is about, if it is about one."""
        self._mark(self.position)
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
        handler = _FOLDS.get(type(event))
        self._sequence = sequence
        trial = handler(self, event) if handler is not None else None
        self.updated_at = event.at
        self._folded += 1
        if not self._folded % _AGENDA_LIMIT:
            self.state.agenda = Agenda()  # nobody plans from a history
        return trial

    def _mark(self, before: Position) -> None:
        if before.sequence - self._marks[-1].sequence >= _MARK_EVERY:
            self._marks.append(before)

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
            self._mark(batch.before)
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
        trial = TrialHistory(self, core, created_at=event.at, keep=self._reader is None, gone=self._superseded)
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

    # --- reading rows

    def rows_of(self, trial: TrialHistory) -> Iterator[Reported]:
        """Yield the rows of a trial's view in order."""
        index = trial.index
        count = len(index)
        if self._reader is None:
            yield from (row for row in map(index.kept, range(count)) if row is not None)
            return
        i = 0
        while i < min(count, len(index)):
            for row in self._rows_near(index, i):
                yield row
                i += 1
                if i >= min(count, len(index)):
                    return

    def row_at(self, trial: TrialHistory, index: int) -> Reported:
        """Return one row of a trial's view."""
        kept = trial.index.kept(index)
        return next(self._rows_near(trial.index, index)) if kept is None else kept

    def _rows_near(self, index: RowIndex, i: int) -> Iterator[Reported]:
        """Yield the row number `i` and those after it that are in the journal not far from each other."""
        assert self._reader is not None
        due = index.sequence(i)
        mark = self._marks[bisect_right(self._marks, due - 1, key=_sequence_of) - 1]
        for position, event in self._reader.read(mark):
            if position.sequence == due:
                assert isinstance(event, Reported)
                yield event
                i += 1
                if i >= len(index) or index.sequence(i) - due > _FAR:
                    return
                due = index.sequence(i)
        raise StorageError(f"Record {due} of the experiment at {self.path}, which was read before, is gone.")

    def all_rows(self) -> Iterator[Sequence[Reported]]:
        """Yield every row of every view, each trial's in order, in one pass over the journal, many rows at a time."""
        if self._reader is None:
            yield from filter(None, (list(self.rows_of(each)) for each in self.trials.values()))
            return
        trials, gone = self.trials, self._superseded
        for records in self._reader.reread(self.position):
            found = [record for record in records if type(record.d) is Reported]
            if gone and not gone.isdisjoint(record.q for record in found):
                found = [record for record in found if record.q not in gone]
            rows: list[Any] = [record.d for record in found]
            if self._forgot:
                rows = [row for row in rows if row.trial in trials]
            if rows:
                yield rows


_sequence_of = operator.attrgetter("sequence")


_FOLDS: dict[type, Callable[[ExperimentHistory, Any], TrialHistory | None]] = {
    TrialCreated: ExperimentHistory._created,  # noqa: SLF001
    AttemptPlanned: ExperimentHistory._planned,  # noqa: SLF001
    AttemptStarted: ExperimentHistory._started,  # noqa: SLF001
    Reported: ExperimentHistory._reported,  # noqa: SLF001
    AttemptEnded: ExperimentHistory._ended,  # noqa: SLF001
    TrialRequeued: ExperimentHistory._requeued,  # noqa: SLF001
    DefinitionChanged: ExperimentHistory._definition_changed,  # noqa: SLF001
    DriverStarted: ExperimentHistory._driver_started,  # noqa: SLF001
}


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
