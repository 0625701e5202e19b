"""Runs the experiment of one seed, session after session, until it has ended."""

from __future__ import annotations

import gc
import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from perdure.callbacks import CallbackList
from perdure.config import ResumeConfig
from perdure.control.desk import PERIOD_S
from perdure.control.stand_in import StandIn
from perdure.core.events import (
    AnyEvent,
    CheckpointPinned,
    Data,
    DriverStarted,
    ExperimentCreated,
    Source,
)
from perdure.core.state import State
from perdure.errors import JournalCorruptError
from perdure.executors.devices import DeviceLedger
from perdure.executors.simulated import Die, Fail, Hang, ScriptStep, Step
from perdure.folding import Recovered, recover
from perdure.history import ExperimentHistory
from perdure.journal.base import START, Position
from perdure.journal.file import FileJournal, FileJournalReader, repair_journal
from perdure.judge import Judge
from perdure.naming import Namer
from perdure.recovery import adopt, requeue
from perdure.retelling import Retelling
from perdure.runner import Runner, Settings
from perdure.schedulers.base import TrialScheduler, configure
from perdure.search_space.functions import randint
from perdure.searchers.driver import SearchDriver
from perdure.snapshots import Snapshots
from perdure.stoppers.base import Stopper
from perdure.stoppers.resolve import resolve_stopper
from perdure.testing.simulation.background import Background, ScheduledManager
from perdure.testing.simulation.fate import Crash, Fate
from perdure.testing.simulation.faults import Faults, draw_faults
from perdure.testing.simulation.invariants import CHORES_S, BrokenPromiseError, Ledger
from perdure.testing.simulation.machine import HOST, Machine, stand_ins
from perdure.testing.simulation.people import People
from perdure.testing.simulation.requests import POSTING
from perdure.testing.simulation.schedulers import FACTORS, make_scheduler
from perdure.testing.simulation.workers import Workers
from perdure.testing.simulation.workload import MOST_CPUS, Workload, advance, draw_workload, state_of
from perdure.trainable.messages import Assignment

PATH = "/disk/simulated"
SESSIONS = 60
"""More sessions than this mean that an experiment does not end."""
FIRST_PID = 1000
TURNS = 20_000
"""More turns of the loop than this mean that a session does not end."""
SNAPSHOT_S = 3.0
SILENCE_S = 6.0
"""A trial that has said nothing for so long is killed. It is longer than a report is held back (`BACKLOG_S`)."""
BACKLOG_S = 4.0
_DRAWS = random.Random(0)  # to seed it anew takes half the time of a new one
RESUME = ResumeConfig()
DIE, FAIL, HANG = Die(0.05), Fail(0.05), Hang()
SPACE = {"factor": randint(*FACTORS)}

Case = tuple[Workload, Faults]


def draw(seed: int) -> Case:
    """Return what seed `seed` stands for."""
    rng = _DRAWS
    rng.seed(seed)
    workload = draw_workload(seed, rng)
    return workload, draw_faults(rng, workload)


def simulate(seed: int, *, tell: bool = False, case: Case | None = None) -> World:
    """Run the experiment of one seed, and return what became of it.

    Args:
        seed: Draws the workload and the faults, and decides every chance in between.
        tell: Print each event.
        case: Another workload and other faults than the seed draws.

    Raises:
        BrokenPromiseError: a promise did not hold; the message ends with the command that shows it again.
    """
    world = World(seed, tell=tell, case=case)
    collects = gc.isenabled()
    gc.disable()  # what one experiment leaves is collected at once, after it: looking at it all the while costs 7 %
    try:
        world.run()
    except BaseException as error:
        told = str(error) if isinstance(error, BrokenPromiseError) else f"{type(error).__name__}: {error}"
        raise BrokenPromiseError(
            f"{told}\n{world.workload}\n{world.faults}\n"
            f"To see it: python -m perdure.testing.simulation {seed} (with --shrink: the smallest that still fails)"
        ) from error
    finally:
        if collects:
            gc.enable()
    return world


def run_in_turn(seeds: Iterable[int]) -> None:
    """Run the experiments of many seeds. What one leaves is collected right after it, while it is still in the cache.

    Raises:
        BrokenPromiseError: as `simulate`, at the first seed.
    """
    collects = gc.isenabled()
    gc.collect()
    gc.freeze()  # no collection looks at what there is already
    gc.disable()
    try:
        with stand_ins():
            for seed in seeds:
                simulate(seed).forget()
                gc.collect(0)
    finally:
        gc.unfreeze()
        if collects:
            gc.enable()


class World:
    """One seed: its workload, its faults, what outlives sessions, and what was promised so far."""

    turns = TURNS
    snapshot_s = SNAPSHOT_S

    def __init__(self, seed: int, *, tell: bool = False, case: Case | None = None) -> None:
        self.seed = seed
        self.tell = tell
        self.workload, self.faults = case or draw(seed)
        self.rng = random.Random(f"fate {seed}")
        self.fate = Fate(self.faults, self.rng, self._meddle)
        self.disk = self.fate.disk
        self.machine = Machine(self.disk)
        self.ledger = self.make_ledger()
        self.people = People(self, PATH) if self.faults.requests else None
        self.disk.on_removal = self._removed
        self.budget = self.faults.budget
        self._cpus = self.workload.cpus
        self.sessions = 0
        self.events = 0
        self.stopped: list[str] = []
        """Why sessions ended that no crash ended: the storage failed."""
        self.lost = False
        """A lying disk took all of the journal."""
        self._after_power_cut = False
        self._seen: Position = START
        """Of the last record that the ledger knows."""
        self._counter = itertools.count()
        self._trouble: OSError | None = None
        self._journal: FileJournal | None = None
        self._state = State()
        """As the newest driver sees it."""
        self.runner: Runner | None = None
        """Of the newest session."""
        self._workers: Workers | None = None
        self._background: Background | None = None

    def forget(self) -> None:
        """Let go of all parts, which hold each other in circles: what falls apart by itself is collected in no time."""
        runner = self.runner
        held = () if runner is None else (runner.desk, runner.judge, runner)
        for part in (*held, self._workers, self.disk, self.fate, self.machine, self):
            if part is not None:
                vars(part).clear()

    def count(self) -> int:
        """Return a number that nobody had before."""
        return next(self._counter)

    # --- sessions ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run sessions until the experiment has ended.

        Raises:
            BrokenPromiseError: a promise did not hold.
        """
        with self.machine.mounted():
            while not self._session_and_requests():
                self.sessions += 1
                if self.sessions > SESSIONS:
                    raise BrokenPromiseError(f"the experiment does not end ({self.sessions} sessions)")
            if not self.lost:
                self.fate.rest()
                self._check_end()

    def _session_and_requests(self) -> bool:
        """Run one session, and have people ask once it has ended; return whether the experiment has."""
        over, boot = self._session(), self.machine.boot
        self._ask_nobody(over=over)
        return over and boot == self.machine.boot  # a disk that lied may have lost that it was over

    def _session(self) -> bool:
        """Run one session; return whether the experiment has ended."""
        index, faults = self.sessions, self.faults
        crashes = index < len(faults.crashes)
        crash_after = faults.crashes[index] if crashes else None
        return self._live(self._drive, crash_after, power_cut=crashes and faults.power_cuts[index])

    def _ask_nobody(self, *, over: bool) -> None:
        """People may ask where nobody drives: they answer it, and whatever else lies there, themselves."""
        people = self.people
        while people is not None and not self.lost and (wish := people.next_away(over=over)) is not None:
            if people.ask(wish):
                dies = None if wish.dies is None else max(1, wish.dies - POSTING)
                self._live(self._stand_in, dies, power_cut=dies is not None and self.rng.random() < 0.4)
        if people is not None and over and not self.lost and (people.wait or self._after_power_cut):
            self.fate.rest()
            self._live(self._stand_in, None, power_cut=False)

    def _live(self, drive: Callable[[ExitStack], bool], crash_after: int | None, *, power_cut: bool) -> bool:
        """Have a driver do what it does, and perhaps die. Return what it returns: whether the experiment has ended."""
        self.machine.pid = FIRST_PID + self.count()
        self.disk.handles.clear()
        self.runner = self._background = self._journal = self._workers = None
        self.fate.begin_session(crash_after)
        try:
            with ExitStack() as stack:
                return drive(stack)
        except Crash:
            self.crash(power_cut=power_cut)
        except JournalCorruptError as error:
            return not self._repaired(error)
        except OSError as error:
            self._storage_failed(error)
        return False

    def _drive(self, stack: ExitStack) -> bool:
        runner = self._open(stack)
        self._run(runner)
        over = runner.over
        assert over is not None
        if self.tell:
            print(f"--- session {self.sessions} ended, finished={over.finished}")
        return over.finished or (runner.state.stopping is None and _asleep(runner.state))

    def _stand_in(self, stack: ExitStack) -> bool:
        """Answer the requests that wait, and leave: nobody drives. Nothing ends by that."""
        if self.tell:
            print("--- nobody drives, so whoever asked answers")
        journal, recovered = self._reopen(stack)
        driver = _WatchedStandIn(self, self.machine.path(PATH), journal, recovered)
        driver.run()
        return False

    def _reopen(self, stack: ExitStack) -> tuple[FileJournal, Recovered]:
        """Take the experiment over, as every driver does."""
        path = self.machine.path(PATH)
        self._emitted: list[AnyEvent] = []
        self._journal = journal = _WatchedJournal(path, strict=self.workload.strict)
        stack.callback(journal.close)
        recovered = recover(path, journal.past, journal.position, whole=False)
        self._state = recovered.state
        self._check_reopened(journal.past, recovered.state)
        journal.on_commit = self._committed
        return journal, recovered

    def _open(self, stack: ExitStack) -> Runner:
        workload, path = self.workload, self.machine.path(PATH)
        if self.fate.chance(self.faults.moves):
            self._cpus = self.rng.randint(1, MOST_CPUS)
        self._workers = executor = Workers(self, self._cpus)
        self.machine.clock, self.machine.wall_clock = executor.clock, executor.time
        journal, recovered = self._reopen(stack)
        state = recovered.state
        stack.callback(executor.close)
        checkpoints = ScheduledManager(PATH, clock=executor.clock, slow_s=self.faults.slow_disk_s)
        stack.callback(checkpoints.close)
        search = self.make_search()
        plain_search = search.seed is not None
        if plain_search:
            search.replay_suggested(state.created)
        scheduler, stopper = self.make_scheduler(), self.make_stopper()
        configure(scheduler, workload.spec.metric, workload.spec.mode, seed=self.seed, saves=workload.saves)
        judge = Judge(
            state=state,
            path=PATH,
            search=search,
            scheduler=scheduler,
            stopper=stopper,
            callbacks=CallbackList(),
            namer=Namer(trainable="t", seed=self.seed, token="simul", taken=self.disk.names(PATH), clock=executor.time),
            resources_of=lambda config: {"CPU": 1.0},
            save_config=lambda directory, objects: None,
            load_objects=lambda directory: {},
            wall_clock=executor.time,
            saves=workload.saves,
            saves_at_end=workload.saves,
        )
        self.runner = runner = _WatchedRunner(
            self,
            state=state,
            journal=journal,
            executor=executor,
            judge=judge,
            checkpoints=checkpoints,
            ledger=DeviceLedger(()),
            settings=self._settings(path),
            snapshots=Snapshots(path, save_plugins=lambda directory: None, period_s=self.snapshot_s),
            clock=executor.clock,
            wall_clock=executor.time,
        )
        if not state.name:
            runner.emit(ExperimentCreated(at=0.0, name="simulated", trainable="t", spec=workload.spec, version="0"))
        retold = None if scheduler.get_state() == {} else scheduler
        reminded = None if stopper.get_state() == {} else stopper
        if retold is not None or reminded is not None or not plain_search:
            past = Retelling(journal.past, path=PATH, scheduler=retold, stopper=reminded).run()
            if plain_search:
                for _ in past:
                    pass
            elif lost := search.replay(past):
                raise BrokenPromiseError(lost)
        runner.emit(
            DriverStarted(
                at=executor.time(),
                epoch=journal.epoch,
                host=HOST,
                pid=self.machine.pid,
                process_start=float(self.machine.pid),
                boot_id=self.machine.boot_id,
                capacity=executor.capacity(),
            )
        )
        adopt(runner, recovered.unsettled)
        requeue(runner, RESUME, resized=False)
        self._background = Background(journal, checkpoints, clock=executor.clock, drive=self._drive_in_between)
        return runner

    # --- what an experiment is made of ------------------------------------------------------------------------------

    def make_ledger(self) -> Ledger:
        """Return what keeps and checks the promises."""
        return Ledger(self.disk, PATH, self.workload)

    def make_search(self) -> SearchDriver:
        """Return what suggests configurations."""
        return SearchDriver(None, param_space=SPACE, num_samples=self.workload.samples, seed=self.seed)

    def make_scheduler(self) -> TrialScheduler:
        """Return the scheduler, anew for each session."""
        workload = self.workload
        return make_scheduler(workload.scheduler, seed=self.seed, steps=workload.steps, saves=workload.saves)

    def make_stopper(self) -> Stopper:
        """Return the stop rule, anew for each session."""
        return resolve_stopper(self.workload.stop)

    def script(self, config: Data, assignment: Assignment, row: Data | None) -> Iterator[ScriptStep]:
        """Yield what an attempt does, from the row in its checkpoint on."""
        workload = self.workload
        step, value = (0, 1) if row is None else state_of(row)
        factor = config["factor"]
        assert isinstance(factor, int)
        while step < workload.steps:
            if mishap := self._mishap():
                yield mishap
                return
            step, before = step + 1, value
            value = advance(value, step, factor)
            row = {"step": step, "value": value, "before": before, "factor": factor}
            save = not workload.saves and step % workload.every == 0
            yield Step(0.1 + 0.01 * (value % 50), row, checkpoint=save)

    def _mishap(self) -> ScriptStep | None:
        faults = self.faults
        if self.budget <= 0:
            return None
        draw = self.rng.random()
        for chance, what in ((faults.dies, DIE), (faults.fails, FAIL), (faults.hangs, HANG)):
            if draw < chance:
                self.budget -= 1
                return what
            draw -= chance
        return None

    def _settings(self, path: Path) -> Settings:
        workload = self.workload
        return Settings(
            path=path,
            checkpoint_frequency=workload.every if workload.saves else 0,
            checkpoint_at_end=workload.saves,
            saves=workload.saves,
            durability="strict" if workload.strict else "default",
            boot_id=self.machine.boot_id,
            chores_s=CHORES_S,
            requests_s=PERIOD_S if self.people is None else 0.0,  # a small experiment takes a second
            cleanup_s=5.0,
            report_timeout_s=SILENCE_S,
            backlog_s=BACKLOG_S,
        )

    def _run(self, runner: Runner) -> None:
        assert self._background is not None
        runner.settle()
        turns = 0
        while runner.over is None:
            self._background.work()
            if self._trouble is not None:
                trouble, self._trouble = self._trouble, None
                raise trouble
            if self.fate.chance(self.faults.pins):
                self._pin(runner)
            if self.people is not None:
                self.people.come()
                self.people.see_to(runner.state)
            if runner.over is None:
                runner.turn()
            turns += 1
            if turns > self.turns:
                raise BrokenPromiseError(f"the session does not end ({turns} turns)")
        runner.leave()

    def _pin(self, runner: Runner) -> None:
        """A person pins a checkpoint, or lets go of it."""
        unfinished = [trial for trial in runner.state.trials.values() if not trial.status.finished]
        items = [Source(trial=trial.id, number=number) for trial in unfinished for number in trial.checkpoints]
        if items and runner.over is None:
            item = self.rng.choice(items)
            pinned = item.number not in runner.state.trials[item.trial].pinned
            runner.emit(CheckpointPinned(at=runner.wall_clock(), item=item, pinned=pinned))

    # --- in between -------------------------------------------------------------------------------------------------

    def _meddle(self) -> None:
        if self.people is not None:
            self.people.come()
        if self._background is not None and not self.machine.lock.held:  # whoever wants it would have to wait
            self._background.meddle()

    def _drive_in_between(self) -> None:
        """Let the driver go on while a thread of it is in the middle of something."""
        runner = self.runner
        assert runner is not None
        try:
            for _ in range(self.rng.randint(1, 3)):
                if runner.over is None and self._trouble is None:
                    runner.turn()
        except OSError as error:
            self._trouble = error  # the driver's own: the thread must not take it for its

    def emit(self, event: AnyEvent, state: State, emit: Callable[[AnyEvent], None]) -> None:
        """Have the driver decide something, which is not written yet."""
        if self.people is not None:
            self.people.will_hear(event, state)
        emit(event)
        self._emitted.append(event)
        self.ledger.emitted(event, self._state)
        if self.people is not None:
            self.people.heard(self._state)

    def _committed(self) -> None:
        """What was decided is in the journal; nobody was told of it yet."""
        if not self._emitted:
            return
        assert self._journal is not None
        events, self._emitted = self._emitted, []
        self.events += len(events)
        self._seen = self._journal.position
        if self.tell:
            for event in events:
                print(f"{self.machine.clock():8.2f}  {event}")
        self.ledger.journaled(events, self._state, self._seen.sequence)
        if self.people is not None:
            self.people.journaled(events, self._state)

    def _removed(self, path: str) -> None:
        self.ledger.check_removal(path, None if self.runner is None else self.runner.state, self._synced)
        if self.people is not None:
            self.people.removed(path, self._synced())

    def _synced(self) -> int:
        """Return the number of the last record that is known to be on the disk."""
        return 0 if self._journal is None else self._journal.synced

    # --- ends -------------------------------------------------------------------------------------------------------

    def crash(self, *, power_cut: bool) -> None:
        """The driver is dead; perhaps the machine is, too."""
        if self.tell:
            print(f"--- session {self.sessions} crashes" + (" with the machine" if power_cut else ""))
        self.ledger.synced = self._synced()
        self.fate.begin_session(None)
        self._workers_end()
        if power_cut:
            self.machine.boot += 1
            self.disk.cut_power(self.rng)
            self._after_power_cut = True
        if self.fate.chance(self.faults.rots):
            self._rot()

    def _workers_end(self) -> None:
        self._background = None
        if self._workers is not None:
            self._workers.last_words()

    def _storage_failed(self, error: OSError) -> None:
        """The session ended in good order, with an error: only where the storage did fail."""
        if not self.fate.failed:
            raise BrokenPromiseError(f"the storage is said to fail, and did not: {error!r}") from error
        if self.tell:
            print(f"--- session {self.sessions} stops: {error}")
        self.stopped.append(str(error))

    def _repaired(self, error: JournalCorruptError) -> bool:
        """A disk that lied, and then lost power, has lost what it had said was safe: a person agrees to go on without.

        False: there is nothing left to go on with.
        """
        if not (self.disk.lied and self._after_power_cut):
            raise BrokenPromiseError(f"the journal is said to be damaged, and is not: {error}") from error
        if self.tell:
            print(f"--- session {self.sessions} is refused: {error}")
        self.fate.rest()
        try:
            repair_journal(PATH, cut=True)
        except JournalCorruptError:
            self.lost = True
        return not self.lost

    def _rot(self) -> None:
        """Damage one file of one checkpoint."""
        ledger = self.ledger
        keys = [key for key in ledger.contents if key[0] in ledger.facts.directories and ledger.whole(key)]
        if not keys:
            return
        key = self.rng.choice(keys)
        ledger.rotten.add(key)
        name = self.rng.choice(sorted(ledger.contents[key]))
        data = bytearray(ledger.contents[key][name])
        position = self.rng.randrange(len(data))
        data[position] ^= 1 << self.rng.randrange(8)
        self.disk.damage(f"{ledger.folder(key)}/{name}", bytes(data[: self.rng.choice((position, len(data)))]))

    # --- what is checked --------------------------------------------------------------------------------------------

    def _check_reopened(self, reader: FileJournalReader, state: State) -> None:
        seen = START if self._after_power_cut else self._seen
        events = []
        for position, event in reader.read(seen):  # which may fail half-way
            events.append(event)
            seen = position
        self.ledger.reopened(events, state, power_cut=self._after_power_cut)
        if self.people is not None:
            self.people.reopened(events, state, power_cut=self._after_power_cut, synced=self.ledger.synced)
        self._seen = seen
        self._after_power_cut = False

    def records(self) -> list[tuple[Position, AnyEvent]]:
        """Return what is in the journal."""
        self.fate.rest()
        with self.machine.mounted():
            return list(FileJournalReader(PATH).read())

    def history(self) -> ExperimentHistory:
        """Return what people read of it."""
        self.fate.rest()
        with self.machine.mounted():
            return _read_history()

    def _check_end(self) -> None:
        records = list(FileJournalReader(PATH).read())
        history = ExperimentHistory()
        history.fold_all(records)
        self.ledger.check_rows()
        self.ledger.check_history(history, finished=True)
        if self.people is not None:
            self.people.check_end(event for _, event in records)
        state = self._state
        if state.paused:
            raise BrokenPromiseError(f"the experiment is over, and nobody wakes {sorted(state.paused)}")
        if not self.fate.failed and not self.machine.boot:  # else nobody waits for the disk to forget what was removed
            self.ledger.check_leftovers(state)


def _read_history() -> ExperimentHistory:
    history = ExperimentHistory()
    history.fold_all(FileJournalReader(PATH).read())
    return history


class _WatchedRunner(Runner):
    """The loop, with an eye on each event."""

    def __init__(self, world: World, **parts: Any) -> None:
        super().__init__(**parts)
        self._world = world

    def emit(self, event: AnyEvent) -> None:
        self._world.emit(event, self.state, super().emit)


class _WatchedStandIn(StandIn):
    """Who answers where nobody drives, with an eye on each event."""

    def __init__(self, world: World, *parts: Any) -> None:
        super().__init__(*parts)
        self._world = world

    def emit(self, event: AnyEvent) -> None:
        self._world.emit(event, self.state, super().emit)


class _WatchedJournal(FileJournal):
    """The journal, with an eye on each batch."""

    on_commit: Callable[[], None]

    def commit(self) -> None:
        super().commit()
        self.on_commit()


def _asleep(state: State) -> bool:
    """Nobody is left who would wake the paused trials."""
    return not (state.ahead or state.pending or state.live)
