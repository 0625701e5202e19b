"""The display for a terminal: one table, redrawn in place, with news and trials' output scrolling above it.

rich is loaded on the painter's thread, so that the first trial does not wait for it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from perdure.reporting import sentences
from perdure.reporting.display import TallyDisplay
from perdure.reporting.frame import Frame, Line, Span, build
from perdure.reporting.news import Asked, Ended, Failed, News, Paused, Row, Said, WentOn
from perdure.reporting.stream import SafeStream

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

_SHOWN_AT_ONCE = 200
"""Lines above the table in one redraw; a terminal takes no more without falling behind."""


class LiveDisplay(TallyDisplay):
    """Redraws a table in place, at most four times a second."""

    def __init__(self, *, stream: TextIO | None = None, console: Console | None = None, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]  # they are TallyDisplay's own
        self._stream = SafeStream(sys.stdout if stream is None else stream)
        self._is_stdout = stream is None or stream is sys.stdout
        self._console = console
        self._live: Live | None = None

    def paint(self, news: list[News], printed: list[tuple[str, str]], *, last: bool) -> None:
        """Print what is new above the table, and redraw the table."""
        from perdure.reporting import console as drawn

        above: list[RenderableType] = []
        live = self._live
        if live is None:
            live = self._open()
            if self.info.standing is not None:
                above.append(drawn.paragraph(sentences.started(self.info, self.options)))
        above += [drawn.printed_line(trial, line) for trial, line in printed[-_SHOWN_AT_ONCE:]]
        hidden = max(len(printed) - _SHOWN_AT_ONCE, 0)
        told = [(item, lines) for item in news if (lines := self._lines_about(item))]
        recent = len(told) - _SHOWN_AT_ONCE
        for place, (item, lines) in enumerate(told):
            if place >= recent or (isinstance(item, Failed) and item.new):  # a new way to fail is always told
                above += [drawn.paragraph(line) for line in lines]
            else:
                hidden += 1
        if hidden:
            above.append(drawn.paragraph([Span(f"... {hidden} lines came faster than they can be shown", "dim")]))
        console = live.console
        if above:
            console.print(*above, sep="\n")
        live.update(drawn.drawing(self._frame(console, last=last), ascii_only=drawn.is_ascii(console)), refresh=True)
        if last:
            live.stop()
            self._finish(console)

    def leave(self) -> None:
        """Let the last table stand, and give the terminal back."""
        super().leave()
        if self._live is not None:
            self._live.stop()

    def _open(self) -> Live:
        from rich.live import Live

        from perdure.reporting.console import console_on

        console = self._console or console_on(self._stream)
        self._live = Live(
            console=console,
            auto_refresh=False,
            redirect_stdout=self._is_stdout,
            redirect_stderr=self._is_stdout,
            vertical_overflow="crop",
        )
        self._live.start()
        return self._live

    def _frame(self, console: Console, *, last: bool) -> Frame:
        return build(
            self.snapshot(),
            self.info,
            self.options,
            elapsed_s=self.elapsed_s,
            width=console.width,
            height=None if last else console.height,
            final=last,
        )

    def _lines_about(self, item: News) -> list[Line]:
        match item:
            case Failed() if item.new and item.error.traceback:
                return [sentences.failed(item), *sentences.traceback_lines(item.error)]
            case Failed() if item.new or self.verbose >= 2:
                return [sentences.failed(item)]
            case Ended() if self.verbose >= 2:
                return [sentences.ended(item, self.options.metric or self.info.metric)]
            case Said():
                return [sentences.said(item)]
            case WentOn() | Paused() | Asked():
                return [sentences.turn(item)]
            case Row():
                return [sentences.row(item, full=self.verbose >= 3)]
        return []

    def _finish(self, console: Console) -> None:
        from perdure.reporting.console import paragraph

        snapshot = self.snapshot()
        lines = sentences.same_failures(snapshot)
        lines += sentences.outcome(snapshot, self.info, self.options, session_s=self.session_s, reason=self.reason)
        console.print()
        for line in lines:
            console.print(paragraph(line), soft_wrap=True)
