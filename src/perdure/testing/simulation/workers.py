"""The trials' processes: scripted, in virtual time, with real commits and real looks at what they start from."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from perdure.checkpoints.manifest import verify_checkpoint
from perdure.checkpoints.transfer import Saver
from perdure.core.events import CheckpointInfo, Data, ErrorInfo, Outcome, Source
from perdure.errors import CheckpointError
from perdure.executors.base import ExecutorEvent
from perdure.executors.simulated import Fail, Reject, ScriptStep, SimulatedExecutor
from perdure.testing.simulation.fate import WorkerDeath
from perdure.testing.simulation.invariants import BrokenPromiseError
from perdure.trainable.messages import Assignment, AttemptKey, Ended, FromWorker, Lost, Report, Saved, Verdict

if TYPE_CHECKING:
    from perdure.testing.simulation.run import World

COMMIT_STEPS = 30
"""About as many steps on the disk does a commit take."""
ELSEWHERE = "/disk/elsewhere"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL


class Workers(SimulatedExecutor):
    """Runs the attempts of one session. Its driver may die at each call, and its messages may be repeated."""

    def __init__(self, world: World, cpus: int) -> None:
        super().__init__(self._script, capacity={"CPU": float(cpus)}, saves=world.workload.saves)
        self._world = world
        self._assignments: dict[AttemptKey, Assignment] = {}
        self._savers: dict[AttemptKey, Saver] = {}
        self._reports: dict[AttemptKey, Report] = {}
        """The newest of each attempt."""
        self._old: list[ExecutorEvent] = []

    # --- called by the driver ---------------------------------------------------------------------------------------

    def start(self, assignment: Assignment) -> None:
        self._world.fate.call()
        if any(key.trial == assignment.trial for key in self._live):
            raise BrokenPromiseError(f"trial {assignment.trial} has two live attempts")
        busy = [self._assignments[key].resources.get("CPU", 0.0) for key in self._live]
        if sum(busy) + assignment.resources.get("CPU", 0.0) > self.capacity()["CPU"]:
            raise BrokenPromiseError(f"more runs than there is room for: {[*self._live, assignment.trial]}")
        self._assignments[AttemptKey(assignment.trial, assignment.attempt)] = assignment
        super().start(assignment)
        self._world.fate.call()

    def reply(self, key: AttemptKey, verdict: Verdict) -> None:
        self._world.fate.call()
        report, attempt = self._reports.get(key), self._live.get(key)
        if report is not None and attempt is not None and attempt.asking:
            number = None if report.checkpoint is None else report.checkpoint.number
            self._world.ledger.answered((key.trial, self._assignments[key].segment, report.iteration), number)
        super().reply(key, verdict)
        self._world.fate.call()

    def poll(self, timeout: float) -> list[ExecutorEvent]:
        self._world.fate.call()
        events = [self._heard(key, message) for key, message in super().poll(timeout)]
        if self._old and self._world.fate.chance(self._world.faults.repeats):
            events.append(self._world.rng.choice(self._old))
        self._old += [event for event in events if event[0] not in self._live]
        return events

    # --- what a worker does -----------------------------------------------------------------------------------------

    def _script(self, config: Data, assignment: Assignment) -> Iterator[ScriptStep]:
        """Make the trial's directory and look at the checkpoint as a worker does, and go on from it."""
        world = self._world
        row: Data | None = None
        try:
            with world.fate.worker(None):
                world.disk.makedirs(assignment.path, exist_ok=True)
        except OSError as error:
            yield Fail(0.1, str(error))
            return
        if assignment.start is not None:
            try:
                with world.fate.worker(None):
                    verify_checkpoint(assignment.start.path, trusted=assignment.start.trusted)
            except CheckpointError as error:
                world.ledger.check_rejected(assignment, error)
                yield Reject(0.1, str(error))
                return
            except OSError as error:
                yield Fail(0.1, str(error))
                return
            content = world.disk.peek(f"{assignment.start.path}/state")
            world.ledger.check_restored(assignment, content)
            row = msgspec.json.decode(content or b"null", type=Data)
        yield from world.script(config, assignment, row)

    def _heard(self, key: AttemptKey, message: FromWorker) -> ExecutorEvent:
        """Return what the driver hears: the message, or what became of its sender while it saved the checkpoint."""
        if not isinstance(message, (Report, Saved)):
            return key, message
        if isinstance(message, Report):
            self._reports[key] = message
        if message.checkpoint is None:
            return key, message
        world, dies_after = self._world, None
        if world.budget > 0 and world.fate.chance(world.faults.breaks):
            world.budget -= 1
            dies_after = world.rng.randint(1, COMMIT_STEPS)
        try:
            info = self._commit(key, message.checkpoint.number, dies_after)
            if dies_after is not None:
                raise WorkerDeath
        except WorkerDeath:
            self._live.pop(key).over = True
            return key, Lost(error=ErrorInfo(kind="WorkerDiedError", message="a scripted death", signal=9))
        except CheckpointError as error:
            raise BrokenPromiseError(f"a checkpoint of {key} could not be saved: {error}") from error
        except OSError as error:
            world.disk.full = False
            self._live.pop(key).over = True
            failure = ErrorInfo(kind=type(error).__name__, message=str(error))
            return key, Ended(outcome=Outcome.FAILED, error=failure)
        message = msgspec.structs.replace(message, checkpoint=info)
        if isinstance(message, Report):
            self._reports[key] = message
        else:
            self._reports[key] = msgspec.structs.replace(self._reports[key], checkpoint=info)
        return key, message

    def _commit(self, key: AttemptKey, number: int, dies_after: int | None) -> CheckpointInfo:
        """Save what the newest report of an attempt says. The worker may die after so many steps."""
        ledger, assignment = self._world.ledger, self._assignments[key]
        try:
            info = self._save(key, dies_after)
        except BaseException:
            ledger.perhaps_committed(assignment, number)
            raise
        ledger.committed(assignment, info.number)
        return info

    def _save(self, key: AttemptKey, dies_after: int | None) -> CheckpointInfo:
        world, assignment, report = self._world, self._assignments[key], self._reports[key]
        saver = self._savers.get(key) or self._savers.setdefault(key, _saver(assignment))
        with world.fate.worker(dies_after):
            place = os.fspath(saver.staging()) if world.workload.in_place else self._elsewhere(key)
            for name, content in _files(report.metrics, world.rng):
                descriptor = world.disk.open(f"{place}/{name}", _NEW)
                rest = content
                while rest:
                    rest = rest[world.disk.write(descriptor, rest) :]
                world.disk.close(descriptor)
            score = report.metrics.get(assignment.score_attribute or "")
            return saver.commit(
                place,
                row=report.metrics,
                iteration=report.iteration,
                time_total_s=report.time_total_s,
                score=float(score) if isinstance(score, int) else None,
            )

    def _elsewhere(self, key: AttemptKey) -> str:
        disk = self._world.disk
        place = f"{ELSEWHERE}/{key.trial}-{key.attempt}-{self._world.count()}"
        disk.makedirs(place)
        return place

    def last_words(self) -> None:
        """The driver is dead: some workers save one more checkpoint, or begin to, before they are gone, too."""
        rng = self._world.rng
        for _, _, attempt, message in sorted(self._agenda, key=lambda item: item[:2]):
            if attempt.over or not isinstance(message, (Report, Saved)) or message.checkpoint is None:
                continue
            if rng.random() < 0.5:
                continue
            if isinstance(message, Report):
                self._reports[attempt.key] = message
            attempt.over = True
            try:
                self._commit(attempt.key, message.checkpoint.number, rng.choice((None, rng.randint(1, COMMIT_STEPS))))
            except (OSError, WorkerDeath):
                continue


def _saver(assignment: Assignment) -> Saver:
    start = assignment.start
    return Saver(
        assignment.path,
        trial=assignment.trial,
        attempt=assignment.attempt,
        segment=assignment.segment,
        next_number=assignment.next_checkpoint,
        durability=assignment.durability,
        boot_id=assignment.boot_id,
        parent=None if start is None else Source(trial=start.trial, number=start.number),
    )


def _files(row: Data, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a checkpoint: what the trial goes on from, and now and then a second one."""
    yield "state", msgspec.json.encode(row)
    if rng.random() < 0.2:
        yield "more", b"%d" % rng.getrandbits(200)
