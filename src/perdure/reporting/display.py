"""What all displays of events have in common: a tally behind a lock, a painter, and lines waiting to be shown."""

from __future__ import annotations

import abc
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from perdure.core.events import AnyEvent
from perdure.core.state import State
from perdure.reporting.base import RunInfo, TableOptions
from perdure.reporting.news import News
from perdure.reporting.painter import Painter
from perdure.reporting.snapshot import Snapshot
from perdure.reporting.tally import KEPT, Tally

logger = logging.getLogger(__name__)

_GAVE_UP = "The progress display failed and was switched off; the run goes on."
_OUTPUT_KEPT = 5000
"""Lines of trials' output that wait to be shown; older ones are dropped and counted."""


class TallyDisplay(abc.ABC):
    """A display that folds events into a tally and paints the tally now and then.

    Args:
        verbose: 1 shows the state of things, 2 and more also every result, end, pause and going on of a trial.
        options: How tables are cut to size.
        monotonic: The clock, in seconds.
        threaded: Paint on a thread of its own; otherwise painting is done in `tick`.
    """

    interval_s = 0.25
    wants_output = True
    wants_labels = False

    def __init__(
        self,
        *,
        verbose: int = 1,
        options: TableOptions | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        threaded: bool = True,
    ) -> None:
        self.verbose = verbose
        self.options = options or TableOptions()
        self.info = RunInfo(name="", path="")
        self.reason = ""
        self._monotonic = monotonic
        self._threaded = threaded
        self._lock = threading.Lock()
        self._tally = Tally()
        self._history: Iterable[AnyEvent] = ()
        self._printed: deque[tuple[str, str]] = deque(maxlen=_OUTPUT_KEPT)
        self._printed_in_all = 0
        self._painter: Painter | None = None
        self._broken = False
        self._closed = False
        self._over = False
        self._due = 0.0
        self._began = 0.0
        self._news_seen = 0
        self._printed_seen = 0

    # --- called by whoever runs the experiment ----------------------------------------------------------------------

    def start(self, info: RunInfo, history: Iterable[AnyEvent] = (), state: State | None = None) -> None:
        """Begin. With `state`, that is read instead of folded anew: it must be past the events when they come.

        `history` is gone through on the painter's thread, so it may be read from the disk as it is asked for.
        """
        self.info = info
        self._began = self._monotonic() - info.began_s_ago
        self._tally = self._new_tally(state, tell_rows=self.verbose >= 2)
        self._history = history
        if self._threaded:
            self._painter = Painter(self._paint, interval_s=self.interval_s)
            self._painter.start()
        else:
            self._guard(lambda: self._paint(False))

    def observe(self, events: Sequence[AnyEvent]) -> None:
        """Count `events`."""
        if self._broken:
            return
        try:
            with self._lock:
                self._tally.fold(events)
                self._take(events)
        except Exception:
            self._broken = True
            logger.warning(_GAVE_UP, exc_info=True)

    def tick(self, now: float) -> None:
        """Paint, where there is no thread for it and it is time to."""
        if not self._threaded and now >= self._due:
            self._due = now + self.interval_s
            self._guard(lambda: self._paint(False))

    def output(self, trial: str, line: str) -> None:
        """Keep a line that a trial printed until it is shown."""
        with self._lock:
            self._printed.append((trial, line))
            self._printed_in_all += 1

    def warn(self, text: str) -> None:
        """Show what is wrong with a logger, line by line."""
        for line in text.splitlines():
            self.output("loggers", line)

    def close(self, reason: str = "") -> None:
        """Show the outcome. A second call does nothing."""
        if self._closed:
            return
        self._closed = self._over = True
        self.reason = reason
        if self._painter is not None:
            self._painter.close()
        else:
            self._guard(lambda: self._paint(True))

    def leave(self) -> None:
        """End without a word about the outcome: who is watched goes on."""
        self._closed = True

    # --- for those that paint ---------------------------------------------------------------------------------------

    @abc.abstractmethod
    def paint(self, news: list[News], printed: list[tuple[str, str]], *, last: bool) -> None:
        """Show what is new, and how things stand."""

    def _new_tally(self, state: State | None, *, tell_rows: bool) -> Tally:
        return Tally(
            metric=self.options.metric or self.info.metric,
            mode=self.options.mode or self.info.mode,
            total=self.options.total if self.options.total is not None else self.info.total,
            state=state,
            tell_rows=tell_rows,
            kept=max(KEPT, self.options.max_rows, self.options.max_error_rows),
        )

    def _read_history(self) -> None:
        """Count what earlier sessions did, on the painter's time: the first trials do not wait for it."""
        history, self._history = self._history, ()
        earlier = self._new_tally(None, tell_rows=False)
        for event in history:
            earlier.fold((event,))
            self._take_earlier(event)
        with self._lock:
            self._tally.adopt(earlier)

    def _take_earlier(self, event: AnyEvent) -> None:
        """Take in an event of an earlier session besides the tally."""
        return

    def _take(self, events: Iterable[AnyEvent]) -> None:
        """Take in events besides the tally, under its lock."""
        return

    def snapshot(self) -> Snapshot:
        """Return how things stand."""
        with self._lock:
            return self._tally.snapshot(over=self._over)

    @property
    def elapsed_s(self) -> float:
        """Running time, over all sessions."""
        return self.info.ran_before_s + self._monotonic() - self._began

    @property
    def session_s(self) -> float:
        """Running time of this session."""
        return self._monotonic() - self._began

    def lost(self) -> tuple[int, int]:
        """Return how many news and output lines were dropped, in all, before they could be shown."""
        return self._news_lost, self._printed_lost

    _news_lost = 0
    _printed_lost = 0

    def _paint(self, last: bool) -> None:
        if self._history:
            self._read_history()
        with self._lock:
            tally = self._tally
            news, printed = list(tally.news), list(self._printed)
            tally.news.clear()
            self._printed.clear()
            self._news_lost += tally.told - self._news_seen - len(news)
            self._printed_lost += self._printed_in_all - self._printed_seen - len(printed)
            self._news_seen, self._printed_seen = tally.told, self._printed_in_all
            named = [(tally.name_of(trial), line) for trial, line in printed]
        self.paint(news, named, last=last)

    def _guard(self, act: Callable[[], None]) -> None:
        if self._broken:
            return
        try:
            act()
        except Exception:
            self._broken = True
            logger.warning(_GAVE_UP, exc_info=True)
