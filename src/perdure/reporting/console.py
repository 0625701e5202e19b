"""Frames drawn with rich. The only module of reporting that imports it."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING, cast

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from perdure.reporting.frame import Frame, Grid, Line

if TYPE_CHECKING:
    from perdure.reporting.stream import SafeStream

_RULE = box.Box("    \n    \n ── \n    \n    \n    \n    \n    \n")
_ASCII_RULE = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


def console_on(stream: SafeStream) -> Console:
    """Return a console that writes to `stream`. Colours follow NO_COLOR, FORCE_COLOR and the terminal."""
    return Console(
        file=cast("IO[str]", stream),
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
        legacy_windows=False if os.name != "nt" else None,
    )


def text(line: Line) -> Text:
    """Return one styled line."""
    drawn = Text(no_wrap=True, overflow="crop", end="")
    for span in line:
        drawn.append(span.text, style=span.style)
    return drawn


def paragraph(line: Line) -> Text:
    """Return one styled line that may be wrapped."""
    drawn = Text()
    for span in line:
        drawn.append(span.text, style=span.style)
    return drawn


def table(grid: Grid, *, ascii_only: bool = False) -> Table:
    """Return the grid as a table without lines but one under its headings."""
    drawn = Table(
        box=_ASCII_RULE if ascii_only else _RULE,
        safe_box=True,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        collapse_padding=True,
        header_style="bold",
    )
    for column in grid.columns:
        drawn.add_column(
            Text(column.heading), justify="right" if column.right else "left", no_wrap=True, overflow="crop"
        )
    for number in range(grid.rows):
        drawn.add_row(
            *(Text(column.cells[number], style=column.styles[number]) for column in grid.columns),
            style="bold" if number == grid.highlighted else None,
        )
    return drawn


def drawing(frame: Frame, *, ascii_only: bool = False) -> RenderableType:
    """Return everything on show, one part below the other."""
    parts: list[RenderableType] = [text_row(line) for line in frame.header]
    if frame.grid.rows:
        parts += [Text(""), table(frame.grid, ascii_only=ascii_only)]
    parts += [text_row(line) for line in frame.footer]
    return Group(*parts)


def text_row(line: Line) -> Text:
    """Return a line that ends with a line break and is cut, not wrapped."""
    drawn = text(line)
    drawn.end = "\n"
    return drawn


def is_ascii(console: Console) -> bool:
    """Return whether the console's encoding has no more than ASCII to offer."""
    return not console.encoding.lower().startswith("utf")


def printed_line(trial: str, line: str) -> Text:
    """Return a line that a trial printed, behind its name; of a progress bar's rewrites only the last one."""
    shown = Text(f"({trial}) ", style="dim")
    shown.append_text(Text.from_ansi(line.rstrip("\r\n").rsplit("\r", 1)[-1]))
    return shown
