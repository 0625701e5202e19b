"""Whole experiments in a few milliseconds, with everything going wrong: the same every time for the same seed.

The core, the loop, the judge, the journal's lines, the searcher and recovery are the real ones. Simulated are the
machine (`SimulatedExecutor`, on a virtual clock), the disk (`Disk`) and fate: a seed draws a workload and a plan of
faults, and `simulate(seed)` runs sessions until the experiment has ended, checking the promises after every event and
every restart.

    python -m perdure.testing.simulation SEED            replays one seed and tells what happened
    python -m perdure.testing.simulation SEED --shrink   the same, of the simplest case that still fails
    python -m perdure.testing.simulation FIRST COUNT     runs many

What is checked, by `World`: an acknowledged row stands once, in order, with the value that every step before it leads
to; a trial starts only from a checkpoint that was committed, is whole, and is the newest such; no trial has two live
attempts; resources are never exceeded and no status is skipped (`core.invariants`); no checkpoint is deleted that
something needs; each key is judged once; the experiment ends.
"""

from __future__ import annotations

import dataclasses
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from perdure.callbacks import CallbackList
from perdure.checkpoints.manager import Backlog, Deleted, Done, Durable, Failed
from perdure.checkpoints.manifest import FileRecord, Manifest
from perdure.config import ResumeConfig
from perdure.core.events import (
    Action,
    AnyEvent,
    AttemptPlanned,
    CheckpointInfo,
    Data,
    Decision,
    DriverStarted,
    ErrorInfo,
    ExperimentCreated,
    Reported,
    Source,
    Spec,
)
from perdure.core.invariants import violations
from perdure.core.state import State, Status
from perdure.errors import StorageError
from perdure.executors.base import ExecutorEvent
from perdure.executors.devices import DeviceLedger
from perdure.executors.simulated import Die, Fail, Hang, Reject, ScriptStep, SimulatedExecutor, Step
from perdure.history import ExperimentHistory
from perdure.journal import codec
from perdure.journal.base import Position
from perdure.journal.memory import MemoryJournal, MemoryStore
from perdure.judge import Judge
from perdure.naming import Namer
from perdure.recovery import adopt, recover, requeue
from perdure.retelling import Retelling
from perdure.runner import Runner, Settings
from perdure.schedulers.base import Controller, Judgement, TrialScheduler, configure
from perdure.schedulers.fifo import FIFOScheduler
from perdure.schedulers.hyperband import HyperBandScheduler
from perdure.schedulers.promotion_asha import PromotionASHAScheduler
from perdure.search_space.functions import randint
from perdure.searchers.driver import SearchDriver
from perdure.stoppers.resolve import resolve_stopper
from perdure.trainable.messages import Assignment, AttemptKey, FromWorker, Lost, Report, Saved, Verdict
from perdure.trial_view import TrialView

PATH = Path("/simulated")
MODULUS = 1_000_003
SESSIONS = 60
"""More sessions than this mean that an experiment does not end."""
TURNS = 20_000


class Crash(BaseException):
    """The driver dies here."""


class BrokenPromiseError(AssertionError):
    """A promise did not hold. The message says which, and the seed that shows it."""


def advance(value: int, step: int, factor: int) -> int:
    """Return what a trial's running value is after one more step."""
    return (value * factor + step) % MODULUS


# --- what is drawn ----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workload:
    """An experiment to run."""

    samples: int
    steps: int
    every: int
    """A checkpoint at each so many steps."""
    cpus: int
    spec: Spec
    saves: bool
    """The trainable is a class: it saves when told to."""
    stop: dict[str, int] | None
    scheduler: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Faults:
    """What goes wrong, and how often."""

    crashes: tuple[int, ...]
    """For each session that is cut short, after how many of the driver's steps."""
    power_cuts: tuple[bool, ...]
    """Whether that crash is the machine's, which forgets what was not synced."""
    dies: float
    fails: float
    hangs: float
    """Chance of each at a step of a trial, while there are any left."""
    mutes: float
    """Chance that a worker dies between committing a checkpoint and reporting it."""
    budget: int
    """How many of these there are in all."""
    slow_disk_s: float
    disk_refuses: float
    rots: float
    """Chance that a crash leaves one checkpoint damaged."""
    repeats: float
    """Chance that a message is delivered twice, or long after its attempt is over."""


def draw(seed: int) -> tuple[Workload, Faults]:
    """Return what seed `seed` stands for."""
    rng = random.Random(seed)
    steps = rng.randint(1, 6)
    saves = rng.random() < 0.4
    keep = rng.choice((None, 1, 1, 2))
    scheduler = rng.choice(("fifo", "fifo", "pausing", "cloning", "promoting", "halving"))
    spec = Spec(
        metric="value",
        mode="max",
        max_concurrent=rng.choice((0, 0, 1, 2)),
        max_failures=rng.choice((-1, -1, 0, 1, 3)),
        num_to_keep=keep,
        score_attribute=rng.choice((None, "value")) if keep else None,
        num_samples=rng.randint(1, 5),
        seed=seed,
        restart_without_checkpoint=rng.random() < 0.5,
    )
    workload = Workload(
        samples=spec.num_samples,
        steps=steps,
        every=1 if scheduler in ("cloning", "promoting", "halving") else rng.choice((1, 1, 2, 3)),
        cpus=rng.randint(1, 4),
        spec=spec,
        saves=saves,
        stop=rng.choice((None, None, {"training_iteration": rng.randint(1, steps)})),
        scheduler=scheduler,
    )
    crashes = tuple(rng.randint(1, 120) for _ in range(rng.choice((0, 1, 1, 2, 3))))
    faults = Faults(
        crashes=crashes,
        power_cuts=tuple(rng.random() < 0.4 for _ in crashes),
        dies=rng.choice((0.0, 0.0, 0.1, 0.3)),
        fails=rng.choice((0.0, 0.0, 0.1)),
        hangs=rng.choice((0.0, 0.0, 0.05)),
        mutes=rng.choice((0.0, 0.0, 0.2)),
        budget=6,
        slow_disk_s=rng.choice((0.0, 0.1, 2.0)),
        disk_refuses=rng.choice((0.0, 0.0, 0.2)),
        rots=rng.choice((0.0, 0.0, 0.3)),
        repeats=rng.choice((0.0, 0.1)),
    )
    return workload, faults


# --- the disk ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(slots=True)
class Stored:
    """One committed checkpoint on the disk."""

    manifest: Manifest
    durable: bool = False
    damaged: bool = False


class Disk:
    """What outlives drivers and workers: checkpoints by trial directory and number, and the journal's lines."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.synced = 0
        """Journal lines that a power cut does not take."""
        self.boot = 0
        self.checkpoints: dict[str, dict[int, Stored]] = {}

    @property
    def boot_id(self) -> str:
        return f"boot-{self.boot}"

    def commit(self, assignment: Assignment, info: CheckpointInfo, row: Data) -> None:
        """A worker commits a checkpoint."""
        directory = PurePosixPath(assignment.path).name
        manifest = Manifest(
            version=1,
            trial=assignment.trial,
            attempt=assignment.attempt,
            segment=assignment.segment,
            number=info.number,
            iteration=info.iteration,
            time_total_s=info.time_total_s,
            boot_id=assignment.boot_id,
            score=info.score,
            row=row,
            files={"state": FileRecord(size=8)},
        )
        folder = self.checkpoints.setdefault(directory, {})
        if info.number in folder:
            raise BrokenPromiseError(f"checkpoint {info.number} of trial {assignment.trial} was committed twice")
        folder[info.number] = Stored(manifest)

    def find(self, path: str) -> Stored | None:
        """Return the checkpoint at an absolute path."""
        where = PurePosixPath(path)
        return self.checkpoints.get(where.parent.name, {}).get(int(where.name.rpartition("_")[2]))

    def events(self) -> list[AnyEvent]:
        """Return what the journal holds."""
        return [codec.decode(line)[2] for line in self.store.lines]

    def cut_power(self, rng: random.Random) -> None:
        """Forget what had not reached the disk."""
        self.boot += 1
        lines = self.store.lines
        del lines[rng.randint(self.synced, len(lines)) :]
        for folder in self.checkpoints.values():
            for number in list(folder):
                if not folder[number].durable and rng.random() < 0.5:
                    del folder[number]


class SimulatedCheckpoints:
    """The port of `CheckpointManager`, on the simulated disk: what it does takes virtual time, and may fail."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._syncing: dict[Source, tuple[float, int, Path, bool]] = {}
        self._deleting: dict[Source, tuple[float, Path]] = {}

    def make_durable(
        self, source: Source, directory: Path, nbytes: int, *, digested: bool = False, trusted: bool = True
    ) -> None:
        if source not in self._syncing and source not in self._deleting:
            due = self._world.clock() + self._world.faults.slow_disk_s
            self._syncing[source] = (due, nbytes, directory, trusted)

    def delete(self, source: Source, directory: Path) -> None:
        self._world.check_deletion(source)
        self._syncing.pop(source, None)
        self._deleting[source] = (self._world.clock() + self._world.faults.slow_disk_s, directory)

    def poll(self) -> list[Done]:
        now, world = self._world.clock(), self._world
        done: list[Done] = []
        for source, (due, _, directory, trusted) in list(self._syncing.items()):
            if due <= now:
                del self._syncing[source]
                done.append(self._sync(source, directory, trusted=trusted))
        for source, (due, directory) in list(self._deleting.items()):
            if due <= now:
                del self._deleting[source]
                world.disk.checkpoints.get(directory.parent.name, {}).pop(source.number, None)
                done.append(Deleted(source))
        return done

    def _sync(self, source: Source, directory: Path, *, trusted: bool) -> Done:
        stored = self._world.disk.find(str(directory))
        if stored is None and trusted:
            raise BrokenPromiseError(f"checkpoint {source} was to be synced and is not there")
        if stored is None or not trusted:
            return Failed(source, "made durable", StorageError("nobody knows what reached the disk"))
        if self._world.chance(self._world.faults.disk_refuses):
            return Failed(source, "made durable", StorageError("the disk refuses"))
        stored.durable = True
        return Durable(source)

    @property
    def backlog(self) -> Backlog:
        nbytes = sum(nbytes for _, nbytes, _, _ in self._syncing.values())
        return Backlog(len(self._syncing), nbytes, 0.0)

    def find_committed(self, directory: Path, *, first: int = 0) -> list[Manifest]:
        folder = self._world.disk.checkpoints.get(directory.name, {})
        return [folder[number].manifest for number in sorted(folder) if number >= first]

    def sweep(self, directory: Path, *, keep: set[str]) -> list[str]:
        folder = self._world.disk.checkpoints.get(directory.name, {})
        gone = [number for number in folder if f"checkpoint_{number:06d}" not in keep]
        for number in gone:
            del folder[number]
        return [f"checkpoint_{number:06d}" for number in gone]


# --- schedulers that do what real ones do to others -------------------------------------------------------------------


class _Keyed(TrialScheduler):
    """Decides by chance, but always the same for the same row, so that it needs no memory."""

    def __init__(self, seed: int, *, saves: bool = False) -> None:
        super().__init__()
        self._seed = seed
        self._saves = saves

    def get_state(self) -> dict[str, Any]:
        return {}

    def _rng(self, trial: TrialView, result: dict[str, Any]) -> random.Random:
        return random.Random(f"{self._seed} {trial.trial_id} {result['training_iteration']} {result['value']}")


class PausingScheduler(_Keyed):
    """Pauses trials now and then, and wakes paused ones."""

    def on_trial_result(self, controller: Controller, trial: TrialView, result: dict[str, Any]) -> Judgement:
        rng = self._rng(trial, result)
        wake = self._wake(controller, trial)
        saved = trial.checkpoint is not None or result["checkpoint_dir_name"] is not None or self._saves
        if saved and rng.random() < 0.3 and any(other != trial for other in controller.get_live_trials()):
            return Judgement(self.PAUSE, wake)
        return Judgement(self.CONTINUE, wake)

    def on_trial_complete(
        self, controller: Controller, trial: TrialView, result: dict[str, Any]
    ) -> Sequence[Action] | None:
        return self._wake(controller, trial)

    def on_trial_error(self, controller: Controller, trial: TrialView) -> Sequence[Action] | None:
        return self._wake(controller, trial)

    @staticmethod
    def _wake(controller: Controller, trial: TrialView) -> list[Action]:
        others = sorted(controller.get_live_trials() - {trial}, key=lambda other: other.number)
        return [Action(trial=other.trial_id, decision=Decision.CONTINUE, resume=True) for other in others]


class CloningScheduler(_Keyed):
    """Replaces a trial by a clone of a better one now and then, as population-based training does."""

    def on_trial_result(self, controller: Controller, trial: TrialView, result: dict[str, Any]) -> str | Judgement:
        rng = self._rng(trial, result)
        donors = sorted(
            (other for other in controller.get_trials() if other != trial and other.checkpoint is not None),
            key=lambda other: other.number,
        )
        if not donors or rng.random() > 0.25:
            return self.CONTINUE
        donor = rng.choice(donors)
        assert donor.checkpoint is not None
        number = int(donor.checkpoint.path.rpartition("_")[2])
        config = {**trial.config, "factor": rng.randint(2, 999)}
        source = Source(trial=donor.trial_id, number=number)
        clone = Action(trial=trial.trial_id, decision=Decision.PAUSE, donor=source, config=config, resume=True)
        return Judgement(self.PAUSE, [clone])


# --- the world --------------------------------------------------------------------------------------------------------


class World:
    """One seed: its workload, its faults, what outlives sessions, and what was promised so far."""

    turns = TURNS
    """More turns of the loop than this mean that a session does not end."""

    def __init__(
        self, seed: int, *, tell: bool = False, drawn: tuple[Workload, Faults] | None = None
    ) -> None:
        self.seed = seed
        self.tell = tell
        self.workload, self.faults = drawn or draw(seed)
        self.rng = random.Random(f"fate {seed}")
        self.disk = Disk()
        self.budget = self.faults.budget
        self.acknowledged: set[tuple[str, int, int]] = set()
        """(trial, segment, iteration) of each row that a trial was answered for."""
        self.judged: set[tuple[str, int, int]] = set()
        self.sessions = 0
        self.events = 0
        self._time = 0.0
        self._fuse: int | None = None
        self.executor: SimulatedExecutor | None = None
        self.runner: Runner | None = None
        self.assignments: dict[AttemptKey, Assignment] = {}

    # --- running ------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run sessions until the experiment has ended.

        Raises:
            BrokenPromiseError: a promise did not hold.
        """
        while not self._session():
            self.sessions += 1
            if self.sessions > SESSIONS:
                raise BrokenPromiseError(f"the experiment does not end ({self.sessions} sessions)")
        self.check_history(finished=True)

    def _session(self) -> bool:
        """Run one session; return whether the experiment has ended."""
        index = self.sessions
        self._fuse = self.faults.crashes[index] if index < len(self.faults.crashes) else None
        self.disk.store.abandon()
        self.disk.synced = len(self.disk.store.lines)  # a new epoch's header speaks for what is before it
        try:
            runner = self._open()
            self._drive(runner)
        except Crash:
            self._crash(power_cut=self.faults.power_cuts[index])
            return False
        self.disk.synced = len(self.disk.store.lines)
        over = runner.over
        assert over is not None
        if self.tell:
            print(f"--- session {index} ended, finished={over.finished}")
        return over.finished or self._asleep(runner.state)

    def _drive(self, runner: Runner) -> None:
        runner.settle()
        turns = 0
        while runner.over is None:
            runner.turn()
            turns += 1
            if turns > self.turns:
                raise BrokenPromiseError(f"the session does not end ({turns} turns)")

    @staticmethod
    def _asleep(state: State) -> bool:
        """Nobody is left who would wake the paused trials."""
        return not (state.ahead or state.pending or state.live)

    def _open(self) -> Runner:
        workload = self.workload
        journal = FusedJournal(self)
        self.executor = executor = FusedExecutor(self)
        recovered = recover(None, journal, journal.position, whole=False)
        state = recovered.state
        checkpoints = SimulatedCheckpoints(self)
        namer = Namer(trainable="t", seed=self.seed, token="simul", taken=self.disk.checkpoints, clock=executor.time)
        search = self._search()
        search.replay_suggested(state.created)
        scheduler = self._scheduler()
        configure(scheduler, workload.spec.metric, workload.spec.mode, seed=self.seed, saves=workload.saves)
        judge = Judge(
            state=state,
            path=str(PATH),
            search=search,
            scheduler=scheduler,
            stopper=resolve_stopper(workload.stop),
            callbacks=CallbackList(),
            namer=namer,
            resources_of=lambda config: {"CPU": 1.0},
            save_config=lambda directory, objects: None,
            load_objects=lambda directory: {},
            wall_clock=executor.time,
            saves=workload.saves,
            saves_at_end=workload.saves,
        )
        self.runner = runner = Runner(
            state=state,
            journal=journal,
            executor=executor,
            judge=judge,
            checkpoints=checkpoints,  # type: ignore[arg-type]  # a port that has one implementation so far
            ledger=DeviceLedger(()),
            settings=Settings(
                path=PATH,
                checkpoint_frequency=workload.every if workload.saves else 0,
                checkpoint_at_end=workload.saves,
                saves=workload.saves,
                directories=False,
                boot_id=self.disk.boot_id,
                chores_s=1.0,
                cleanup_s=5.0,
                report_timeout_s=30.0,
            ),
            observers=(self,),
            clock=executor.clock,
            wall_clock=executor.time,
        )
        if not state.name:
            runner.emit(
                ExperimentCreated(at=0.0, name="simulated", trainable="t", spec=workload.spec, version="0")
            )
        runner.emit(
            DriverStarted(
                at=executor.time(),
                epoch=journal.epoch,
                host="simulated",
                pid=1,
                process_start=0.0,
                boot_id=self.disk.boot_id,
                capacity=executor.capacity(),
            )
        )
        if scheduler.get_state() != {}:
            for _ in Retelling(journal, path=str(PATH), scheduler=scheduler, stopper=None).run():
                pass
        adopt(runner, recovered.unsettled)
        requeue(runner, ResumeConfig())
        self.check_history(finished=False)
        return runner

    def _search(self) -> SearchDriver:
        space = {"factor": randint(2, 1000)}
        return SearchDriver(None, param_space=space, num_samples=self.workload.samples, seed=self.seed)

    def _scheduler(self) -> TrialScheduler:
        match self.workload.scheduler:
            case "pausing":
                return PausingScheduler(self.seed, saves=self.workload.saves)
            case "cloning":
                return CloningScheduler(self.seed)
            case "promoting":
                return PromotionASHAScheduler(max_t=self.workload.steps, reduction_factor=2)
            case "halving":
                return HyperBandScheduler(max_t=self.workload.steps, reduction_factor=2)
            case _:
                return FIFOScheduler()

    def script(self, config: Data, assignment: Assignment) -> Iterator[ScriptStep]:
        """What a trial does: go on from its checkpoint, one step at a time."""
        step, value = 0, 1
        if assignment.start is not None:
            stored = self.disk.find(assignment.start.path)
            trusted = stored is not None and (stored.durable or assignment.start.trusted)
            if stored is None or stored.damaged or not trusted:
                yield Reject(0.1)
                return
            step, value = _state_of(stored.manifest.row)
        factor = config["factor"]
        assert isinstance(factor, int)
        while step < self.workload.steps:
            if mishap := self._mishap():
                yield mishap
                return
            step, before = step + 1, value
            value = advance(value, step, factor)
            row: Data = {"step": step, "value": value, "before": before, "factor": factor}
            save = not self.workload.saves and step % self.workload.every == 0
            yield Step(0.1 + 0.01 * (value % 50), row, checkpoint=save)

    def _mishap(self) -> ScriptStep | None:
        if self.budget <= 0:
            return None
        draw = self.rng.random()
        faults = self.faults
        for chance, what in ((faults.dies, Die(0.05)), (faults.fails, Fail(0.05)), (faults.hangs, Hang())):
            if draw < chance:
                self.budget -= 1
                return what
            draw -= chance
        return None

    # --- fate ---------------------------------------------------------------------------------------------------------

    def clock(self) -> float:
        """Virtual seconds."""
        assert self.executor is not None
        return self.executor.clock()

    def chance(self, probability: float) -> bool:
        """Whether something happens that happens so often."""
        return probability > 0 and self.rng.random() < probability

    def burn(self) -> None:
        """One step of the driver: it may be the last."""
        if self._fuse is not None:
            self._fuse -= 1
            if self._fuse < 0:
                raise Crash

    def _crash(self, *, power_cut: bool) -> None:
        if self.tell:
            print(f"--- session {self.sessions} crashes" + (" with the machine" if power_cut else ""))
        executor = self.executor
        assert isinstance(executor, FusedExecutor)
        executor.last_words()
        if power_cut:
            self.disk.cut_power(self.rng)
            self._forget_unsynced()
        if self.chance(self.faults.rots):
            self._rot()
        self.disk.synced = min(self.disk.synced, len(self.disk.store.lines))

    def _rot(self) -> None:
        stored = [stored for folder in self.disk.checkpoints.values() for stored in folder.values()]
        if stored:
            self.rng.choice(stored).damaged = True

    def _forget_unsynced(self) -> None:
        """A power cut may take rows of the last second: what the journal no longer has was not promised for it."""
        kept = {
            (event.trial, event.segment, event.iteration)
            for event in self.disk.events()
            if isinstance(event, Reported)
        }
        self.acknowledged &= kept
        self.judged &= kept

    # --- what is checked ----------------------------------------------------------------------------------------------

    def observe(self, events: Sequence[AnyEvent]) -> None:
        """The runner's observer port: called with each batch once it is journaled."""
        assert self.runner is not None
        for event in events:
            self.events += 1
            if self.tell:
                print(f"{self.clock():8.2f}  {event}")
            if isinstance(event, Reported):
                self._check_row(event)
            elif isinstance(event, AttemptPlanned):
                self._check_start(event)
        if (found := violations(self.runner.state)):
            raise BrokenPromiseError("; ".join(found))

    def tick(self, now: float) -> None:
        """The runner's observer port. The journal's background sync happens here, about every second."""
        if int(now) != int(self._time):
            self.disk.synced = len(self.disk.store.lines)
        self._time = now

    def _check_row(self, event: Reported) -> None:
        key = (event.trial, event.segment, event.iteration)
        if event.judged:
            if key in self.judged:
                raise BrokenPromiseError(f"row {key} was judged twice")
            self.judged.add(key)
        self._check_value(event)

    def _check_value(self, event: Reported) -> None:
        step, value, before, factor = (event.metrics[name] for name in ("step", "value", "before", "factor"))
        assert isinstance(before, int)
        assert isinstance(step, int)
        assert isinstance(factor, int)
        if value != advance(before, step, factor):
            raise BrokenPromiseError(f"row {event} is wrong")

    def _check_start(self, event: AttemptPlanned) -> None:
        if event.start is None:
            return
        assert self.runner is not None
        owner = self.runner.state.trials[event.start.trial]
        stored = self.disk.checkpoints.get(owner.directory, {}).get(event.start.number)
        if stored is None and self.disk.boot == 0:
            raise BrokenPromiseError(f"trial {event.trial} is to start from {event.start}, which is not there")
        if stored is not None and stored.manifest.iteration != event.iteration:
            raise BrokenPromiseError(f"trial {event.trial} goes on from the wrong iteration of {event.start}")
        if event.start.trial == event.trial:
            newest = max(owner.checkpoints)
            if event.start.number != newest:
                raise BrokenPromiseError(f"trial {event.trial} starts from {event.start.number}, not from {newest}")

    def check_deletion(self, source: Source) -> None:
        """No checkpoint is deleted that something needs."""
        assert self.runner is not None
        state = self.runner.state
        trial = state.trials[source.trial]
        if f"{source.trial}/{source.number}" in state.in_use:
            raise BrokenPromiseError(f"{source} is deleted while it is being read")
        if source.number in trial.checkpoints:
            raise BrokenPromiseError(f"{source} is deleted and was not retired")
        if not trial.status.finished and trial.next_checkpoint == source.number + 1:
            raise BrokenPromiseError(f"{source} is deleted and is the latest of an unfinished trial")

    def check_history(self, *, finished: bool) -> None:
        """What people would read is whole: every acknowledged row once, in order, each from the one before."""
        history = ExperimentHistory()
        for index, event in enumerate(self.disk.events()):
            history.fold(Position(1, index + 1, 0), event)
        journaled: set[tuple[str, int, int]] = set()
        for event in self.disk.events():
            if isinstance(event, Reported):
                journaled.add((event.trial, event.segment, event.iteration))
        missing = self.acknowledged - journaled
        if missing:
            raise BrokenPromiseError(f"acknowledged rows are not in the journal: {sorted(missing)}")
        for trial in history.trials.values():
            previous: Reported | None = None
            for row in trial.rows():
                self._check_follows(trial.id, previous, row)
                previous = row
            if finished and trial.status is Status.TERMINATED:
                self._check_end(trial.id, previous)

    def _check_follows(self, trial: str, previous: Reported | None, row: Reported) -> None:
        if previous is None:
            if row.segment == 0 and (row.iteration, row.metrics["before"]) != (1, 1):
                raise BrokenPromiseError(f"the first row of trial {trial} is {row}")
        elif row.segment == previous.segment:
            if row.iteration != previous.iteration + 1 or row.metrics["before"] != previous.metrics["value"]:
                raise BrokenPromiseError(f"trial {trial}: {row} does not follow {previous}")
        elif row.segment < previous.segment:
            raise BrokenPromiseError(f"trial {trial}: {row} is out of order")

    def _check_end(self, trial: str, last: Reported | None) -> None:
        limit = None if self.workload.stop is None else self.workload.stop["training_iteration"]
        steps = self.workload.steps
        if last is None:
            raise BrokenPromiseError(f"trial {trial} ended without a row")
        if self.workload.scheduler in ("cloning", "promoting", "halving"):
            return  # a clone of a donor that was at its end has nothing left to report; others may be stopped
        if last.metrics["step"] != steps and (limit is None or last.iteration < limit):
            raise BrokenPromiseError(f"trial {trial} ended early, with {last}")


class FusedJournal(MemoryJournal):
    """A journal whose driver may die before, in the middle of, and after a write."""

    def __init__(self, world: World) -> None:
        self._world = world
        super().__init__(world.disk.store)

    @property
    def synced(self) -> int:
        return self._world.disk.synced

    def commit(self) -> None:
        self._world.burn()
        try:
            self._world.burn()
        except Crash:  # torn: some of the batch was written
            staged = self._staged
            self.store.lines.extend(staged[: self._world.rng.randint(0, len(staged))])
            raise
        super().commit()
        self._world.burn()

    def sync(self) -> None:
        self._world.disk.synced = len(self.store.lines)


class FusedExecutor(SimulatedExecutor):
    """An executor whose driver may die at each call, and whose messages may be repeated."""

    def __init__(self, world: World) -> None:
        super().__init__(world.script, capacity={"CPU": float(world.workload.cpus)}, saves=world.workload.saves)
        self._world = world
        self._alive: dict[AttemptKey, Assignment] = {}
        self._reports: dict[AttemptKey, Report] = {}
        self._old: list[ExecutorEvent] = []

    def start(self, assignment: Assignment) -> None:
        self._world.burn()
        if any(key.trial == assignment.trial for key in self._live):
            raise BrokenPromiseError(f"trial {assignment.trial} has two live attempts")
        self._alive[AttemptKey(assignment.trial, assignment.attempt)] = assignment
        super().start(assignment)
        self._world.burn()

    def reply(self, key: AttemptKey, verdict: Verdict) -> None:
        self._world.burn()
        report = self._reports.get(key)
        if report is not None:
            self._world.acknowledged.add((key.trial, self._alive[key].segment, report.iteration))
        super().reply(key, verdict)
        self._world.burn()

    def poll(self, timeout: float) -> list[ExecutorEvent]:
        self._world.burn()
        events = [self._heard(key, message) for key, message in super().poll(timeout)]
        if self._old and self._world.chance(self._world.faults.repeats):
            events = [*events, self._world.rng.choice(self._old)]
        self._old += [event for event in events if event[0] not in self._live]
        return events

    def _heard(self, key: AttemptKey, message: FromWorker) -> ExecutorEvent:
        """What the driver hears of a message: the message, or that its sender died on the way."""
        if not isinstance(message, (Report, Saved)):
            return key, message
        self._commit(key, message)
        world = self._world
        if message.checkpoint is None or world.budget <= 0 or not world.chance(world.faults.mutes):
            return key, message
        world.budget -= 1
        self._live.pop(key).over = True
        return key, Lost(error=ErrorInfo(kind="WorkerDiedError", message="a scripted death", signal=9))

    def _commit(self, key: AttemptKey, message: Report | Saved) -> None:
        """The worker has committed what it reports before the driver hears of it."""
        if isinstance(message, Report):
            self._reports[key] = message
        if message.checkpoint is not None:
            self._world.disk.commit(self._alive[key], message.checkpoint, self._reports[key].metrics)

    def last_words(self) -> None:
        """The driver is dead: some workers commit one more checkpoint before they are gone, too."""
        for _, _, attempt, message in sorted(self._agenda, key=lambda item: item[:2]):
            if attempt.over or not isinstance(message, (Report, Saved)) or self._world.rng.random() < 0.5:
                continue
            self._commit(attempt.key, message)



def _state_of(row: Data) -> tuple[int, int]:
    step, value = row["step"], row["value"]
    assert isinstance(step, int)
    assert isinstance(value, int)
    return step, value


def simulate(seed: int, *, tell: bool = False, drawn: tuple[Workload, Faults] | None = None) -> World:
    """Run the experiment of one seed, and return what became of it.

    Args:
        seed: Draws the workload and the faults, and decides every chance in between.
        tell: Print each event.
        drawn: Another workload and other faults than the seed draws.

    Raises:
        BrokenPromiseError: a promise did not hold; the message ends with the command that shows it again.
    """
    world = World(seed, tell=tell, drawn=drawn)
    try:
        world.run()
    except BaseException as error:
        told = f"{type(error).__name__}: {error}" if not isinstance(error, BrokenPromiseError) else str(error)
        raise BrokenPromiseError(
            f"{told}\n{world.workload}\n{world.faults}\n"
            f"To see it: python -m perdure.testing.simulation {seed} (with --shrink: the smallest that still fails)"
        ) from error
    return world


def shrink(seed: int) -> tuple[Workload, Faults]:
    """Return the simplest workload and faults, of those near what `seed` draws, that still break a promise."""
    smallest = draw(seed)
    while True:
        for simpler in _simpler(*smallest):
            if _fails(seed, simpler):
                smallest = simpler
                break
        else:
            return smallest


def _fails(seed: int, drawn: tuple[Workload, Faults]) -> bool:
    try:
        simulate(seed, drawn=drawn)
    except BrokenPromiseError:
        return True
    return False


def _simpler(workload: Workload, faults: Faults) -> Iterator[tuple[Workload, Faults]]:
    """Yield what is one step simpler, the greatest simplifications first."""
    for index in range(len(faults.crashes)):
        crashes = faults.crashes[:index] + faults.crashes[index + 1 :]
        cuts = faults.power_cuts[:index] + faults.power_cuts[index + 1 :]
        yield workload, dataclasses.replace(faults, crashes=crashes, power_cuts=cuts)
    if any(faults.power_cuts):
        yield workload, dataclasses.replace(faults, power_cuts=(False,) * len(faults.crashes))
    for name in ("dies", "fails", "hangs", "mutes", "slow_disk_s", "disk_refuses", "rots", "repeats"):
        if getattr(faults, name):
            without: dict[str, Any] = {name: 0.0}
            yield workload, dataclasses.replace(faults, **without)
    if workload.scheduler != "fifo":
        yield dataclasses.replace(workload, scheduler="fifo"), faults
    for name in ("samples", "steps", "cpus", "every"):
        if getattr(workload, name) > 1:
            fewer: dict[str, Any] = {name: getattr(workload, name) - 1}
            yield dataclasses.replace(workload, **fewer), faults
    if workload.stop is not None:
        yield dataclasses.replace(workload, stop=None), faults


def main(argv: Sequence[str]) -> int:
    """Replay a seed, or run many."""
    numbers = [int(word) for word in argv if word.isdigit()]
    if not numbers:
        print(__doc__)
        return 2
    first, *count = numbers
    if count:
        for seed in range(first, first + count[0]):
            simulate(seed)
        return 0
    drawn = shrink(first) if "--shrink" in argv and _fails(first, draw(first)) else None
    world = simulate(first, tell=True, drawn=drawn)
    print(f"{world.sessions + 1} sessions, {world.events} events: every promise held")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
