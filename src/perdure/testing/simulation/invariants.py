"""What was promised so far, and whether it holds.

`Facts` is what the journal says, folded by a few lines of its own and not by the core. `Ledger` adds what people were
told and what workers committed, and compares both with what lies on the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from perdure.core.events import (
    Action,
    AnyEvent,
    AttemptEnded,
    AttemptPlanned,
    CheckpointCommitted,
    CheckpointInfo,
    CheckpointPinned,
    CheckpointsDurable,
    CheckpointsRetired,
    Decision,
    Reported,
    Source,
    TrialActed,
    TrialCreated,
    TrialRequeued,
)
from perdure.core.invariants import violations
from perdure.core.state import State, Status
from perdure.storage.layout import MANIFEST, STAGING_PREFIX, checkpoint_name, checkpoint_number
from perdure.testing.simulation.workload import CUTTING, Workload, advance, state_of

if TYPE_CHECKING:
    from perdure.history import ExperimentHistory
    from perdure.testing.simulation.disk import Disk
    from perdure.trainable.messages import Assignment

Row = tuple[str, int, int]
"""Trial, segment, iteration."""
Key = tuple[str, int]
"""Trial, number of a checkpoint."""

CHORES_S = 1.0
"""The driver looks after what nobody announces every so many virtual seconds, and retires checkpoints at the latest
then."""

LEGAL: dict[Status | None, frozenset[Status]] = {
    None: frozenset({Status.PENDING}),
    Status.PENDING: frozenset({Status.RUNNING, Status.PAUSED, Status.TERMINATED}),
    Status.RUNNING: frozenset({Status.PENDING, Status.PAUSED, Status.TERMINATED, Status.ERROR}),
    Status.PAUSED: frozenset({Status.PENDING, Status.TERMINATED}),
    Status.TERMINATED: frozenset(),
    Status.ERROR: frozenset(),
}
"""Where a trial may go from each status; only a restore that was told to leads out of the last two."""


_FACTS = frozenset(
    (
        TrialCreated,
        Reported,
        CheckpointCommitted,
        CheckpointsDurable,
        CheckpointsRetired,
        CheckpointPinned,
        AttemptPlanned,
        TrialRequeued,
        AttemptEnded,
        TrialActed,
    )
)
"""The events that say something which is checked; half of them do not."""


class BrokenPromiseError(BaseException):
    """A promise did not hold. The message says which, and the seed that shows it.

    No `Exception`: the product shields itself from those in places, and would go on as if nothing were wrong.
    """


class Facts:
    """What the journal says."""

    def __init__(self) -> None:
        self.count = 0
        """Records so far: the sequence number of the last one."""
        self.directories: dict[str, str] = {}
        self.rows: dict[Row, int] = {}
        """The sequence number of the record that has it first."""
        self.judged: set[Row] = set()
        self.checkpoints: dict[str, dict[int, int]] = {}
        """By trial, the segment of each checkpoint that ever was."""
        self.saved_at: dict[Key, float] = {}
        """When the driver journaled it, by the clock of its session."""
        self.durable: set[Key] = set()
        self.retired: dict[Key, int] = {}
        """The sequence number of the record that says so."""
        self.collected: set[Key] = set()
        """Retired because somebody asked for it, whatever the policy says."""
        self.rejected: set[Key] = set()
        self.pinned: set[Key] = set()
        self.cloning: dict[str, Source] = {}
        """The donors of trials that are to start as clones."""
        self.clones = 0
        self.cut_short: set[str] = set()
        """Trials that somebody had stopped."""

    def fold(self, event: AnyEvent) -> None:
        """Take in the next record."""
        self.count += 1
        if type(event) in _FACTS:
            self._fold(event)

    def _fold(self, event: AnyEvent) -> None:
        match event:
            case TrialCreated():
                self.directories[event.trial] = event.directory
            case Reported():
                self._reported(event)
            case CheckpointCommitted():
                self._committed(event.trial, event.checkpoint, event.at)
            case CheckpointsDurable():
                items = {(item.trial, item.number) for item in event.items}
                self.durable |= items - self.retired.keys()  # too late for those: nobody may count on them
            case CheckpointsRetired():
                self.retired.update(((item.trial, item.number), self.count) for item in event.items)
                if event.request:
                    self.collected.update((item.trial, item.number) for item in event.items)
            case CheckpointPinned():
                change = self.pinned.add if event.pinned else self.pinned.discard
                change((event.item.trial, event.item.number))
            case AttemptPlanned() | TrialRequeued():
                self.cloning.pop(event.trial, None)
            case AttemptEnded(rejected=Source() as source):
                self.rejected.add((source.trial, source.number))
            case TrialActed():
                self._acted((event.action, *event.more), asked=event.request != "")

    def _reported(self, event: Reported) -> None:
        row = (event.trial, event.segment, event.iteration)
        self.rows.setdefault(row, self.count)
        if event.judged:
            if row in self.judged:
                raise BrokenPromiseError(f"row {row} was judged twice")
            self.judged.add(row)
        if event.checkpoint is not None:
            self._committed(event.trial, event.checkpoint, event.at)
        self._acted(event.actions)

    def _committed(self, trial: str, info: CheckpointInfo, at: float) -> None:
        numbers, number = self.checkpoints.setdefault(trial, {}), info.number
        if number in numbers:
            raise BrokenPromiseError(f"checkpoint {number} of trial {trial} is in the journal twice")
        numbers[number] = info.segment
        self.saved_at[trial, number] = at

    def _acted(self, actions: Iterable[Action], *, asked: bool = False) -> None:
        for action in actions:
            if asked and action.decision is Decision.STOP:
                self.cut_short.add(action.trial)
            if action.donor is not None:
                self.cloning[action.trial] = action.donor
                self.clones += 1


class Ledger:
    """All that was promised, on one disk, and the checks.

    Args:
        disk: What is there.
        path: The experiment's directory.
        workload: What is run.
    """

    def __init__(self, disk: Disk, path: str, workload: Workload) -> None:
        self.disk = disk
        self.path = path
        self.workload = workload
        self.facts = Facts()
        self.rows: set[Row] = set()
        """Rows that a trial was answered for."""
        self.saved: set[Key] = set()
        """Checkpoints that a trial was answered for."""
        self.contents: dict[Key, dict[str, bytes]] = {}
        """The files of each checkpoint that was committed."""
        self.rotten: set[Key] = set()
        """Damaged by fate, or gone in a power cut."""
        self.synced = 0
        """What was known to be on the disk when a driver died."""
        self.thorough = True
        """Check the state after each event, which looks at every trial."""
        self._statuses: dict[str, Status] = {}

    # --- what happens -----------------------------------------------------------------------------------------------

    def committed(self, assignment: Assignment, number: int) -> None:
        """A worker has committed a checkpoint."""
        self.contents[assignment.trial, number] = self.disk.files(f"{assignment.path}/{checkpoint_name(number)}")
        self.rotten.discard((assignment.trial, number))

    def perhaps_committed(self, assignment: Assignment, number: int) -> None:
        """A worker died, or was refused, while it committed a checkpoint: it is whole or absent."""
        if self.disk.exists(f"{assignment.path}/{checkpoint_name(number)}/{MANIFEST}"):
            self.committed(assignment, number)

    def answered(self, row: Row, number: int | None) -> None:
        """A trial is told that its row, and its checkpoint, are kept."""
        if row not in self.facts.rows:
            raise BrokenPromiseError(f"row {row} was acknowledged before it was in the journal")
        self.rows.add(row)
        if number is not None:
            self.saved.add((row[0], number))

    def journaled(self, events: Iterable[AnyEvent], state: State, sequence: int) -> None:
        """A batch was written, `sequence` being the number of its last record."""
        grown: dict[str, float] = {}
        fold = self.facts.fold
        for event in events:
            if type(event) is AttemptPlanned and self.thorough:
                self._check_start(event, state)
            fold(event)
            if type(event) is Reported:
                self.check_value(event)
                if event.checkpoint is not None:
                    grown[event.trial] = event.at
            elif type(event) is CheckpointCommitted:
                grown[event.trial] = event.at
        if self.facts.count != sequence:
            raise BrokenPromiseError(f"record {self.facts.count} has number {sequence}")
        for trial, now in grown.items():
            self.check_usage(trial, state, now)
        if self.thorough and (found := violations(state)):
            raise BrokenPromiseError("; ".join(found))

    def emitted(self, event: AnyEvent, state: State) -> None:
        """One event was folded: no status is skipped."""
        if not self.thorough:
            return
        before = self._statuses
        for trial in state.trials.values():
            status = before.get(trial.id)
            if status is not trial.status:
                requeued = type(event) is TrialRequeued
                if trial.status not in LEGAL[status] and not (requeued and trial.status is Status.PENDING):
                    raise BrokenPromiseError(f"trial {trial.id} went from {status} to {trial.status} at {event}")
                before[trial.id] = trial.status

    # --- restarts ---------------------------------------------------------------------------------------------------

    def reopened(self, events: Iterable[AnyEvent], state: State, *, power_cut: bool) -> None:
        """A driver has read the journal: what it holds is all that was promised, or what a power cut may take.

        `events` are those that no ledger has seen, or all of them after a power cut.
        """
        old = self.facts
        if power_cut:
            self.facts = Facts()
        for event in events:
            self.facts.fold(event)
        self._statuses = {trial.id: trial.status for trial in state.trials.values()}
        if power_cut and not self.disk.lied:
            for row in old.rows.keys() - self.facts.rows.keys():
                if old.rows[row] <= self.synced:
                    raise BrokenPromiseError(f"row {row} had reached the disk and is gone")
            for key in self.facts.durable - self.facts.retired.keys() - self.rotten:
                if not self.whole(key):
                    raise BrokenPromiseError(f"checkpoint {key} was durable, and a power cut took it")
        if power_cut:
            self.rotten |= {key for key in self.contents if key[0] not in self.facts.directories or not self.whole(key)}
            self.rows &= self.facts.rows.keys()
            self.saved = {key for key in self.saved if self._is_journaled(key) and self.whole(key)}
        self.check_rows()

    def _is_journaled(self, key: Key) -> bool:
        return key[1] in self.facts.checkpoints.get(key[0], {})

    def check_rows(self) -> None:
        """Every acknowledged row is in the journal."""
        if missing := self.rows - self.facts.rows.keys():
            raise BrokenPromiseError(f"acknowledged rows are not in the journal: {sorted(missing)}")

    # --- checkpoints ------------------------------------------------------------------------------------------------

    def folder(self, key: Key) -> str:
        """Return where a checkpoint lies."""
        return f"{self.path}/{self.facts.directories[key[0]]}/{checkpoint_name(key[1])}"

    def whole(self, key: Key) -> bool:
        """Whether a checkpoint is on the disk as it was committed."""
        contents = self.contents.get(key)
        return contents is not None and self.disk.holds(self.folder(key), contents)

    def _usable(self, trial: str) -> list[int]:
        """Return the numbers of a trial's acknowledged checkpoints that are whole, and were not given up."""
        gone = self.facts.rejected | self.facts.retired.keys()
        return sorted(key[1] for key in self.saved if key[0] == trial and key not in gone and self.whole(key))

    def _check_start(self, event: AttemptPlanned, state: State) -> None:
        """An attempt starts from the newest whole checkpoint; a clone, first, from its donor's."""
        trial, start = event.trial, event.start
        usable = self._usable(trial)
        pending = self._pending_donor(trial)
        if pending is not None and start != pending:
            raise BrokenPromiseError(f"trial {trial}, a clone of {pending}, starts from {start} instead")
        if start is None:
            if usable and not state.trials[trial].from_scratch:
                raise BrokenPromiseError(f"trial {trial} starts from scratch and has checkpoints {usable}")
            return
        if not self._is_journaled((start.trial, start.number)):
            raise BrokenPromiseError(f"trial {trial} is to start from {start}, of which the journal knows nothing")
        if start.trial == trial and usable and usable[-1] > start.number:
            raise BrokenPromiseError(f"trial {trial} starts from {start.number}, not from {usable[-1]}")
        if start.trial != trial and pending is None:
            segments = self.facts.checkpoints.get(trial, {})
            if any(segments[number] == event.segment for number in usable):
                raise BrokenPromiseError(f"trial {trial} goes back to its donor {start}, and has {usable}")

    def _pending_donor(self, trial: str) -> Source | None:
        """Return what a trial that is to start as a clone starts from, if it is whole and not known to be otherwise."""
        donor = self.facts.cloning.get(trial)
        if donor is None:
            return None
        key = (donor.trial, donor.number)
        return donor if self.whole(key) and key not in self.facts.rejected else None

    def check_restored(self, assignment: Assignment, content: bytes | None) -> None:
        """What an attempt has verified and read is what was committed."""
        start = assignment.start
        assert start is not None
        committed = self.contents.get((start.trial, start.number))
        if committed is None or committed["state"] != content:
            raise BrokenPromiseError(f"trial {assignment.trial} goes on from {start}, which is not what was committed")

    def check_rejected(self, assignment: Assignment, why: Exception) -> None:
        """An attempt says that its checkpoint is damaged: then it is."""
        start = assignment.start
        assert start is not None
        if self.whole((start.trial, start.number)):
            raise BrokenPromiseError(f"trial {assignment.trial} rejects {start}, which is whole: {why}")
        if not self.disk.lied and (start.trial, start.number) not in self.rotten:
            raise BrokenPromiseError(f"trial {assignment.trial} misses {start}, which nobody damaged: {why}")

    def check_removal(self, path: str, state: State | None, synced: Callable[[], int]) -> None:
        """No checkpoint is deleted that something needs."""
        folder, _, name = path.rpartition("/")
        if name != MANIFEST:
            return
        directory, _, last = folder.rpartition("/")
        number = checkpoint_number(last)
        places = self.facts.directories.items()
        trial = next((trial for trial, place in places if f"{self.path}/{place}" == directory), "")
        if number is None or (trial, number) not in self.saved:
            return  # of which nobody was told
        source = f"{trial}/{number}"
        retired = self.facts.retired.get((trial, number))
        if retired is None:
            raise BrokenPromiseError(f"checkpoint {source} is deleted and was not retired")
        if retired > synced():
            raise BrokenPromiseError(f"checkpoint {source} is deleted, and a power cut can undo that it was retired")
        if (trial, number) in self.facts.pinned:
            raise BrokenPromiseError(f"checkpoint {source} is deleted, and is pinned")
        if state is not None and source in state.in_use:
            raise BrokenPromiseError(f"checkpoint {source} is deleted while somebody needs it")
        if (trial, number) in self.facts.collected:
            return  # `People` has seen to it that it could be spared
        gone = self.facts.retired.keys() - self.facts.collected  # those were there when this one was retired
        others = [other for other in self.facts.checkpoints[trial] if (trial, other) not in gone]
        if not any(other > number for other in others):
            raise BrokenPromiseError(f"checkpoint {source} is deleted and is the latest")
        durable = {other for other in others if (trial, other) in self.facts.durable}
        if (trial, number) in self.facts.durable and not any(other > number for other in durable):
            raise BrokenPromiseError(f"checkpoint {source} is deleted and is the newest that is on the disk")

    def check_usage(self, trial: str, state: State, now: float) -> None:
        """A trial has no more checkpoints on the disk than its policy allows, plus what others hold.

        That is: `num_to_keep`; the newest, where the policy goes by score; two on their way to the disk (the newest
        that is there, which waits for a newer one, and the oldest that is not); one that its worker has committed and
        nobody has journaled yet; and those saved since the driver last looked (`CHORES_S`). Besides: what clones and
        starting attempts refer to, what is pinned, what turned out to be damaged, and what was retired and is on its
        way off the disk (`check_leftovers` says that it goes).
        """
        keep = state.spec.num_to_keep
        if keep is None:
            return
        on_disk, known = self.on_disk(trial), self.facts.checkpoints[trial].keys()
        if len(on_disk - known) > 1:
            raise BrokenPromiseError(f"trial {trial} has {sorted(on_disk - known)} on the disk that nobody knows of")
        prefix = f"{trial}/"
        held = {int(name.rpartition("/")[2]) for name in state.in_use if name.startswith(prefix)}
        saved_at = self.facts.saved_at
        young = {number for number in on_disk & known if now - CHORES_S <= saved_at[trial, number] <= now}
        counted = (on_disk & known) - held - young - self._beside_the_policy(trial, on_disk)
        allowed = keep + (state.spec.score_attribute is not None) + 2
        if len(counted) > allowed:
            raise BrokenPromiseError(f"trial {trial} has {sorted(counted)} on the disk, where {keep} are to be kept")

    def _beside_the_policy(self, trial: str, numbers: set[int]) -> set[int]:
        facts = self.facts
        return {
            number
            for number in numbers
            if (key := (trial, number)) in facts.retired or key in facts.rejected or key in facts.pinned
        }

    def on_disk(self, trial: str) -> set[int]:
        """Return the numbers of a trial's committed checkpoints."""
        directory = f"{self.path}/{self.facts.directories[trial]}"
        names = [name for name in self.disk.names(directory) if self.disk.exists(f"{directory}/{name}/{MANIFEST}")]
        return {number for number in map(checkpoint_number, names) if number is not None}

    def check_leftovers(self, state: State) -> None:
        """The experiment is over, and no power was cut: nothing retired, staged or superfluous is left.

        Of each trial there are `num_to_keep`, the newest, and the newest that reached the disk (if the disk refused
        those after it); besides, pinned ones and damaged ones.
        """
        for trial, directory in self.facts.directories.items():
            names = self.disk.names(f"{self.path}/{directory}")
            if staged := [name for name in names if name.startswith(STAGING_PREFIX)]:
                raise BrokenPromiseError(f"trial {trial} has left {staged}")
            on_disk = self.on_disk(trial)
            if retired := [number for number in on_disk if (trial, number) in self.facts.retired]:
                raise BrokenPromiseError(f"trial {trial} has left checkpoints that were retired: {retired}")
            keep = state.spec.num_to_keep
            counted = on_disk - self._beside_the_policy(trial, on_disk)
            if keep is not None and len(counted) > keep + 2:
                raise BrokenPromiseError(f"trial {trial} ends with {sorted(on_disk)}, where {keep} are to be kept")

    # --- rows -------------------------------------------------------------------------------------------------------

    def check_value(self, event: Reported) -> None:
        """A row follows from the one before it."""
        metrics = event.metrics
        value, before, step, factor = metrics["value"], metrics["before"], metrics["step"], metrics["factor"]
        assert isinstance(before, int)
        assert isinstance(step, int)
        assert isinstance(factor, int)
        if value != advance(before, step, factor):
            raise BrokenPromiseError(f"row {event} is wrong")

    def check_history(self, history: ExperimentHistory, *, finished: bool) -> None:
        """What people would read is whole: every row once, in order, each from the one before."""
        for trial in history.trials.values():
            previous: Reported | None = None
            for row in trial.rows():
                self.check_follows(trial.id, previous, row)
                previous = row
            if finished and trial.status is Status.TERMINATED:
                self.check_end(trial.id, previous)

    def check_follows(self, trial: str, previous: Reported | None, row: Reported) -> None:
        """A row stands where it belongs."""
        if previous is None:
            if row.segment == 0 and (row.iteration, row.metrics["before"]) != (1, 1):
                raise BrokenPromiseError(f"the first row of trial {trial} is {row}")
        elif row.segment == previous.segment:
            if row.iteration != previous.iteration + 1 or row.metrics["before"] != previous.metrics["value"]:
                raise BrokenPromiseError(f"trial {trial}: {row} does not follow {previous}")
        elif row.segment < previous.segment:
            raise BrokenPromiseError(f"trial {trial}: {row} is out of order")

    def check_end(self, trial: str, last: Reported | None) -> None:
        """A trial that ended by itself has done all its steps."""
        if trial in self.facts.cut_short:
            return
        limit = None if self.workload.stop is None else self.workload.stop["training_iteration"]
        if last is None:
            raise BrokenPromiseError(f"trial {trial} ended without a row")
        if self.workload.scheduler in CUTTING:
            return  # a clone of a donor that was at its end has nothing left to report; others may be stopped
        if state_of(last.metrics)[0] != self.workload.steps and (limit is None or last.iteration < limit):
            raise BrokenPromiseError(f"trial {trial} ended early, with {last}")
