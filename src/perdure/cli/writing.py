"""How commands write: styled text to a terminal, plain text elsewhere, JSON on request."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import sys
from collections.abc import Sequence

from perdure.reporting.frame import Column, Grid, Line, Span, fit
from perdure.reporting.stream import SafeStream

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_UNLIMITED = 100_000


class Page:
    """Collects lines and writes them to stdout."""

    def __init__(self) -> None:
        self.coloured = wants_colour()
        self.width = shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else _UNLIMITED

    def line(self, *spans: Span | str) -> None:
        """Write one line."""
        styled = [Span(span) if isinstance(span, str) else span for span in spans]
        _write(self.text(styled) + "\n")

    def text(self, line: Line) -> str:
        """Return a line with its styles, where they are wanted."""
        return "".join(self._span(span) for span in line)

    def _span(self, span: Span) -> str:
        codes = [_CODES[word] for word in span.style.split() if word in _CODES]
        return f"\x1b[{';'.join(codes)}m{span.text}\x1b[0m" if codes and self.coloured else span.text

    def table(self, columns: Sequence[Column], *, highlighted: int | None = None) -> None:
        """Write a table, leaving columns out where the terminal is too narrow for all."""
        kept, dropped = fit(list(columns), self.width)
        grid = Grid(columns=kept, highlighted=highlighted)
        if not grid.rows:
            return
        widths = [column.width for column in kept]
        self._row([column.heading for column in kept], ["bold"] * len(kept), kept, widths)
        _write("-" * (sum(widths) + 2 * (len(widths) - 1)) + "\n")
        for number in range(grid.rows):
            styles = [column.styles[number] for column in kept]
            if number == highlighted:
                styles = [f"bold {style}".strip() for style in styles]
            self._row([column.cells[number] for column in kept], styles, kept, widths)
        if dropped:
            self.line(Span(f"... {dropped} columns left out", "dim"))

    def _row(
        self, cells: Sequence[str], styles: Sequence[str], columns: Sequence[Column], widths: Sequence[int]
    ) -> None:
        parts = []
        for cell, style, column, width in zip(cells, styles, columns, widths, strict=True):
            pad = " " * (width - len(cell))
            text = self._span(Span(cell, style))
            parts.append(pad + text if column.right else text + pad)
        _write("  ".join(parts).rstrip() + "\n")


def write_json(document: object) -> None:
    """Write one JSON document, with a newline at its end."""
    _write(json.dumps(document, indent=2, allow_nan=False) + "\n")


def write_line(text: str) -> None:
    """Write one line, at once: somebody may be waiting for it at the other end of a pipe."""
    _write(text + "\n")
    sys.stdout.flush()


def column(heading: str, cells: Sequence[str], *, style: str = "", right: bool = False, worth: int = 9) -> Column:
    """Return a column whose cells all have one style."""
    return Column(heading=heading, cells=list(cells), styles=[style] * len(cells), right=right, worth=worth)


def wants_colour() -> bool:
    """Return whether stdout takes colours: a terminal, unless NO_COLOR is set; or FORCE_COLOR is."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty() and os.environ.get("TERM", "") not in ("dumb", "")


def when(at: float | None) -> str:
    """Return Unix seconds as a local date and time."""
    return "-" if at is None else f"{dt.datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M:%S}"


def _write(text: str) -> None:
    stream = SafeStream(sys.stdout)
    stream.write(text)
    if stream.broken:
        raise BrokenPipeError
