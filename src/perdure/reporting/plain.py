"""The display for output that is no terminal: log files, CI, pipes. Few lines, each whole in itself."""

from __future__ import annotations

import shutil
import sys
from typing import TextIO

from perdure.reporting import sentences
from perdure.reporting.display import TallyDisplay
from perdure.reporting.formats import clock, number, one_line, plural, resources_text
from perdure.reporting.frame import Line, Span, build, counts_line, finished_text, grid_lines, text_of
from perdure.reporting.news import Asked, Ended, Failed, News, Paused, Row, Said, Stopping, WentOn
from perdure.reporting.stream import SafeStream

_LEAST_S = 1.0
"""Between two lines about trials that ended."""
_STATUS_S = 60.0


class PlainDisplay(TallyDisplay):
    """Writes a line when something happened, and one about how things stand every minute.

    Trials that end, or fail as one before them, within the same second share a line.
    """

    wants_output = False
    wants_labels = True

    def __init__(self, *, stream: TextIO | None = None, status_s: float | None = None, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]  # they are TallyDisplay's own
        self._stream = SafeStream(sys.stdout if stream is None else stream)
        interval = self.options.interval_s if status_s is None else status_s
        self._status_s = _STATUS_S if interval is None else interval
        self._status_due = self._status_s
        self._news_due = 0.0
        self._ended: list[Ended] = []
        self._repeated: list[Failed] = []
        self._introduced = False
        self._told_lost = (0, 0)

    def paint(self, news: list[News], printed: list[tuple[str, str]], *, last: bool) -> None:
        """Write what is new."""
        if not self._introduced:
            self._introduced = True
            self._write(sentences.started(self.info, self.options))
        for trial, line in printed:
            self._stream.write(f"({trial}) {one_line(line.rstrip())}\n")
        for item in news:
            self._tell(item)
        self._tell_lost()
        now = self.session_s
        if last or now >= self._news_due:
            self._tell_folded(now)
        if last:
            self._finish()
        elif now >= self._status_due:
            self._status_due = now + self._status_s
            self._write(self._status())
            if self.options.intermediate_tables:
                self._write_table()
        self._stream.flush()

    def _tell(self, item: News) -> None:
        match item:
            case Ended() if self.verbose >= 2:
                self._write(sentences.ended(item, self._metric))
            case Ended():
                self._ended.append(item)
            case Failed() if item.new:
                self._write(sentences.failed(item))
                for line in sentences.traceback_lines(item.error):
                    self._stream.write(text_of(line) + "\n")
            case Failed():
                self._repeated.append(item)
            case Said():
                self._write(sentences.said(item))
            case WentOn() | Paused() | Asked():
                self._write(sentences.turn(item))
            case Stopping():
                self._write(sentences.stopping(item))
            case Row():
                self._write(sentences.row(item, full=self.verbose >= 3))

    def _tell_lost(self) -> None:
        lost = self.lost()
        if lost != self._told_lost:
            count = sum(lost) - sum(self._told_lost)
            self._told_lost = lost
            self._write([Span(f"... {plural(count, 'line')} came faster than they could be shown")])

    def _tell_folded(self, now: float) -> None:
        if self._ended or self._repeated:
            self._news_due = now + _LEAST_S
        if len(self._ended) == 1:
            self._write(sentences.ended(self._ended[0], self._metric))
        elif self._ended:
            self._write([Span(self._finished_text())])
        if len(self._repeated) == 1:
            self._write(sentences.failed(self._repeated[0]))
        elif self._repeated:
            self._write([Span(f"{len(self._repeated)} more failures of kinds shown above")])
        self._ended, self._repeated = [], []

    def _finished_text(self) -> str:
        snapshot = self.snapshot()
        text, best = finished_text(snapshot), snapshot.best
        return text if best is None else f"{text}; best {self._metric} so far {number(best.value)} ({best.name})"

    @property
    def _metric(self) -> str | None:
        return self.options.metric or self.info.metric

    def _status(self) -> Line:
        snapshot = self.snapshot()
        used = resources_text(snapshot.used, snapshot.capacity or self.info.capacity)
        return sentences.status(snapshot, counts_line(snapshot), self._metric, used)

    def _finish(self) -> None:
        self._write_table()
        snapshot = self.snapshot()
        for line in sentences.same_failures(snapshot):
            self._stream.write(text_of(line) + "\n")
        lines = sentences.outcome(snapshot, self.info, self.options, session_s=self.session_s, reason=self.reason)
        for line in lines:
            self._stream.write(text_of(line) + "\n")

    def _write_table(self) -> None:
        width = shutil.get_terminal_size((120, 0)).columns
        frame = build(
            self.snapshot(), self.info, self.options, elapsed_s=self.elapsed_s, width=max(width, 80), final=True
        )
        lines = ["", *grid_lines(frame.grid), *(text_of(line) for line in frame.footer), ""]
        self._stream.write("".join(f"{line}\n" for line in lines))

    def _write(self, line: Line) -> None:
        self._stream.write(f"[{clock(self.elapsed_s)}] {text_of(line)}\n")
