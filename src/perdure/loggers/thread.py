"""A follower on a thread of the driver, which moves into a process of its own when there is much to log.

The thread shares the interpreter with the loop. A thread that computes without a pause costs a loop that wakes up for
every message up to 5 ms a time (CPython's switch interval), so the follower looks only a few times a second, works in
slices of half a millisecond and sleeps between them. That is enough for most experiments, and costs nothing. Where
a look finds much, the files are closed and a process goes on from there (see `apart`); and should that process be
killed, the thread goes on as the next session would.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from perdure.core.events import AnyEvent
from perdure.journal.base import JournalReader
from perdure.loggers.base import FileLogger, LoggerCallback
from perdure.loggers.follower import PORTION, SLICE_S, WATERMARK_FILE, Follower, FollowerGoneError, ObjectLoader
from perdure.storage.faults import fault_point

if TYPE_CHECKING:
    from perdure.loggers.apart import FollowerProcess

INTERVAL_S = 0.2
"""Seconds between looks at the journal."""
STUCK_S = 60.0
"""Seconds for which a logger may be in one hook before a person is told."""
BUSY = 300
"""Records found at one look for which the follower leaves the driver's interpreter."""

_log = logging.getLogger(__name__)


class _Abandoned(BaseException):
    """Raised on the thread of loggers that were left behind, when they come back."""


class LoggerFollower:
    """Runs a `Follower` on a daemon thread. Nothing of it blocks the caller but `drain` and `close`.

    Args:
        path: The experiment's directory.
        reader: Reads its journal; used by the thread only.
        loggers: Whom to tell.
        on_problem: Given a text for the first error of each logger, on the thread, and what to do about it.
        load_objects: See `Follower`.
        interval_s: Seconds between looks at the journal.
        is_lost: Whether another driver has taken over: then the files are that one's, and are left alone.
        busy: Records at one look for which it moves into a process of its own; None: it stays.
        watermark, keeps_errors: See `Follower`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        reader: JournalReader,
        loggers: Sequence[LoggerCallback],
        *,
        on_problem: Callable[[str], None] | None = None,
        load_objects: ObjectLoader | None = None,
        interval_s: float = INTERVAL_S,
        is_lost: Callable[[], bool] = lambda: False,
        busy: int | None = None,
        watermark: str = WATERMARK_FILE,
        keeps_errors: bool = True,
    ) -> None:
        self._is_lost = is_lost
        self._path = os.fspath(path)
        whom = "" if all(isinstance(logger, FileLogger) for logger in loggers) else " --logger MODULE:NAME"
        self._replay = f"perdure replay-loggers {self._path}{whom}"
        self._reader = reader
        self._loggers = loggers
        self._load_objects = load_objects
        self._watermark = watermark
        self._keeps_errors = keeps_errors
        self._busy = math.inf if busy is None else busy
        self._names = ", ".join(dict.fromkeys(type(logger).__name__ for logger in loggers))
        self._on_problem = on_problem if on_problem is not None else _log.warning
        self._here: Follower | None = self._make_here()
        self._process: FollowerProcess | None = None
        """One of the two is there: what runs on this thread, or the process that it has moved into."""
        self._caught_up = False
        """Whether what sessions before this one have left was made up for, which is done once and may be much."""
        self._interval_s = interval_s
        self._stuck: set[str] = set()
        """Hooks that it was said of that they do not return."""
        self._news = True
        self._hurry = False
        self._closing = False
        self._abandoned = False
        self._wanted = 0
        self._done = 0
        self._event = threading.Event()
        self._drained = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="perdure-loggers", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Say that the journal has grown. Costs nothing: the thread looks a few times a second, if there is news."""
        self._news = True

    def observe(self, events: Sequence[AnyEvent]) -> None:
        """Say that the journal has grown (the runner's observer port)."""
        self._news = True

    def tick(self, now: float) -> None:
        """Say of a logger that has not returned for long, once (the runner's observer port)."""
        telling = None if self._here is None else self._here.telling
        if telling is None:
            return
        hook, since = telling
        if hook not in self._stuck and time.monotonic() - since > STUCK_S:  # not `now`, which may be simulated
            self._stuck.add(hook)
            self._on_problem(
                f"A logger has not returned for {STUCK_S:g} s ({hook}). Trials go on, and it is told the rest when it "
                f"does. If it never does: {self._replay}"
            )

    def drain(self, timeout_s: float | None = None) -> bool:
        """Wait until the loggers know all that has been written by now; False if that took too long."""
        if not self._thread.is_alive():
            return False
        with self._drained:
            self._wanted += 1
            wanted = self._wanted
            self._hurry = True
            self._event.set()
            return self._drained.wait_for(lambda: self._done >= wanted or not self._thread.is_alive(), timeout_s)

    def close(self, timeout_s: float | None = 60.0) -> bool:
        """Tell the loggers the rest, end them, and stop the thread; False if that took too long.

        Then they are left to themselves, which is reported: they are told nothing more, and what they missed can be
        replayed.
        """
        self._hurry = True
        self._closing = True
        self._event.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        if not self._thread.is_alive():
            return True
        self._abandoned = True
        if self._process is not None:
            self._process.kill()
        self._on_problem(
            f"The loggers ({self._names}) did not end within {timeout_s:g} s and were left behind. The results are "
            f"whole. To tell a logger what it missed: {self._replay}"
        )
        return False

    def _report(self, text: str) -> None:
        self._on_problem(f"{text.rstrip()}\nTrials go on. To tell a logger what it missed: {self._replay}")

    def _nap(self) -> None:
        if self._abandoned:
            raise _Abandoned
        if not self._hurry:
            time.sleep(SLICE_S)

    def _run(self) -> None:
        try:
            while not self._closing:
                self._event.wait(self._interval_s)
                self._event.clear()
                self._turn()
            self._turn()
            fault_point("loggers.ending")
            if not (self._is_lost() or self._abandoned):
                self._have("end_experiment")
                self._have("close")
            fault_point("loggers.closed")
        except _Abandoned:  # it was blocked, and said so; nobody waits for it any more
            return
        except BaseException:  # the thread's end is not the experiment's
            self._on_problem(f"The loggers have stopped; trials go on.\n{traceback.format_exc()}")
        finally:
            if self._process is not None:
                self._process.end()
            with self._drained:
                self._done = self._wanted
                self._drained.notify_all()

    def _turn(self) -> None:
        with self._drained:
            wanted = self._wanted
        if (self._news or wanted != self._done) and not (self._is_lost() or self._abandoned):
            self._news = False
            fault_point("loggers.begin")
            self._follow()
            fault_point("loggers.told")
            self._have("flush")
            fault_point("loggers.done")
        if wanted != self._done:
            with self._drained:
                self._done = wanted
                self._hurry = self._closing
                self._drained.notify_all()

    def _follow(self) -> None:
        """Tell the loggers all that is there, and move into a process where that is much."""
        more = True
        while more:
            count = self._have("follow")
            if self._caught_up and count >= self._busy and self._process is None and not self._closing:
                self._leave()
            self._caught_up = True
            more = count >= PORTION

    def _have(self, act: Literal["follow", "flush", "end_experiment", "close"]) -> int:
        """Have the follower do something, where it is; here, if it has lost its process."""
        if self._process is not None:
            try:
                return getattr(self._process, act)() or 0
            except FollowerGoneError as gone:
                if self._abandoned:
                    raise _Abandoned from gone
                self._on_problem(f"The loggers' process is gone ({gone}); they go on in the driver, and miss nothing.")
            self._process, self._here, self._busy = None, self._make_here(), math.inf
            self._here.follow()
        assert self._here is not None
        return getattr(self._here, act)() or 0

    def _make_here(self) -> Follower:
        return Follower(
            self._path,
            self._reader,
            self._loggers,
            on_problem=self._report,
            load_objects=self._load_objects,
            pause=self._nap,
            watermark=self._watermark,
            keeps_errors=self._keeps_errors,
        )

    def _leave(self) -> None:
        """Move into a process, if the loggers can do without this one."""
        from perdure.loggers.apart import FollowerProcess, can_leave

        here = self._here
        if here is None or here.has_objects or not can_leave(self._loggers):
            self._busy = math.inf
            return
        fault_point("loggers.leaving")
        closed = here.close()
        try:
            self._process = FollowerProcess(
                self._path,
                self._loggers,
                on_problem=self._report,
                watermark=self._watermark,
                keeps_errors=self._keeps_errors,
                exact=closed,
            )
            self._here = None
        except OSError:
            self._here, self._busy = self._make_here(), math.inf
        fault_point("loggers.left")
