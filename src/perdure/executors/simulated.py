"""Runs scripted trials on a virtual clock: thousands of experiments a minute, the same every time.

Nothing real happens: no process, no file, no waiting. A script says what each attempt does and how long that takes;
`poll` moves the clock to the next thing that happens. Whoever uses it takes `clock` as the time.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Union

from perdure.core.events import CheckpointInfo, Data, Decision, ErrorInfo, Outcome
from perdure.errors import ConfigurationError, InternalError
from perdure.executors.base import ExecutorEvent, Program, Resources
from perdure.executors.triage import death
from perdure.trainable.messages import (
    Assignment,
    AttemptKey,
    Ended,
    FromWorker,
    Lost,
    Notice,
    Report,
    Saved,
    Started,
    Verdict,
)

HOST = "simulated"


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """The attempt works for `seconds`, then reports `metrics`; with `checkpoint`, it has saved one."""

    seconds: float
    metrics: Data
    checkpoint: bool = False
    nbytes: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Fail:
    """User code raises after `seconds`."""

    seconds: float
    message: str = "a scripted failure"


@dataclasses.dataclass(frozen=True, slots=True)
class Die:
    """The process dies after `seconds`, of a signal or with an exit code, without a word."""

    seconds: float
    signal: int | None = 9
    exit_code: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Reject:
    """The checkpoint to start from turns out to be damaged after `seconds`."""

    seconds: float
    message: str = "a scripted damage"


@dataclasses.dataclass(frozen=True, slots=True)
class Hang:
    """The attempt never does anything again, until it is killed."""


@dataclasses.dataclass(frozen=True, slots=True)
class Say:
    """The attempt sends a notice."""

    text: str


ScriptStep = Union["tuple[float, Data]", Step, Fail, Die, Reject, Hang, Say]
Script = Callable[[Data, Assignment], Iterable[ScriptStep]]
"""Says what an attempt does: a function of the configuration and the assignment that yields steps. An attempt that
goes on from a checkpoint finds in `assignment.iteration` how far it was. Steps are drawn one at a time, as the
attempt gets to them."""


class SimulatedExecutor:
    """Runs attempts by a script, in virtual time.

    Events at the same instant come in the order in which they were caused, so the same calls give the same events.

    Args:
        script: What attempts do.
        capacity: What there is; 8 CPUs if None.
        devices: Ids of the GPUs behind `capacity["GPU"]`.
        start_s: How long a process takes to start.
        saves: Whether a verdict that asks for a checkpoint gets one, as from a class trainable. A function
            trainable has only those it reports.
        epoch: Unix time at which the virtual clock starts; for the messages' `at`.
    """

    def __init__(
        self,
        script: Script,
        *,
        capacity: Mapping[str, float] | None = None,
        devices: Sequence[str] = (),
        start_s: float = 0.0,
        saves: bool = False,
        epoch: float = 1_700_000_000.0,
    ) -> None:
        if start_s < 0:
            raise ConfigurationError(f"SimulatedExecutor(start_s={start_s!r}): use 0 or more.")
        self._script = script
        self._capacity = dict(capacity or {"CPU": 8.0})
        self._devices = tuple(devices)
        self._start_s = start_s
        self._saves = saves
        self._epoch = epoch
        self._now = 0.0
        self._order = itertools.count()
        self._agenda: list[tuple[float, int, _Attempt, FromWorker | None]] = []
        self._live: dict[AttemptKey, _Attempt] = {}
        self._pids = itertools.count(1)

    def clock(self) -> float:
        """Return the seconds of virtual time that have passed."""
        return self._now

    def time(self) -> float:
        """Return the virtual time of day, as Unix seconds."""
        return self._epoch + self._now

    def capacity(self) -> Resources:
        """What the simulated machine has."""
        return dict(self._capacity)

    def devices(self) -> Sequence[str]:
        """Ids of the simulated machine's GPUs."""
        return self._devices

    def setup(self, program: Program, *, turn: Callable[[], None]) -> None:
        """Do nothing: the script is all there is to run."""

    def start(self, assignment: Assignment) -> None:
        """Start an attempt; it is up after `start_s`."""
        key = AttemptKey(assignment.trial, assignment.attempt)
        if key in self._live:
            raise InternalError(f"Attempt {key.attempt} of trial {key.trial} was started twice.")
        attempt = self._live[key] = _Attempt(key, assignment)
        pid = next(self._pids)
        self._schedule(self._start_s, attempt, Started(pid=pid, host=HOST, process_start=self._now))

    def reply(self, key: AttemptKey, verdict: Verdict) -> None:
        """Answer the attempt's outstanding message. A no-op for an attempt that is over."""
        attempt = self._live.get(key)
        if attempt is None or not attempt.asking:
            return
        attempt.asking = False
        goes_on = verdict.decision is Decision.CONTINUE and attempt.decision is None
        if goes_on and not verdict.save and not attempt.stopping and not attempt.done:
            self._go_on(attempt)
        else:
            self._heed(attempt, verdict)

    def stop(self, key: AttemptKey, *, grace_s: float) -> None:
        """Have the attempt end at its next report; kill it when `grace_s` of virtual time is over."""
        attempt = self._live.get(key)
        if attempt is not None:
            attempt.stopping = True
            what = f"The trial did not end within {grace_s:g} s of being told to stop; its process was killed."
            self._schedule(grace_s, attempt, Lost(error=ErrorInfo(kind="WorkerTimeoutError", message=what, signal=9)))

    def kill(self, key: AttemptKey) -> None:
        """End the attempt now."""
        attempt = self._live.get(key)
        if attempt is not None and not attempt.killed:
            attempt.killed = True
            error = ErrorInfo(kind="WorkerDiedError", message="The trial's process was killed by perdure.", signal=9)
            self._schedule(0, attempt, Lost(error=error))

    def poll(self, timeout: float) -> list[ExecutorEvent]:
        """Return what happens next, all that happens at that instant, and move the clock there.

        If nothing happens within `timeout` seconds of virtual time, the clock moves by that much.
        """
        until = self._now + timeout
        agenda = self._agenda
        while agenda:
            instant = agenda[0][0]
            if agenda[0][2].over:
                heapq.heappop(agenda)
                continue
            if instant > until:
                break
            self._now = instant
            events: list[ExecutorEvent] = []
            while agenda and agenda[0][0] <= instant:
                _, _, attempt, message = heapq.heappop(agenda)
                if attempt.over:
                    continue
                if message is None:
                    self._go_on(attempt)
                else:
                    self._deliver(attempt, message, events)
            if events:
                return events
        if until != float("inf"):
            self._now = until
        return []

    def wake(self) -> None:
        """Do nothing: no poll ever waits."""

    def close(self) -> None:
        """Forget everything."""
        self._agenda.clear()
        self._live.clear()

    # --- the attempts -----------------------------------------------------------------------------------------------

    def _schedule(self, after: float, attempt: _Attempt, message: FromWorker | None) -> None:
        heapq.heappush(self._agenda, (self._now + after, next(self._order), attempt, message))

    def _deliver(self, attempt: _Attempt, message: FromWorker, events: list[ExecutorEvent]) -> None:
        kind = type(message)
        if kind is Report or kind is Saved:
            if attempt.killed:
                return
            attempt.asking = True
        elif kind is Ended or kind is Lost:
            attempt.over = True
            del self._live[attempt.key]
        else:
            self._schedule(0, attempt, None)  # it needs no answer
        events.append((attempt.key, message))

    def _go_on(self, attempt: _Attempt) -> None:
        """Draw the attempt's next step, and note when it will have been taken."""
        if attempt.steps is None:
            assignment = attempt.assignment
            attempt.steps = iter(self._script(assignment.config, assignment))
        step = next(attempt.steps, None)
        if type(step) is tuple:
            self._report(attempt, step[0], step[1], checkpoint=False, nbytes=0)
        elif type(step) is Step:
            self._report(attempt, step.seconds, step.metrics, checkpoint=step.checkpoint, nbytes=step.nbytes)
        elif step is None:
            self._end(attempt, Outcome.FINISHED)
        else:
            self._stumble(attempt, step)

    def _stumble(self, attempt: _Attempt, step: ScriptStep) -> None:
        if isinstance(step, Fail):
            error = ErrorInfo(kind="ScriptedError", message=step.message, traceback=f"ScriptedError: {step.message}\n")
            self._schedule(step.seconds, attempt, Ended(outcome=Outcome.FAILED, error=error))
        elif isinstance(step, Die):
            code = None if step.signal is not None else step.exit_code
            self._schedule(step.seconds, attempt, Lost(error=death(code, step.signal)))
        elif isinstance(step, Reject):
            error = ErrorInfo(kind="CheckpointCorruptError", message=step.message)
            ended = Ended(outcome=Outcome.REJECTED, error=error, rejected=True)
            self._schedule(step.seconds, attempt, ended)
        elif isinstance(step, Say):
            self._schedule(0, attempt, Notice(text=step.text))
        elif not isinstance(step, Hang):
            raise ConfigurationError(f"The script of trial {attempt.key.trial} yielded {step!r}, which is no step.")

    def _report(self, attempt: _Attempt, seconds: float, metrics: Data, *, checkpoint: bool, nbytes: int) -> None:
        attempt.iteration += 1
        attempt.time_total_s += seconds
        attempt.time_since_restore_s += seconds
        frequency = attempt.assignment.checkpoint_frequency
        info = None
        if checkpoint or (frequency and attempt.iteration % frequency == 0):
            info = attempt.save(metrics, nbytes)
        attempt.metrics = metrics
        done = metrics.get("done") is True
        attempt.done = done
        message = Report(
            iteration=attempt.iteration,
            metrics=metrics,
            time_this_iter_s=seconds,
            time_total_s=attempt.time_total_s,
            time_since_restore_s=attempt.time_since_restore_s,
            checkpoint=info,
            at=self._epoch + self._now + seconds,
            done=done,
        )
        heapq.heappush(self._agenda, (self._now + seconds, next(self._order), attempt, message))

    def _heed(self, attempt: _Attempt, verdict: Verdict) -> None:
        """Do what a verdict other than a plain "continue" asks for."""
        decision = attempt.decision = attempt.decision or _unless_continue(verdict.decision)
        ends = decision is not None or attempt.done or attempt.stopping
        wanted = verdict.save or decision is Decision.PAUSE or (ends and attempt.assignment.checkpoint_at_end)
        if wanted and not verdict.replaced and self._saves and attempt.saved_iteration != attempt.iteration:
            self._schedule(0, attempt, Saved(checkpoint=attempt.save(attempt.metrics, 0)))
        elif attempt.done:
            self._end(attempt, Outcome.FINISHED)
        elif decision is not None:
            self._end(attempt, Outcome.STOPPED if decision is Decision.STOP else Outcome.PAUSED)
        elif attempt.stopping:
            self._end(attempt, Outcome.INTERRUPTED)
        else:
            self._go_on(attempt)

    def _end(self, attempt: _Attempt, outcome: Outcome) -> None:
        self._schedule(0, attempt, Ended(outcome=outcome))


class _Attempt:
    __slots__ = (
        "asking",
        "assignment",
        "decision",
        "done",
        "iteration",
        "key",
        "killed",
        "metrics",
        "next_checkpoint",
        "over",
        "saved_iteration",
        "steps",
        "stopping",
        "time_since_restore_s",
        "time_total_s",
    )

    def __init__(self, key: AttemptKey, assignment: Assignment) -> None:
        self.key = key
        self.assignment = assignment
        self.steps: Iterator[ScriptStep] | None = None
        self.iteration = assignment.iteration
        self.next_checkpoint = assignment.next_checkpoint
        self.saved_iteration = -1
        self.time_total_s = assignment.time_total_s
        self.time_since_restore_s = 0.0
        self.metrics: Data = {}
        self.decision: Decision | None = None
        self.asking = self.stopping = self.killed = self.done = self.over = False

    def save(self, metrics: Data, nbytes: int) -> CheckpointInfo:
        """Return what would be known of a checkpoint saved now; there are no bytes."""
        number = self.next_checkpoint
        self.next_checkpoint += 1
        self.saved_iteration = self.iteration
        score = metrics.get(self.assignment.score_attribute or "")
        return CheckpointInfo(
            number=number,
            directory=f"checkpoint_{number:06d}",
            attempt=self.assignment.attempt,
            segment=self.assignment.segment,
            iteration=self.iteration,
            time_total_s=self.time_total_s,
            nbytes=nbytes,
            boot_id=self.assignment.boot_id,
            score=float(score) if isinstance(score, (int, float)) else None,
        )


def _unless_continue(decision: Decision) -> Decision | None:
    return None if decision is Decision.CONTINUE else decision
