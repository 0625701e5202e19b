"""What is on show at one moment, as styled text and a grid of cells, cut to the room there is.

A frame knows nothing of terminals: `console.py` draws it with rich, `plain.py` writes lines of it, `notebook.py`
turns it into HTML.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from perdure.core.state import Status
from perdure.reporting.base import RunInfo, TableOptions
from perdure.reporting.formats import (
    clock,
    duration,
    number,
    plural,
    resources_text,
    shorten,
    shorten_middle,
    value_text,
)
from perdure.reporting.snapshot import Best, Snapshot, TrialLine, metric_of

STATUS_STYLES = {
    Status.RUNNING: "cyan",
    Status.PENDING: "dim",
    Status.PAUSED: "yellow",
    Status.TERMINATED: "green",
    Status.ERROR: "red",
}
_OWN_COLUMNS = ("training_iteration", "time_total_s")
"""Metrics that have a column in any case."""
ALWAYS = 9
_GAP = 2
"""Spaces between two columns."""


@dataclasses.dataclass(frozen=True)
class Span:
    """A run of text in one style."""

    text: str
    style: str = ""


Line = list[Span]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a grid: its heading, its cells and how they are set."""

    heading: str
    cells: list[str]
    styles: list[str]
    right: bool = False
    worth: int = 0
    """Where there is no room for all, columns worth less go first; those worth `ALWAYS` stay."""

    @property
    def width(self) -> int:
        return max(len(self.heading), *(len(cell) for cell in self.cells)) if self.cells else len(self.heading)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """Columns of equal length."""

    columns: list[Column]
    highlighted: int | None = None
    """The row that holds the best trial."""

    @property
    def rows(self) -> int:
        return len(self.columns[0].cells) if self.columns else 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frame:
    """All that is on show."""

    header: list[Line]
    grid: Grid
    footer: list[Line]


def build(
    snapshot: Snapshot,
    info: RunInfo,
    options: TableOptions,
    *,
    elapsed_s: float,
    width: int = 120,
    height: int | None = None,
    final: bool = False,
) -> Frame:
    """Lay out `snapshot` for a screen of `width` by `height` characters (None: as high as it takes)."""
    header = header_lines(snapshot, info, options, elapsed_s=elapsed_s, final=final)
    footer = failure_lines(snapshot, options, limit=_error_rows(options, height))
    room = options.max_rows if height is None else min(options.max_rows, height - len(header) - len(footer) - 5)
    shown = choose_lines(snapshot, options, max(room, 1))
    columns = trial_columns(snapshot, info, options, shown)
    columns, dropped = fit(columns, width)
    best = snapshot.best
    highlighted = next((n for n, line in enumerate(shown) if best is not None and line.id == best.trial), None)
    folded = folded_line(snapshot, shown, dropped)
    if folded is not None:
        footer.insert(0, folded)
    return Frame(
        header=[cut(line, width) for line in header],
        grid=Grid(columns=columns, highlighted=highlighted),
        footer=[cut(line, width) for line in footer],
    )


def _error_rows(options: TableOptions, height: int | None) -> int:
    return options.max_error_rows if height is None else min(options.max_error_rows, max(height // 5, 1))


# --- header ---------------------------------------------------------------------------------------------------------


def header_lines(
    snapshot: Snapshot, info: RunInfo, options: TableOptions, *, elapsed_s: float, final: bool = False
) -> list[Line]:
    """Return the lines above the table: what runs where, how far it is, what is best so far."""
    lines: list[Line] = [[Span(info.name, "bold"), Span("  " + info.path, "dim")]]
    if final:  # the outcome, told below the table, says the rest
        return lines
    lines.append(counts_line(snapshot))
    lines.append([Span(time_text(snapshot, info, elapsed_s))])
    used = resources_text(snapshot.used, snapshot.capacity or info.capacity)
    if used and not snapshot.over:
        lines[-1].append(Span("   " + used, "dim"))
    if snapshot.best is not None:
        lines.append(best_line(snapshot.best, options.metric or info.metric or ""))
    if snapshot.stopping is not None:
        running = snapshot.count(Status.RUNNING)
        text = f"Stopped ({snapshot.stopping})." if snapshot.over else stopping_text(snapshot.stopping, running)
        lines.append([Span(text, "yellow")])
    return lines


def counts_line(snapshot: Snapshot) -> Line:
    """Return "12 of 20 trials ended: 4 running, 4 pending, 11 terminated, 1 error"."""
    total = snapshot.total
    if total is not None and total >= snapshot.created and total > 0:
        line = [Span(f"{snapshot.ended} of {plural(total, 'trial')} ended")]
    else:
        line = [Span(f"{plural(snapshot.created, 'trial')} so far, {snapshot.ended} ended")]
    separator = ": "
    for status in (Status.RUNNING, Status.PENDING, Status.PAUSED, Status.TERMINATED, Status.ERROR):
        count = snapshot.count(status)
        if count:
            line.append(Span(separator))
            line.append(Span(f"{count} {fate_word(status, count, snapshot)}", STATUS_STYLES[status]))
            separator = ", "
    return line


def stopping_text(reason: str, running: int) -> str:
    """Return "Stopping (SIGINT) at the next report of 2 trials. Ctrl-C again ends at once.", for narrow screens too."""
    if not running:
        return f"Stopping ({reason})."
    text = f"Stopping ({reason}) at the next report of {plural(running, 'trial')}."
    if reason == "SIGINT":
        return f"{text} Ctrl-C again ends at once."
    return f"{text} A second one ends at once." if reason.startswith("SIG") else text


def finished_text(snapshot: Snapshot) -> str:
    """Return "6 of 8 trials finished", or "6 trials finished" where the number of trials is not known."""
    total, ended = snapshot.total, snapshot.ended
    if total is not None and total >= snapshot.created:
        return f"{ended} of {plural(total, 'trial')} finished"
    return f"{plural(ended, 'trial')} finished"


def status_word(status: Status, count: int = 1) -> str:
    """Return a status as it stands in a sentence."""
    if status is Status.ERROR:
        return "error" if count == 1 else "errors"
    return str(status.value).lower()


def fate_word(status: Status, count: int, snapshot: Snapshot) -> str:
    """Return a status as it stands in a sentence about `snapshot`: what ran when all was over was interrupted."""
    return "interrupted" if _was_cut_short(status, snapshot) else status_word(status, count)


def _was_cut_short(status: Status, snapshot: Snapshot) -> bool:
    return snapshot.over and status is Status.RUNNING


def time_text(snapshot: Snapshot, info: RunInfo, elapsed_s: float) -> str:
    """Return "01:12 elapsed of a budget of 10:00, about 2 m 10 s left"."""
    text = f"{clock(elapsed_s)} elapsed"
    if info.time_budget_s is not None:
        text += f" of a budget of {clock(info.time_budget_s)}"
    if snapshot.left_s is not None and not snapshot.over:
        left = snapshot.left_s
        if info.time_budget_s is not None:
            left = min(left, max(info.time_budget_s - elapsed_s, 0.0))
        text += f", about {duration(left)} left"
    return text


def best_line(best: Best, metric: str) -> Line:
    """Return "Best accuracy 0.97: digits_3 at iteration 17 (lr=0.1)"."""
    line = [Span("Best "), Span(f"{metric} {number(best.value)}", "bold green")]
    line.append(Span(f": {best.name} at iteration {best.iteration}"))
    if best.searched:
        line.append(Span(f" ({searched_text(best.searched)})", "dim"))
    return line


def searched_text(searched: dict[str, object], limit: int = 24) -> str:
    """Return parameters as "lr=0.1, units=64"."""
    return ", ".join(f"{key}={shorten(value_text(value), limit)}" for key, value in searched.items())


# --- the table ------------------------------------------------------------------------------------------------------


def choose_lines(snapshot: Snapshot, options: TableOptions, room: int) -> list[TrialLine]:
    """Return the trials worth a row: what runs first, then the best that ended, or the latest where none is best."""
    finished = snapshot.best_finished or []
    ranked = {line.id for line in finished}
    finished = finished + [line for line in snapshot.recent if line.id not in ranked]
    active = sorted(snapshot.running, key=_by_number) + sorted(snapshot.waiting, key=_by_number)
    if options.sort_by_metric:
        return sorted(active + finished, key=_by_score)[:room]
    reserved = min(len(finished), room // 4) if len(active) > room - room // 4 else 0
    chosen = active[: room - reserved]
    return chosen + finished[: room - len(chosen)]


def _by_number(line: TrialLine) -> int:
    return line.number


def _by_score(line: TrialLine) -> tuple[bool, float]:
    return (line.score is None, -(line.score or 0.0))


def trial_columns(snapshot: Snapshot, info: RunInfo, options: TableOptions, shown: Sequence[TrialLine]) -> list[Column]:
    """Return the table's columns: trial, status, iteration, time, metrics, parameters."""
    limit = options.max_column_length

    def column(heading: str, cell: Callable[[TrialLine], str], *, right: bool = False, worth: int = 0) -> Column:
        cells = [cell(line) for line in shown]
        return Column(heading=heading, cells=cells, styles=[""] * len(cells), right=right, worth=worth)

    statuses = Column(
        heading="status",
        cells=["INTERRUPTED" if _was_cut_short(line.status, snapshot) else line.status.value for line in shown],
        styles=[STATUS_STYLES[line.status] for line in shown],
        worth=ALWAYS,
    )
    columns = [
        column("trial", lambda line: shorten_middle(line.name, limit), worth=ALWAYS),
        statuses,
        column("iter", lambda line: str(line.iteration) if line.iteration else "", right=True, worth=4),
        column("time", lambda line: duration(line.time_s) if line.time_s else "", right=True, worth=3),
    ]
    wanted = 2 if options.metric_columns is not None else 1
    for place, (metric, heading) in enumerate(metric_headings(snapshot, info, options).items()):
        columns.append(
            Column(
                heading=shorten(heading, limit),
                cells=[_metric_text(line, metric, limit) for line in shown],
                styles=[""] * len(shown),
                right=True,
                worth=ALWAYS if place == 0 else wanted,
            )
        )
    for parameter, heading in _parameter_headings(options, shown).items():
        cells = [shorten(value_text(line.searched.get(parameter, "")), limit) for line in shown]
        columns.append(
            Column(
                heading=shorten_middle(heading, limit), cells=cells, styles=["dim"] * len(cells), right=True, worth=2
            )
        )
    return columns


def metric_headings(snapshot: Snapshot, info: RunInfo, options: TableOptions) -> dict[str, str]:
    """Return the metrics to show and their headings, the one that is optimised first."""
    if options.metric_columns is not None:
        return {name: text for name, text in options.metric_columns.items() if name not in _OWN_COLUMNS}
    chosen = options.metric or info.metric
    names = [chosen] if chosen else []
    names += [name for name in snapshot.metric_names if name != chosen]
    return {name: name for name in names[: max(options.infer_limit, 1)]}


def _metric_text(line: TrialLine, metric: str, limit: int) -> str:
    value = metric_of(line, metric)
    return "" if value is None else shorten(value_text(value), limit)


def _parameter_headings(options: TableOptions, shown: Sequence[TrialLine]) -> dict[str, str]:
    if options.parameter_columns is not None:
        return dict(options.parameter_columns)
    headings: dict[str, str] = {}
    for line in shown:
        for name in line.searched:
            headings.setdefault(name, name)
    return headings


def fit(columns: list[Column], width: int) -> tuple[list[Column], int]:
    """Return the columns that fit into `width` characters, and how many were left out.

    Of columns worth the same, the last goes first. If even those that always stay do not fit, the first is squeezed.
    """
    kept = list(columns)
    by_worth = columns[::-1]
    by_worth.sort(key=lambda column: column.worth)
    for column in by_worth:
        if grid_width(kept) <= width or column.worth >= ALWAYS:
            break
        kept.remove(column)
    over = grid_width(kept) - width
    if over > 0 and kept:
        first = kept[0]
        narrow = max(first.width - over, 6)
        kept[0] = dataclasses.replace(first, cells=[shorten_middle(cell, narrow) for cell in first.cells])
    return kept, len(columns) - len(kept)


def grid_width(columns: Sequence[Column]) -> int:
    """Return how many characters wide the columns stand side by side."""
    return sum(column.width + _GAP for column in columns) - _GAP


def folded_line(snapshot: Snapshot, shown: Sequence[TrialLine], dropped: int) -> Line | None:
    """Return "... 180 more trials (96 pending, 84 terminated); 2 columns do not fit", or None."""
    parts = []
    hidden = snapshot.created - len(shown)
    if hidden > 0:
        of_shown = {status: sum(line.status is status for line in shown) for status in Status}
        rest = ", ".join(
            f"{count} {fate_word(status, count, snapshot)}"
            for status in Status
            if (count := snapshot.count(status) - of_shown[status]) > 0
        )
        parts.append(f"{hidden} more {'trial' if hidden == 1 else 'trials'}" + (f" ({rest})" if rest else ""))
    if dropped:
        parts.append(f"{plural(dropped, 'column')} left out")
    return [Span("... " + "; ".join(parts), "dim")] if parts else None


# --- failures -------------------------------------------------------------------------------------------------------


def failure_lines(snapshot: Snapshot, options: TableOptions, *, limit: int) -> list[Line]:
    """Return one line for each failed trial, the latest ones first where they are too many."""
    count = snapshot.count(Status.ERROR)
    if not count or not snapshot.failed:
        return []
    lines: list[Line] = [[Span(f"{plural(count, 'trial')} failed:", "red")]]
    shown = list(reversed(snapshot.failed))[:limit]
    for line, error in shown:
        name = shorten_middle(line.name, options.max_column_length)
        lines.append([Span(f"  {name}  "), Span(exception_line(error.kind, error.message), "red")])
    if count > len(shown):
        lines.append([Span(f"  ... {count - len(shown)} more", "dim")])
    return lines


def exception_line(kind: str, message: str) -> str:
    """Return an error as Python prints it at the end of a traceback, in one line."""
    first = message.strip().splitlines()[0] if message.strip() else ""
    if not kind or first.startswith(kind):
        return value_text(first or kind)
    return value_text(f"{kind}: {first}" if first else kind)


def cut(line: Line, width: int) -> Line:
    """Return `line` in at most `width` characters."""
    left = width
    kept: Line = []
    for span in line:
        if left <= 0:
            break
        kept.append(Span(shorten(span.text, left), span.style) if len(span.text) > left else span)
        left -= len(span.text)
    return kept


def text_of(line: Line) -> str:
    """Return a line without its styles."""
    return "".join(span.text for span in line)


def grid_lines(grid: Grid) -> list[str]:
    """Return the grid as plain text, its headings underlined."""
    if not grid.rows:
        return []
    widths = [column.width for column in grid.columns]

    def set_row(cells: Sequence[str]) -> str:
        placed = (
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(cells, widths, grid.columns, strict=True)
        )
        return (" " * _GAP).join(placed).rstrip()

    rows = [set_row([column.cells[number] for column in grid.columns]) for number in range(grid.rows)]
    rule = "-" * (sum(widths) + _GAP * (len(widths) - 1))
    return [set_row([column.heading for column in grid.columns]), rule, *rows]


def frame_text(frame: Frame) -> list[str]:
    """Return all that is on show as plain lines."""
    header = [text_of(line) for line in frame.header]
    return [*header, *grid_lines(frame.grid), *(text_of(line) for line in frame.footer)]
