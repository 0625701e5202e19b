"""Runs attempts in the driver's own process and thread, one at a time: breakpoints work, and nothing is hidden.

The caller's loop and the user's code take turns on one stack: `poll` calls the user's code, the user's `report`
calls one turn of the loop until that turn has answered it. So an attempt's answer may take several turns, and a
turn inside an attempt only carries messages.
"""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from perdure.core.events import ErrorInfo, Outcome
from perdure.errors import InternalError
from perdure.executors import machine
from perdure.executors.base import ExecutorEvent, Program, Resources
from perdure.trainable.channel import DriverGone, flush_output
from perdure.trainable.messages import Asked, Assignment, AttemptKey, Ended, FromWorker, Lost, Report, Saved, Verdict

if TYPE_CHECKING:
    from perdure.trainable.stepping import KeptInstance

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InlineExecutor:
    """Runs attempts here, one after the other. For debugging: a trial that kills its process kills the driver."""

    in_process = True
    """What trials print and ask goes straight to the driver's own terminal, which no live table may take."""

    def __init__(self) -> None:
        self._program: Program | None = None
        self._turn: Callable[[], None] | None = None
        self._waiting: collections.deque[Assignment] = collections.deque()
        self._active: _InlineChannel | None = None
        self._events: list[ExecutorEvent] = []
        self._bell = threading.Event()
        self._loaded: list[object] = []
        self._kept: KeptInstance | None = None

    def capacity(self) -> Resources:
        """What this machine has; still, one attempt runs at a time and the others wait for it."""
        return {
            "CPU": float(machine.cpu_count()),
            "GPU": float(len(self.devices())),
            "memory": float(machine.memory_bytes()),
        }

    def devices(self) -> Sequence[str]:
        """GPU ids, as CUDA_VISIBLE_DEVICES spells them."""
        return machine.gpu_ids()

    def setup(self, program: Program, *, turn: Callable[[], None]) -> None:
        """Remember what to run. It is loaded by the first attempt."""
        self._program, self._turn = program, turn

    def start(self, assignment: Assignment) -> None:
        """Have the attempt run in a later `poll`."""
        key = AttemptKey(assignment.trial, assignment.attempt)
        if self._finds(key) is not None or (self._active is not None and self._active.key == key):
            raise InternalError(f"Attempt {key.attempt} of trial {key.trial} was started twice.")
        self._waiting.append(assignment)

    def reply(self, key: AttemptKey, verdict: Verdict) -> None:
        """Answer the attempt's outstanding message. A no-op for an attempt that is over."""
        if self._active is not None and self._active.key == key:
            self._active.verdict = verdict

    def stop(self, key: AttemptKey, *, grace_s: float) -> None:
        """Have the attempt end at its next report; code that never reports cannot be ended from within."""
        waiting = self._finds(key)
        if waiting is not None:
            self._waiting.remove(waiting)
            self._events.append((key, Ended(outcome=Outcome.INTERRUPTED)))
        elif self._active is not None and self._active.key == key:
            self._active.stopping = True

    def kill(self, key: AttemptKey) -> None:
        """Unwind the attempt's code at its next report, with an exception that it should not catch."""
        waiting = self._finds(key)
        error = ErrorInfo(kind="WorkerDiedError", message="The trial was ended by perdure.")
        if waiting is not None:
            self._waiting.remove(waiting)
            self._events.append((key, Lost(error=error)))
        elif self._active is not None and self._active.key == key:
            self._active.killed = error

    def poll(self, timeout: float) -> list[ExecutorEvent]:
        """Return what has happened; run the next attempt, to its end, if none is running."""
        if self._active is None and self._waiting and not self._events:
            self._run(self._waiting.popleft())
        elif not self._events:
            self._bell.wait(timeout)
        self._bell.clear()
        events, self._events = self._events, []
        return events

    def wake(self) -> None:
        """Make a `poll` that is waiting return at once."""
        self._bell.set()

    def close(self) -> None:
        """Forget what has not run yet; an attempt that runs is unwound at its next report."""
        self._waiting.clear()
        if self._active is not None:
            self._active.killed = ErrorInfo(kind="WorkerDiedError", message="The driver closed.")
        if self._kept is not None:
            self._kept.close()

    def _say(self, key: AttemptKey, message: FromWorker) -> None:
        self._events.append((key, message))

    def _finds(self, key: AttemptKey) -> Assignment | None:
        return next((one for one in self._waiting if (one.trial, one.attempt) == key), None)

    def _run(self, assignment: Assignment) -> None:
        assert self._program is not None, "setup() comes before poll()"
        assert self._turn is not None
        key = AttemptKey(assignment.trial, assignment.attempt)
        channel = self._active = _InlineChannel(key, self._say, self._turn)
        try:
            with _as_before():
                self._attempt(assignment, channel, self._program)
        except _Unwound:
            pass
        finally:
            self._active = None
            self._events.append((key, channel.last_word()))
        if channel.failure is not None:
            raise channel.failure

    def _attempt(self, assignment: Assignment, channel: _InlineChannel, program: Program) -> None:
        from perdure.trainable.failure import describe
        from perdure.trainable.stepping import KeptInstance
        from perdure.trainable.worker import run_attempt

        try:
            trainable = self._load(program)
        except Exception as error:
            channel.send(Ended(outcome=Outcome.FAILED, error=describe(error)))
            return
        if program.reuse and self._kept is None:
            self._kept = KeptInstance()
        run_attempt(assignment, channel, trainable, kept=self._kept)

    def _load(self, program: Program) -> object:
        from perdure.trainable.base import load_trainable

        if not self._loaded:
            self._loaded.append(load_trainable(program.trainable))
        return self._loaded[0]


class _InlineChannel:
    """An attempt's way to the loop that is waiting further up the same stack."""

    def __init__(
        self, key: AttemptKey, say: Callable[[AttemptKey, FromWorker], None], turn: Callable[[], None]
    ) -> None:
        self.key = key
        self.verdict: Verdict | None = None
        self.killed: ErrorInfo | None = None
        self.stopping = False
        self.failure: BaseException | None = None
        """What a turn of the loop raised. It is not the user's, so it passes their code by and is raised in `poll`."""
        self._ended: Ended | None = None
        self._say = say
        self._turn = turn

    def send(self, message: FromWorker) -> None:
        """Leave a message for the next turn; the last word waits until everything is as it was before."""
        if isinstance(message, Ended):
            flush_output()
            self._ended = message
        else:
            self._say(self.key, message)

    def ask(self, message: Report | Saved | Asked, meanwhile: Callable[[], None] | None = None) -> Verdict:
        """Leave a message, and turn the loop until it is answered: there is no time for anything `meanwhile`."""
        self.verdict = None
        self._say(self.key, message)
        while (verdict := self._answer()) is None:
            self._turn_once()
        return verdict

    def last_word(self) -> Ended | Lost:
        """Return how the attempt ended."""
        if self.killed is not None:
            return Lost(error=self.killed)
        if self._ended is not None and self.failure is None:
            return self._ended
        return Lost(error=ErrorInfo(kind="WorkerDiedError", message="The trial was unwound by an error of the driver."))

    def _answer(self) -> Verdict | None:
        if self.killed is not None or self.failure is not None:
            raise _Unwound
        return self.verdict

    def _turn_once(self) -> None:
        try:
            self._turn()
        except BaseException as failure:
            self.failure = failure
            raise _Unwound from None


class _Unwound(DriverGone):
    """Passes through the user's code, which has nobody left to report to."""


@contextlib.contextmanager
def _as_before() -> Iterator[None]:
    """Put the working directory, the environment and the signal handlers back, whatever user code did to them."""
    directory, environment = os.getcwd(), dict(os.environ)
    main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in _SIGNALS} if main else {}
    try:
        yield
    finally:
        os.chdir(directory)
        if dict(os.environ) != environment:
            os.environ.clear()
            os.environ.update(environment)
        for number, handler in handlers.items():
            if handler is not None:
                signal.signal(number, handler)
