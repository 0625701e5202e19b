"""`CLIReporter` and `JupyterNotebookReporter`: Ray Tune's arguments, steering perdure's own tables.

Used as they are, they only say how the live table, the plain lines or the notebook's table are cut. A subclass that
overrides `should_report` or `report` is asked instead, and what it prints is all there is.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from perdure.arguments import named_arguments
from perdure.errors import ConfigurationError
from perdure.reporting.base import ProgressReporter, TableOptions

if TYPE_CHECKING:
    from perdure.reporting.frame import Frame
    from perdure.trial_view import TrialView

Columns = Mapping[str, str] | Sequence[str] | None


class TableReporter(ProgressReporter):
    """What both reporters have in common.

    Args:
        metric_columns: Metrics to show: names, or a mapping from names to headings. None infers up to `infer_limit`.
        parameter_columns: Searched parameters to show, likewise; None shows all that fit.
        total_samples: Number of trials to come, if the experiment does not know.
        max_progress_rows: Most trials in the table.
        max_error_rows: Most failed trials listed below it.
        max_column_length: Longest name or value shown whole.
        max_report_frequency: Least seconds between two reports (a terminal's live table is redrawn oftener).
        infer_limit: Most metric columns that are chosen without being asked for.
        print_intermediate_tables: Write whole tables, not only lines, before the end, where output is no terminal.
        metric, mode: What decides which trials are best; None takes the experiment's own.
        sort_by_metric: Order the table by the metric.

    Raises:
        ConfigurationError: a value is out of range.
    """

    DEFAULT_COLUMNS: ClassVar[dict[str, str]] = {
        "mean_accuracy": "acc",
        "mean_loss": "loss",
        "training_iteration": "iter",
        "time_total_s": "total time (s)",
        "timesteps_total": "ts",
        "episode_reward_mean": "reward",
    }
    VALID_SUMMARY_TYPES: ClassVar[set[type]] = {int, float, type(None)}

    def __init__(
        self,
        *,
        metric_columns: Columns = None,
        parameter_columns: Columns = None,
        total_samples: int | None = None,
        max_progress_rows: int = 20,
        max_error_rows: int = 20,
        max_column_length: int = 20,
        max_report_frequency: float = 5,
        infer_limit: int = 3,
        print_intermediate_tables: bool | None = None,
        metric: str | None = None,
        mode: str | None = None,
        sort_by_metric: bool = False,
    ) -> None:
        if mode not in (None, "min", "max"):
            raise ConfigurationError(f'{type(self).__name__}(mode={mode!r}): use "min" or "max".')
        if max_progress_rows < 1 or max_column_length < 1:
            raise ConfigurationError(f"{type(self).__name__}: max_progress_rows and max_column_length start at 1.")
        self._metric_columns = _headings(metric_columns)
        self._parameter_columns = _headings(parameter_columns)
        self._total_samples = total_samples
        self._max_progress_rows = max_progress_rows
        self._max_error_rows = max_error_rows
        self._max_column_length = max_column_length
        self._max_report_frequency = max_report_frequency
        self._infer_limit = infer_limit
        self._print_intermediate_tables = print_intermediate_tables
        self._metric = metric
        self._mode = mode
        self._sort_by_metric = sort_by_metric
        self._start_time = time.time()
        self._last_report = 0.0

    # --- steering

    def add_metric_column(self, metric: str, representation: str | None = None) -> None:
        """Show a metric, under the heading `representation`."""
        self._metric_columns = _added(self._metric_columns, metric, representation, "metric")

    def add_parameter_column(self, parameter: str, representation: str | None = None) -> None:
        """Show a searched parameter, under the heading `representation`."""
        self._parameter_columns = _added(self._parameter_columns, parameter, representation, "parameter")

    def setup(
        self,
        start_time: float | None = None,
        total_samples: int | None = None,
        metric: str | None = None,
        mode: str | None = None,
        **kwargs: object,
    ) -> None:
        """Take in what is known before the first trial; what the constructor was told stays."""
        self.set_start_time(start_time)
        self.set_total_samples(total_samples)
        self.set_search_properties(metric, mode)

    def set_search_properties(self, metric: str | None, mode: str | None) -> bool:
        """Set metric and mode where they were not given. Returns whether they were free to be set."""
        free = not (self._metric and metric) and not (self._mode and mode)
        self._metric = self._metric or metric
        self._mode = self._mode or mode
        return free

    def set_total_samples(self, total_samples: int | None) -> None:
        """Set the number of trials to come, where it was not given."""
        if self._total_samples is None:
            self._total_samples = total_samples

    def set_start_time(self, timestamp: float | None = None) -> None:
        """Set when the experiment began, in Unix seconds; None is now."""
        self._start_time = time.time() if timestamp is None else timestamp

    @property
    def options(self) -> TableOptions:
        """What this reporter asks of a table."""
        return TableOptions(
            metric_columns=self._metric_columns,
            parameter_columns=self._parameter_columns,
            metric=self._metric,
            mode=self._mode,
            total=self._total_samples,
            max_rows=self._max_progress_rows,
            max_error_rows=self._max_error_rows,
            max_column_length=self._max_column_length,
            infer_limit=self._infer_limit,
            sort_by_metric=self._sort_by_metric,
            interval_s=float(self._max_report_frequency),
            intermediate_tables=bool(self._print_intermediate_tables),
        )

    # --- reporting

    def should_report(self, trials: list[TrialView], done: bool = False) -> bool:
        """Return whether `max_report_frequency` seconds have passed since the last report, or it is the last one."""
        now = time.monotonic()
        if done or now - self._last_report >= self._max_report_frequency:
            self._last_report = now
            return True
        return False

    def frame(self, trials: list[TrialView], *, width: int, done: bool = False) -> Frame:
        """Lay out a table of `trials` for a screen of `width` characters."""
        from perdure.reporting.views import frame_of

        elapsed_s = time.time() - self._start_time
        return frame_of(trials, self.options, elapsed_s=elapsed_s, width=width, final=done)


@named_arguments()
class CLIReporter(TableReporter):
    """Shows progress as text; see `TableReporter` for its arguments."""

    def report(self, trials: list[TrialView], done: bool, *sys_info: str) -> None:
        """Print a table of `trials`, and the lines of `sys_info` above it."""
        import shutil

        from perdure.reporting.frame import frame_text
        from perdure.reporting.stream import SafeStream

        stream = SafeStream(sys.stdout)
        width = max(shutil.get_terminal_size((120, 0)).columns, 40)
        lines = [*sys_info, *frame_text(self.frame(trials, width=width, done=done))]
        stream.write("\n".join(lines) + "\n\n")
        stream.flush()


@named_arguments()
class JupyterNotebookReporter(TableReporter):
    """Shows progress as one table in a notebook's cell, replaced in place.

    Args:
        overwrite: Replace the table; otherwise a new one is shown each time.

    The other arguments are those of `TableReporter`.
    """

    def __init__(
        self,
        *,
        overwrite: bool = True,
        metric_columns: Columns = None,
        parameter_columns: Columns = None,
        total_samples: int | None = None,
        max_progress_rows: int = 20,
        max_error_rows: int = 20,
        max_column_length: int = 20,
        max_report_frequency: float = 5,
        infer_limit: int = 3,
        print_intermediate_tables: bool | None = None,
        metric: str | None = None,
        mode: str | None = None,
        sort_by_metric: bool = False,
    ) -> None:
        super().__init__(
            metric_columns=metric_columns,
            parameter_columns=parameter_columns,
            total_samples=total_samples,
            max_progress_rows=max_progress_rows,
            max_error_rows=max_error_rows,
            max_column_length=max_column_length,
            max_report_frequency=max_report_frequency,
            infer_limit=infer_limit,
            print_intermediate_tables=print_intermediate_tables,
            metric=metric,
            mode=mode,
            sort_by_metric=sort_by_metric,
        )
        self.overwrite = overwrite
        self._show: Callable[[str], None] | None = None

    @property
    def options(self) -> TableOptions:
        """What this reporter asks of a table."""
        return dataclasses.replace(super().options, overwrite=self.overwrite)

    def report(self, trials: list[TrialView], done: bool, *sys_info: str) -> None:
        """Show a table of `trials` in the cell's output, and the lines of `sys_info` above it."""
        from perdure.reporting.notebook import frame_html

        self.display(frame_html(self.frame(trials, width=1000, done=done), above=sys_info))

    def display(self, string: str) -> None:
        """Show HTML in the cell's output."""
        from perdure.reporting.notebook import cell

        if self._show is None or not self.overwrite:
            self._show = cell()
        self._show(string)


def _headings(columns: Columns) -> dict[str, str] | None:
    if columns is None:
        return None
    return dict(columns) if isinstance(columns, Mapping) else {name: name for name in columns}


def _added(columns: dict[str, str] | None, name: str, heading: str | None, what: str) -> dict[str, str]:
    columns = dict(columns or {})
    if name in columns:
        raise ConfigurationError(f"The {what} {name!r} has a column already.")
    columns[name] = heading or name
    return columns
