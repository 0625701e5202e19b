"""The display in a notebook: one HTML table in the cell's output, replaced in place."""

from __future__ import annotations

import html
import importlib
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from perdure.reporting import sentences
from perdure.reporting.display import TallyDisplay
from perdure.reporting.frame import Frame, Grid, Line, build, text_of
from perdure.reporting.news import Asked, Ended, Failed, News, Paused, Row, Said, WentOn

_COLOURS = {"red": "#c0392b", "green": "#1e8449", "cyan": "#117a8b", "yellow": "#b7950b"}
_NOTES_KEPT = 40  # lines


class NotebookDisplay(TallyDisplay):
    """Replaces one output of a cell, once a second or as often as the options say."""

    interval_s = 1.0

    def __init__(self, *, show: Callable[[str], None] | None = None, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]  # they are TallyDisplay's own
        self._show = show
        self._notes: deque[str] = deque(maxlen=_NOTES_KEPT)
        self._introduced = False
        if self.options.interval_s is not None:
            self.interval_s = self.options.interval_s

    def paint(self, news: list[News], printed: list[tuple[str, str]], *, last: bool) -> None:
        """Replace the table."""
        if self._show is None:
            self._show = cell(overwrite=self.options.overwrite)
        if not self._introduced and self.info.standing is not None:
            self._notes.append(text_of(sentences.started(self.info, self.options)))
        self._introduced = True
        for trial, line in printed:
            print(f"({trial}) {line}")  # noqa: T201  # a cell's output is where a trial's lines belong
        for item in news:
            self._note(item)
        frame = build(self.snapshot(), self.info, self.options, elapsed_s=self.elapsed_s, width=1000, final=last)
        below = [text_of(line) for line in self._outcome()] if last else []
        self._show(frame_html(frame, below=[*self._notes, *below]))

    def _note(self, item: News) -> None:
        match item:
            case Failed() if item.new:
                self._notes.append(text_of(sentences.failed(item)))
                self._notes += [text_of(line) for line in sentences.traceback_lines(item.error)]
            case Failed() if self.verbose >= 2:
                self._notes.append(text_of(sentences.failed(item)))
            case Said():
                self._notes.append(text_of(sentences.said(item)))
            case Ended() if self.verbose >= 2:
                self._notes.append(text_of(sentences.ended(item, self.options.metric or self.info.metric)))
            case WentOn() | Paused() | Asked():
                self._notes.append(text_of(sentences.turn(item)))
            case Row():
                self._notes.append(text_of(sentences.row(item, full=self.verbose >= 3)))

    def _outcome(self) -> list[Line]:
        snapshot = self.snapshot()
        return sentences.same_failures(snapshot) + sentences.outcome(
            snapshot, self.info, self.options, session_s=self.session_s, reason=self.reason
        )


def cell(*, overwrite: bool = True) -> Callable[[str], None]:
    """Return a function that shows HTML in the current cell, in the place of what it showed before, or below it."""
    ipython: Any = importlib.import_module("IPython.display")  # notebooks bring it; perdure does not depend on it

    name = f"perdure-{uuid.uuid4().hex}"
    shown = False

    def replace(text: str) -> None:
        nonlocal shown
        ipython.display(ipython.HTML(text), display_id=name, update=shown)
        shown = True

    def add(text: str) -> None:
        ipython.display(ipython.HTML(text))  # with the same id it would replace all before it, too

    return replace if overwrite else add


def frame_html(frame: Frame, *, above: Sequence[str] = (), below: Sequence[str] = ()) -> str:
    """Return all that is on show as HTML."""
    parts = [f"<div>{html.escape(text)}</div>" for text in above]
    parts += [f"<div>{_line_html(line)}</div>" for line in frame.header]
    parts.append(_grid_html(frame.grid))
    parts += [f"<div>{_line_html(line)}</div>" for line in frame.footer]
    if below:
        parts.append(f"<pre>{html.escape(chr(10).join(below))}</pre>")
    return "<div>" + "".join(parts) + "</div>"


def _line_html(line: Line) -> str:
    return "".join(_styled(html.escape(span.text), span.style) for span in line)


def _styled(text: str, style: str) -> str:
    css = []
    for word in style.split():
        if word == "bold":
            css.append("font-weight:bold")
        elif word == "dim":
            css.append("opacity:0.7")
        elif word in _COLOURS:
            css.append(f"color:{_COLOURS[word]}")
    return f'<span style="{";".join(css)}">{text}</span>' if css else text


def _grid_html(grid: Grid) -> str:
    if not grid.rows:
        return ""
    head = "".join(f"<th>{html.escape(column.heading)}</th>" for column in grid.columns)
    rows = []
    for number in range(grid.rows):
        weight = ' style="font-weight:bold"' if number == grid.highlighted else ""
        cells = "".join(
            f'<td style="text-align:{"right" if column.right else "left"}">'
            f"{_styled(html.escape(column.cells[number]), column.styles[number])}</td>"
            for column in grid.columns
        )
        rows.append(f"<tr{weight}>{cells}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
