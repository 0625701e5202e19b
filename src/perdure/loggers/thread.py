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
from functools import partial
from typing import Literal

from perdure.core.events import AnyEvent
from perdure.errors import PerdureError
from perdure.journal.base import JournalReader
from perdure.loggers.apart import FollowerGoneError, FollowerProcess
from perdure.loggers.base import FileLogger, LoggerCallback
from perdure.loggers.follower import PORTION, SLICE_S, WATERMARK_FILE, Follower, ObjectLoader
from perdure.loggers.replay import are_ours
from perdure.storage.faults import fault_point

INTERVAL_S = 0.2
"""Seconds between looks at the journal."""
STUCK_S = 60.0
"""Seconds for which a logger may be in one hook before a person is told."""
BUSY = 300
"""Records found at one look for which the follower leaves the driver's interpreter."""

_log = logging.getLogger(__name__)


class _Left(BaseException):
    """Raised on the thread where its loggers are to do nothing more."""


class LoggerFollower:
    """Runs a `Follower` on a daemon thread. Nothing of it blocks the caller but `drain` and `close`.

    Args:
        path: The experiment's directory.
        reader: Reads its journal; used by the thread only.
        loggers: Whom to tell.
        on_problem: Given a text for the first error of each logger, on the thread, and what to do about it.
        load_objects: See `Follower`. Loggers of perdure's own show reprs, wherever they run.
        interval_s: Seconds between looks at the journal.
        is_lost: Whether another driver has taken over: then the files are that one's, and are left alone.
        busy: Records at one look for which it moves into a process of its own, if all loggers are perdure's; None: it
            stays.
        fresh: The experiment begins with this session: there are no files yet, and what the first look finds counts.
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
        busy: float | None = None,
        fresh: bool = False,
        watermark: str = WATERMARK_FILE,
        keeps_errors: bool = True,
    ) -> None:
        whom = "" if all(isinstance(logger, FileLogger) for logger in loggers) else " --logger MODULE:NAME"
        self._replay = f"perdure replay-loggers {os.fspath(path)}{whom}"
        self._names = ", ".join(dict.fromkeys(type(logger).__name__ for logger in loggers))
        self._kinds = [type(logger) for logger in loggers]
        ours = are_ours(loggers)
        self._on_problem = on_problem if on_problem is not None else _log.warning
        self._is_lost = is_lost
        self._busy = busy if ours and busy is not None else math.inf
        self._portion = int(max(1, min(PORTION, self._busy)))  # so that it moves before it has told all there is
        self._make_here = partial(
            Follower,
            path,
            reader,
            on_problem=self._report,
            load_objects=None if ours else load_objects,
            pause=self._nap,
            portion=self._portion,
            watermark=watermark,
            keeps_errors=keeps_errors,
        )
        self._make_away = partial(
            FollowerProcess, path, self._kinds, on_problem=self._report, watermark=watermark, keeps_errors=keeps_errors
        )
        self._follower: Follower | FollowerProcess = self._make_here(loggers, exact=fresh)
        """What runs on this thread, or the process that it has moved into."""
        self._fresh = fresh
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
        telling = self._follower.telling
        if telling is None:
            return
        hook, since = telling
        if hook not in self._stuck and time.monotonic() - since > STUCK_S:  # not `now`, which may be simulated
            self._stuck.add(hook)
            self._on_problem(
                f"A logger has not returned for {STUCK_S:g} s ({hook}). Trials go on, and it is told the rest when it "
                f"does. If it never does: {self._replay}"
            )

    def hasten(self) -> None:
        """Have the loggers told all that is written by now, without waiting for it."""
        self._hurry = True
        self._event.set()

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
        follower = self._follower
        if isinstance(follower, FollowerProcess):
            follower.kill()
        self._on_problem(
            f"The loggers ({self._names}) did not end within {timeout_s:g} s and were left behind. The results are "
            f"whole. To tell a logger what it missed: {self._replay}"
        )
        return False

    def _report(self, text: str) -> None:
        self._on_problem(f"{text.rstrip()}\nTrials go on. To tell a logger what it missed: {self._replay}")

    # --- on the thread

    def _run(self) -> None:
        try:
            if self._fresh:
                self._have("follow")
                self._caught_up = True
            while not self._closing:
                self._event.wait(self._interval_s)
                self._event.clear()
                self._turn()
            self._turn()
            fault_point("loggers.ending")
            self._have("end_experiment")
            self._have("close")
            fault_point("loggers.closed")
        except _Left:
            pass
        except (PerdureError, OSError) as error:  # what happened to the files, not where in here it was noticed
            self._on_problem(f"The loggers have stopped; trials go on. {error}")
        except BaseException:  # the thread's end is not the experiment's
            self._on_problem(f"The loggers have stopped; trials go on.\n{traceback.format_exc()}")
        finally:
            with self._drained:
                self._done = self._wanted
                self._drained.notify_all()
            if isinstance(self._follower, FollowerProcess):
                self._follower.end()

    def _turn(self) -> None:
        with self._drained:
            wanted = self._wanted
        if self._news or wanted != self._done:
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
            if self._caught_up and count >= self._busy and not self._closing:
                self._leave()
            self._caught_up = True
            more = count >= self._portion

    def _have(self, act: Literal["follow", "flush", "end_experiment", "close"]) -> int:
        """Have the follower do something, where it is; here, if it has lost its process."""
        self._check()
        try:
            return getattr(self._follower, act)() or 0
        except FollowerGoneError as gone:
            self._check()
            self._on_problem(f"The loggers' process is gone ({gone}); they go on in the driver, and miss nothing.")
        self._stay()
        return getattr(self._follower, act)() or 0

    def _check(self) -> None:
        """Go on only if somebody waits for the loggers, and no other driver keeps the files."""
        if self._abandoned or self._is_lost():
            raise _Left

    def _nap(self) -> None:
        self._check()
        if not self._hurry:
            time.sleep(SLICE_S)

    def _leave(self) -> None:
        """Move into a process, and have it catch up."""
        fault_point("loggers.leaving")
        closed = bool(self._have("close"))
        self._busy = math.inf
        self._check()  # that may have taken long
        try:
            self._follower = self._make_away(exact=closed)
        except OSError:
            self._stay()
        else:
            self._have("follow")
        fault_point("loggers.left")

    def _stay(self) -> None:
        """Go on here as the next session would, and do not move again."""
        self._busy = math.inf  # the loggers are others, too: what those before could not write, they hold still
        self._follower = self._make_here([kind() for kind in self._kinds])
        self._follower.follow()
