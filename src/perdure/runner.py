"""The loop: the only place where all parts meet.

One turn takes in what happened, writes that to the journal and answers; then it decides what follows, writes that, and
acts on it: `Runner.turn` is the whole of it. The outside world is let know of nothing that is not written: whatever is
killed between two lines, the journal holds either everything that anybody was told, or more.

One thread, no asyncio. What may take long (bytes of checkpoints, loggers) happens elsewhere and reports back as
messages of the next turn.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from perdure.checkpoints.manager import Deleted, Durable, Failed
from perdure.control.desk import PERIOD_S, Desk
from perdure.control.door import Door
from perdure.core.commands import (
    Await,
    Command,
    Delete,
    Finish,
    Launch,
    MakeDurable,
    Retire,
    StopAttempt,
    Suggest,
    Wake,
)
from perdure.core.events import (
    Action,
    AnyEvent,
    AttemptEnded,
    AttemptPlanned,
    AttemptStarted,
    CheckpointCommitted,
    CheckpointInfo,
    CheckpointsDeleted,
    CheckpointsDurable,
    CheckpointsRetired,
    CheckpointsUnsafe,
    Decision,
    DriverStopped,
    ErrorInfo,
    Noticed,
    Outcome,
    RequestRefused,
    SearchEnded,
    Source,
    StopRequested,
    TimePassed,
    TrialActed,
)
from perdure.core.planner import plan, segment_of, source_of
from perdure.core.state import State, Status, Trial, let_go
from perdure.core.transitions import apply
from perdure.errors import StorageError
from perdure.recovery import adopt
from perdure.resources import check_resources
from perdure.storage.faults import fault_point
from perdure.storage.layout import checkpoint_name
from perdure.trainable.messages import (
    Asked,
    Assignment,
    AttemptKey,
    Ended,
    Lost,
    Notice,
    Report,
    RestorePoint,
    Saved,
    Started,
    Verdict,
)

if TYPE_CHECKING:
    from perdure.checkpoints.manager import CheckpointManager
    from perdure.executors.base import Executor
    from perdure.executors.devices import DeviceLedger
    from perdure.journal.base import JournalWriter
    from perdure.judge import Judge
    from perdure.snapshots import Snapshots

TIME_UP_GRACE_S = 10.0
"""A trial whose time is up has so many seconds to report once more, be told to stop and clean up."""
IDLE_S = 30.0
"""A searcher that has nothing to offer for so long while nothing runs is told of."""
LARGE_BATCH = 1000
"""What follows from one turn is written in pieces of about so many events: thousands of trials may start at once."""
TIME_MARK_S = 1.0
"""Seconds between journaled marks of the running time; a crash loses at most so much of the budget's count."""


class Observer(Protocol):
    """Is shown what was journaled, after it was."""

    def observe(self, events: Sequence[AnyEvent]) -> None: ...

    def tick(self, now: float) -> None: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How the runner treats attempts; all of it is known before the first one starts."""

    path: Path
    checkpoint_frequency: int = 0
    checkpoint_at_end: bool = False
    saves: bool = False
    """The trainable saves when it is told to (the Class API)."""
    durability: str = "default"
    directories: bool = True
    """Trials have directories; simulated ones have none."""
    log_to_file: tuple[str, str] | None = None
    label_output: bool = False
    chdir: bool = True
    seeded: bool = False
    boot_id: str = ""
    chores_s: float = 0.1
    """Seconds between looks at what nobody announces: deadlines, the time budget. For so long, too, checkpoints that
    the policy does not keep gather before they are retired, and others before they are handed over to be synced."""
    requests_s: float = PERIOD_S
    """Seconds between looks at what other processes ask for."""
    cleanup_s: float = 600.0
    """A trial that was told to stop has so many seconds to clean up before its process is killed."""
    report_timeout_s: float | None = None
    max_trial_time_s: float | None = None
    resources_after_oom: Mapping[str, float] | Callable[[dict[str, float]], Mapping[str, float]] | None = None
    backlog_bytes: int = 8 << 30
    backlog_s: float = 60.0
    """Reports with checkpoints wait while more than this is on its way to the disk, or is on its way for longer."""


class Runner:
    """Runs one session of one experiment: from a state to its end, or to a stop."""

    def __init__(
        self,
        *,
        state: State,
        journal: JournalWriter,
        executor: Executor,
        judge: Judge,
        checkpoints: CheckpointManager,
        ledger: DeviceLedger,
        settings: Settings,
        observers: Sequence[Observer] = (),
        snapshots: Snapshots | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.state = state
        self.journal = journal
        self.executor = executor
        self.judge = judge
        self.checkpoints = checkpoints
        self.ledger = ledger
        self.settings = settings
        self._path = str(settings.path)
        self.observers = observers
        self.snapshots = snapshots
        self.clock = clock
        self.wall_clock = wall_clock
        self.inherited = set(state.undurable.values())
        """Checkpoints that were saved under an earlier driver and are not known to be on the disk."""
        self.over: Finish | None = None
        self.interrupt: StopRequested | None = None
        """Set by a signal handler or a callback; taken up at the next turn."""
        self._is_sound = True
        """Whether every event that is staged could be folded: no other may get into the journal."""
        self._batch: list[AnyEvent] = []
        self._effects: list[Callable[[], None]] = []
        self._held: list[tuple[AttemptKey, Verdict]] = []
        self._behind = False
        """More is on its way to the disk than is good; looked at with the chores."""
        self._keeps_house = True
        """Whether this turn retires checkpoints and hands them over to be synced and deleted."""
        self._doomed: deque[tuple[int, tuple[Source, ...]]] = deque()
        self._heard: dict[str, float] = {}
        """When a trial last said something, where there is a limit to its silence."""
        self._kill_at: dict[AttemptKey, float] = {}
        self._overdue: set[AttemptKey] = set()
        """Killed because they had not ended in time after they were told to."""
        self._why_killed: dict[AttemptKey, ErrorInfo] = {}
        self._up_since: dict[AttemptKey, float] = {}
        self._time_up_at: dict[AttemptKey, float] = {}
        self._started_at = clock()
        self._chores_at = 0.0
        self._marked_at = self._started_at
        self._searcher_waits = False
        self._idle_since: float | None = None
        self._told_of_score = False
        self._declined: set[Command] = set()
        self._awaited: Await | None = None
        """What was said to be all that is left, held back by people."""
        door = Door(settings.path) if settings.directories else None
        self.desk = Desk(self, door, saves=settings.saves, wall_clock=wall_clock, period_s=settings.requests_s)

    # --- the loop ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run until there is nothing left to do or a stop was carried out.

        Raises:
            StorageError: the journal could not be written; nothing that was acknowledged is lost.
            ResourceError: a trial that waits asks for more than there is now.
            Exception: whatever a user's callback, stopper, scheduler or searcher raised.
        """
        self._check_resources()
        with self.desk.open(str(self.settings.path)):
            self.settle()
            try:
                while self.over is None:
                    self.turn()
            except Exception:
                self._keep_what_happened()
                raise
        self.leave()

    def _keep_what_happened(self) -> None:
        """Write down what was taken in before a plugin raised: no trial whose end was heard is to run again for that.

        Nothing follows from it any more, as if the driver had been killed right after it had written the batch. And a
        part of a batch is what a torn write leaves.
        """
        if self._is_sound:
            with contextlib.suppress(StorageError):  # of the two errors, the one that is being raised came first
                self.journal.commit()
                batch, self._batch = self._batch, []
                for observer in self.observers:
                    observer.observe(batch)

    def leave(self) -> None:
        """End the session, which is over, in good order."""
        assert self.over is not None
        if self.state.answered:
            self.journal.sync()
            self.desk.clear()
        self.emit(
            DriverStopped(
                at=self.wall_clock(), finished=self.over.finished, ran_s=self.ran_s, reason=self.state.stopping or ""
            )
        )
        self.commit()
        if self.snapshots is not None:
            self.snapshots.write(self.state, self.journal.position)
        fault_point("run.over")

    def turn(self) -> None:
        """Take in what happened, decide what follows, and let anybody know of either only once it is written down."""
        messages = self.executor.poll(self._patience())
        self.judge.step_begins()
        for key, message in messages:
            self.receive(key, message)
            self.tell_endings()  # before the next row is judged, as they will be told again after a restore
        fault_point("turn.received")
        if self._effects:  # trials wait for their verdicts: what follows from the rows is worked out while they go on
            self.commit()
        self.settle()
        self.judge.step_ends()

    def settle(self) -> None:
        """Decide what follows from what was taken in, write all of it down, and act on it."""
        self.do_chores()
        self.tell_endings()
        self.follow_up()
        self.commit()

    def emit(self, event: AnyEvent) -> None:
        """Add an event to this turn's batch and fold it into the state, as decoded from what will be written."""
        staged = self.journal.stage(event)
        self._is_sound = False
        apply(self.state, staged)
        self._is_sound = True
        self._batch.append(staged)

    def commit(self) -> None:
        """Write the turn's batch, then do what was waiting for it to be written."""
        if self._batch:
            fault_point("turn.decided")
            self.journal.commit()
            fault_point("turn.committed")
        batch, self._batch = self._batch, []
        effects, self._effects = self._effects, []
        for effect in effects:
            fault_point("turn.effect")
            effect()
        if batch:
            for observer in self.observers:
                observer.observe(batch)
        fault_point("turn.done")
        if self.snapshots is not None:
            self.snapshots.maybe(self.state, self.journal)

    def follow_up(self) -> None:
        """Carry out the plan until it has nothing more to say."""
        self._declined.clear()
        while commands := plan(
            self.state,
            may_suggest=not self._searcher_waits,
            declined=self._declined,
            tidy=self._keeps_house,
        ):
            for command in commands:
                if not self.carry_out(command):
                    return
            if len(self._batch) > LARGE_BATCH:
                self.commit()

    @property
    def ran_s(self) -> float:
        """Seconds this session has run."""
        return self.clock() - self._started_at

    # --- what the desk needs ----------------------------------------------------------------------------------------

    @property
    def emitted(self) -> int:
        """Sequence number of the event emitted last."""
        return self.journal.position.sequence + len(self._batch)

    @property
    def synced(self) -> int:
        """Sequence number of the last record that is known to have reached the disk."""
        return self.journal.synced

    def after_commit(self, effect: Callable[[], None]) -> None:
        """Do something once what was emitted so far is written."""
        self._effects.append(effect)

    def knock(self) -> None:
        """Have the desk looked at soon."""
        self.executor.wake()

    # --- what comes in ----------------------------------------------------------------------------------------------

    def receive(self, key: AttemptKey, message: object) -> None:
        """Turn a message of an attempt into events. One from an attempt that is not live any more is dropped."""
        trial = self.state.trials.get(key.trial)
        if trial is None or trial.live is None or trial.live.attempt != key.attempt:
            return
        if self.settings.report_timeout_s is not None:
            self._heard[key.trial] = self.clock()
        match message:
            case Report():
                self._reported(trial, key, message)
            case Saved():
                self.emit(CheckpointCommitted(at=self.wall_clock(), trial=trial.id, checkpoint=message.checkpoint))
                self.judge.saved(trial, message.checkpoint)
                self._look_for_score(trial, message.checkpoint)
                self._answer(key, Verdict(), backed_up=True)
            case Asked():
                event = self.desk.answer(message.request)
                refused = event.reason if isinstance(event, RequestRefused) else ""
                self._answer(key, Verdict(refused=refused), backed_up=False)
            case Started():
                self._started(trial, key, message)
            case Ended():
                self._ended(trial, key, message.outcome, message.error, rejected=message.rejected)
            case Lost():
                self._ended(trial, key, Outcome.LOST, message.error)
            case Notice():
                self.emit(Noticed(at=self.wall_clock(), text=message.text, trial=trial.id))

    def _started(self, trial: Trial, key: AttemptKey, message: Started) -> None:
        self.emit(
            AttemptStarted(
                at=self.wall_clock(),
                trial=trial.id,
                attempt=key.attempt,
                host=message.host,
                node_ip=message.node_ip,
                pid=message.pid,
                process_start=message.process_start,
                iteration=trial.iteration,
            )
        )
        self.judge.started(trial)
        now = self._up_since[key] = self.clock()
        if self.settings.max_trial_time_s is not None:
            self._time_up_at[key] = now + max(0.0, self.settings.max_trial_time_s - trial.ran_s)

    def _reported(self, trial: Trial, key: AttemptKey, report: Report) -> None:
        fault_point("turn.report")
        event = self.judge.report(trial, key, report)
        self.emit(event)
        decision, save = event.decision, event.save
        if self.state.stopping is not None and decision is Decision.CONTINUE:
            # The judge stops it where that is for good; what a restore goes on from leaves no trace in the report.
            decision, save = Decision.PAUSE, self.settings.saves
        if decision is not Decision.CONTINUE:
            self._kill_at[key] = self.clock() + self.settings.cleanup_s
        self.judge.reported(trial, event)
        self._look_for_score(trial, event.checkpoint)
        verdict = Verdict(decision=decision, save=save, replaced=trial.start is not None)
        self._answer(key, verdict, backed_up=report.checkpoint is not None)
        self._heed_stopper()

    def _look_for_score(self, trial: Trial, checkpoint: CheckpointInfo | None) -> None:
        """Say, once, that a checkpoint has nothing to be ranked by: the attribute's name may be wrong."""
        attribute = self.state.spec.score_attribute
        if checkpoint is None or checkpoint.score is not None or attribute is None or self._told_of_score:
            return
        self._told_of_score = True
        reported = ", ".join(sorted(trial.last.metrics)) if trial.last is not None else ""
        text = (
            f"Checkpoint {checkpoint.number} of trial {trial.id} has no finite number under "
            f"checkpoint_score_attribute={attribute!r} to be ranked by; its row has: {reported or 'nothing'}. Those "
            "without one are the first to go. Report it in each row that comes with a checkpoint, or name another "
            "attribute. (Said once, whatever others lack it.)"
        )
        self.emit(Noticed(at=self.wall_clock(), trial=trial.id, text=text))

    def _ended(
        self, trial: Trial, key: AttemptKey, outcome: Outcome, error: ErrorInfo | None, *, rejected: bool = False
    ) -> None:
        live = trial.live
        assert live is not None
        error = self._why_killed.pop(key, error)
        if rejected and error is not None:
            text = f"Trial {trial.id} could not go on from its newest checkpoint: {error.message}"
            self.emit(Noticed(at=self.wall_clock(), trial=trial.id, text=text))
        if outcome is Outcome.LOST or outcome is Outcome.FAILED:
            adopt(self, (trial.id,))  # it may have ended between committing a checkpoint and reporting it
        if outcome is Outcome.LOST and key in self._overdue and (self.state.stopping is not None or trial.held):
            outcome, error = Outcome.INTERRUPTED, None  # killed so that it would end or pause: that is not its failure
        self.ledger.give_back(live.devices, _gpus(trial))
        self._overdue.discard(key)
        self._kill_at.pop(key, None)
        self._time_up_at.pop(key, None)
        self._heard.pop(trial.id, None)
        self.emit(
            AttemptEnded(
                at=self.wall_clock(),
                trial=trial.id,
                attempt=key.attempt,
                outcome=outcome,
                error=error,
                rejected=live.start if rejected else None,
                ran_s=self.clock() - self._up_since.pop(key, self.clock()),
            )
        )
        self._searcher_waits = False
        self._awaited = None
        self.judge.ended(trial, outcome)
        if error is not None and error.out_of_memory and not trial.status.finished:
            self._give_more_memory(trial)

    def _give_more_memory(self, trial: Trial) -> None:
        """Retry a trial that ran out of memory with what the user wants it to have then."""
        policy, had = self.settings.resources_after_oom, dict(trial.resources or {})
        if policy is None:
            return
        wanted = dict(policy(had)) if callable(policy) else {**had, **policy}
        check_resources(wanted, self.state.capacity, whom=f"Trial {trial.id}, retried after it ran out of memory,")
        action = Action(trial=trial.id, decision=Decision.CONTINUE, resources=wanted)
        self.emit(TrialActed(at=self.wall_clock(), action=action))

    def tell_endings(self) -> None:
        """Tell plugins of the trials that have come to their end, and let these go."""
        while self.state.agenda.finished:
            for trial in [self.state.trials[trial] for trial in self.state.agenda.finished]:
                actions = self.judge.finished(trial)
                failed = trial.status is Status.ERROR
                let_go(self.state, trial)
                self._act(actions)
                if failed and self.state.spec.fail_fast and self.state.stopping is None:
                    self.emit(StopRequested(at=self.wall_clock(), reason="fail_fast", resumable=True))

    def _answer(self, key: AttemptKey, verdict: Verdict, *, backed_up: bool) -> None:
        """Answer once the batch is written; and, where bytes are on their way to the disk, not too far ahead of it."""
        if backed_up and (self._held or self._behind):
            self._held.append((key, verdict))
            self._heard.pop(key.trial, None)  # now it is we who are silent
        else:
            self._effects.append(partial(self.executor.reply, key, verdict))

    def _look_at_backlog(self) -> None:
        backlog = self.checkpoints.backlog
        settings = self.settings
        self._behind = backlog.nbytes > settings.backlog_bytes or backlog.oldest_s > settings.backlog_s

    # --- what goes out ----------------------------------------------------------------------------------------------

    def carry_out(self, command: Command) -> bool:
        """Turn a command into events and effects. False: it has to wait for something to happen first."""
        match command:
            case Launch():
                return self._launch(self.state.trials[command.trial])
            case Suggest():
                return self._suggest()
            case Wake():
                self._wake(command)
            case StopAttempt():
                self._stop_attempt(self.state.trials[command.trial])
            case Retire():
                self.emit(CheckpointsRetired(at=self.wall_clock(), items=command.items))
            case MakeDurable():
                self._effects += [self._make_durable(source) for source in command.items]
            case Delete():
                self._doom(command.items)
            case Await():
                return self._await(command)
            case Finish():
                return self._finish(command)
        return True

    def _launch(self, trial: Trial) -> bool:
        if not self.state.live:  # then there will never be more than there is
            check_resources(trial.resources or {}, self.state.capacity, whom=f"Trial {trial.id}")
        devices = self.ledger.take(_gpus(trial))
        if devices is None:
            return False  # there is room in all, but on no single device
        attempt, start, segment = trial.attempts + 1, source_of(self.state, trial), segment_of(self.state, trial)
        point = None if start is None else self._restore_point(start)
        self.judge.launching(trial)
        self.emit(
            AttemptPlanned(
                at=self.wall_clock(),
                trial=trial.id,
                attempt=attempt,
                start=start,
                segment=segment,
                iteration=0 if point is None else point.iteration,
                time_total_s=0.0 if point is None else point.time_total_s,
                devices=devices,
            )
        )
        assignment = self._assignment(trial, attempt, segment, devices, point)
        self._effects.append(partial(self._start, assignment))
        return True

    def _start(self, assignment: Assignment) -> None:
        self.executor.start(assignment)
        fault_point("start.done")

    def _restore_point(self, start: Source) -> RestorePoint:
        owner = self.state.trials[start.trial]
        info = owner.checkpoints[start.number]
        return RestorePoint(
            path=str(self.settings.path / owner.directory / info.directory),
            trial=start.trial,
            number=start.number,
            iteration=info.iteration,
            time_total_s=info.time_total_s,
            trusted=info.boot_id == self.settings.boot_id and not owner.is_durable(start.number),
        )

    def _assignment(
        self, trial: Trial, attempt: int, segment: int, devices: tuple[str, ...], start: RestorePoint | None
    ) -> Assignment:
        settings = self.settings
        return Assignment(
            trial=trial.id,
            attempt=attempt,
            segment=segment,
            name=trial.name,
            number=trial.number,
            tag=trial.tag,
            experiment=self.state.name,
            experiment_path=self._path,
            path=os.path.join(self._path, trial.directory),
            config=trial.config or {},
            resources=trial.resources or {},
            devices=devices,
            start=start,
            next_checkpoint=trial.next_checkpoint,
            iteration=0 if start is None else start.iteration,
            time_total_s=0.0 if start is None else start.time_total_s,
            checkpoint_frequency=settings.checkpoint_frequency,
            checkpoint_at_end=settings.checkpoint_at_end,
            score_attribute=self.state.spec.score_attribute,
            durability=settings.durability,
            log_to_file=settings.log_to_file,
            label_output=settings.label_output,
            chdir=settings.chdir,
            seed=trial.seed if settings.seeded else None,
            boot_id=settings.boot_id,
        )

    def _suggest(self) -> bool:
        event = self.judge.suggest()
        if event is None:
            self._searcher_waits = True
            self._notice_idleness()
            return True
        self._idle_since = None
        self.emit(event)
        if not isinstance(event, SearchEnded):
            self.judge.created(self.state.trials[event.trial])
        return True

    def _notice_idleness(self) -> None:
        """Say, once, that nothing runs because the searcher has nothing to offer: it may be for ever."""
        now = self.clock()
        if self.state.live:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        elif now - self._idle_since > IDLE_S:
            self._idle_since = float("inf")
            text = f"Nothing has run for {IDLE_S:g} s: the searcher suggests no trial and has not said that it is done."
            self.emit(Noticed(at=self.wall_clock(), text=text))

    def _wake(self, command: Wake) -> None:
        """Ask which paused trials go on."""
        actions = self.judge.wake(early=command.early)
        self._act(actions)
        self.tell_endings()
        if not actions:
            self._declined.add(command)

    def _await(self, command: Await) -> bool:
        """Say, once, that nothing is left but what people hold back."""
        if command != self._awaited:
            self._awaited = command
            names = [self.state.trials[trial].name for trial in islice(self.state.held, 5)]
            shown = ", ".join(names) + (", ..." if command.held > len(names) else "")
            text = (
                f"Nothing runs: all that is left is held back by people's requests ({shown}). Waiting for "
                f"`perdure resume-trial {self.settings.path} TRIAL`; `perdure stop {self.settings.path}` ends this "
                "session, and a restore goes on."
            )
            self.emit(Noticed(at=self.wall_clock(), text=text))
        return False

    def _act(self, actions: Sequence[Action]) -> None:
        """Journal what was decided about several trials as one."""
        if actions:
            self.emit(TrialActed(at=self.wall_clock(), action=actions[0], more=tuple(actions[1:])))

    def _stop_attempt(self, trial: Trial) -> None:
        if trial.live is not None:
            key = AttemptKey(trial.id, trial.live.attempt)
            self._kill_at.setdefault(key, self.clock() + self.settings.cleanup_s)
            # The trial may look for this (`should_stop`). The time limit is kept here, not by the executor.
            self._effects.append(partial(self.executor.stop, key, grace_s=2 * self.settings.cleanup_s + 60))

    def _make_durable(self, source: Source) -> Callable[[], None]:
        info = self.state.trials[source.trial].checkpoints[source.number]
        return partial(
            self.checkpoints.make_durable,
            source,
            self._folder(source, info.directory),
            info.nbytes,
            digested=info.digested,
            trusted=info.boot_id == self.settings.boot_id,
            inherited=source in self.inherited,
        )

    def _folder(self, source: Source, name: str) -> str:
        # Not with pathlib: this is done for every checkpoint.
        return f"{self._path}{os.sep}{self.state.trials[source.trial].directory}{os.sep}{name}"

    def _doom(self, items: tuple[Source, ...]) -> None:
        """Note what is to be deleted once a power cut can no longer take back that it was retired.

        The journal is synced within a second. Deleting before that could leave a trial whose last synced record names
        a checkpoint that is gone.
        """
        self._doomed.append((self.emitted, items))

    def _delete_doomed(self) -> None:
        synced = self.journal.synced if self._doomed else 0
        while self._doomed and self._doomed[0][0] <= synced:
            for source in self._doomed.popleft()[1]:
                self.checkpoints.delete(source, self._folder(source, checkpoint_name(source.number)))

    def _finish(self, command: Finish) -> bool:
        if self.state.resumable and self.judge.expects_more:
            command = Finish(finished=False)  # all that had begun came to its own end, but not all had begun
        if command.finished and (self._effects or self._doomed or not self.checkpoints.idle):
            if self._effects:
                self.executor.wake()  # what this very turn asks for has not begun: look again once it has
            if self._doomed:
                self._effects.append(self.journal.sync)
            self.checkpoints.hasten()
            return False  # the last checkpoints are still on their way to the disk, or off it
        self.over = command
        return False

    # --- what nobody announces --------------------------------------------------------------------------------------

    def do_chores(self) -> None:
        """Look at what has no message of its own: background work, signals, deadlines, the time budget."""
        self._collect_background_work()
        self._delete_doomed()
        if self.interrupt is not None:
            request, self.interrupt = self.interrupt, None
            self.emit(request)
        now = self.clock()
        self.desk.attend(now)
        self._keeps_house = now >= self._chores_at
        if not self._keeps_house:
            return
        self._chores_at = now + self.settings.chores_s
        self._searcher_waits = False
        self._look_at_backlog()
        self._release_held()
        self._check_deadlines(now)
        self._check_budget(now)
        self._heed_stopper()
        for observer in self.observers:
            observer.tick(now)

    def _collect_background_work(self) -> None:
        durable: list[Source] = []
        deleted: list[Source] = []
        unsafe: list[Source] = []
        for done in self.checkpoints.poll():
            self.inherited.discard(done.source)
            match done:
                case Durable():
                    durable.append(done.source)
                case Deleted():
                    deleted.append(done.source)
                case Failed():
                    if done.what == "made durable":
                        unsafe.append(done.source)
                    text = f"Checkpoint {done.source.number} could not be {done.what}: {done.error}"
                    self.emit(Noticed(at=self.wall_clock(), trial=done.source.trial, text=text))
        if durable:
            self.emit(CheckpointsDurable(at=self.wall_clock(), items=tuple(durable)))
        if unsafe:
            self.emit(CheckpointsUnsafe(at=self.wall_clock(), items=tuple(unsafe)))
        if deleted:
            self.emit(CheckpointsDeleted(at=self.wall_clock(), items=tuple(deleted)))

    def _release_held(self) -> None:
        if self._held and not self._behind:
            held, self._held = self._held, []
            now = self.clock()
            self._heard.update({key.trial: now for key, _ in held if key.trial in self.state.live})
            self._effects += [partial(self.executor.reply, key, verdict) for key, verdict in held]

    def _check_deadlines(self, now: float) -> None:
        """Kill what was told to stop and has not, and what has been silent for too long. Looks at live trials only."""
        for key in [key for key, deadline in self._kill_at.items() if now >= deadline]:
            del self._kill_at[key]
            self._overdue.add(key)
            self.executor.kill(key)
        for key in [key for key, deadline in self._time_up_at.items() if now >= deadline]:
            del self._time_up_at[key]
            self._end_for_time(self.state.trials[key.trial])
        limit = self.settings.report_timeout_s
        if limit is not None:
            for trial_id, heard in list(self._heard.items()):
                if now - heard > limit:
                    self._heard[trial_id] = now
                    self._kill_silent(self.state.trials[trial_id], limit)

    def _end_for_time(self, trial: Trial) -> None:
        limit = self.settings.max_trial_time_s
        text = f"Trial {trial.id} has run for {limit:g} s (max_trial_time_s) and is stopped."
        self.emit(Noticed(at=self.wall_clock(), trial=trial.id, text=text))
        self.emit(TrialActed(at=self.wall_clock(), action=Action(trial=trial.id, decision=Decision.STOP)))
        if trial.live is not None:
            self._kill_at.setdefault(AttemptKey(trial.id, trial.live.attempt), self.clock() + TIME_UP_GRACE_S)

    def _kill_silent(self, trial: Trial, limit: float) -> None:
        if trial.live is not None:
            text = (
                f"Trial {trial.id} did not report for {limit:g} s and its process was killed. If it needs longer "
                "between two reports, raise FailureConfig(report_timeout_s=...)."
            )
            key = AttemptKey(trial.id, trial.live.attempt)
            self._why_killed[key] = ErrorInfo(kind="WorkerTimeoutError", message=text, signal=9)
            self.executor.kill(key)

    def _heed_stopper(self) -> None:
        if self.state.stopping is None and self.judge.wants_end():
            self.emit(StopRequested(at=self.wall_clock(), reason="stopper"))

    def _check_resources(self) -> None:
        """Refuse to wait for ever: a restore may have less than the trials were made for."""
        state = self.state
        for trial_id in (*state.ahead, *state.pending, *state.paused):
            check_resources(
                state.trials[trial_id].resources or {},
                state.capacity,
                whom=f"Trial {trial_id}",
                advice="Nothing was started. Restore the experiment where there is as much as it began with.",
            )

    def _check_budget(self, now: float) -> None:
        budget = self.state.spec.time_budget_s
        if budget is not None and self.state.stopping is None and self.state.ran_before_s + self.ran_s >= budget:
            self.emit(StopRequested(at=self.wall_clock(), reason="time_budget"))
        if now - self._marked_at >= TIME_MARK_S:
            self._marked_at = now
            self.emit(TimePassed(at=self.wall_clock(), ran_s=self.ran_s))

    def _patience(self) -> float:
        """Seconds to wait for the next message."""
        return max(0.0, self._chores_at - self.clock())


def _gpus(trial: Trial) -> float:
    return (trial.resources or {}).get("GPU", 0.0)
