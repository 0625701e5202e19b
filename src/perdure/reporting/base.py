"""The port to whatever shows progress, and the reporters a user may subclass.

This module imports nothing heavy: `perdure.tune` re-exports from here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from perdure.core.events import AnyEvent
    from perdure.core.state import State
    from perdure.reporting.standing import Standing
    from perdure.trial_view import TrialView


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What a display is told about an experiment before its first event.

    Args:
        name: The experiment's name.
        path: Where it lives, as a person would type it.
        metric: The metric that is optimised, or None.
        mode: "min" or "max", or None.
        total: How many trials there will be; None where the searcher does not know.
        time_budget_s: Running time after which trials are stopped.
        ran_before_s: Running time of earlier sessions of the same experiment.
        capacity: Amounts of each resource there are to share.
        began_s_ago: How long this session had been running when the display was started, beside it: in another process.
        how_to_resume: One line of code or shell that goes on with the experiment if it ends early.
        how_to_retry: One that runs failed trials again.
        standing: How things stood when this session began, if it goes on with an experiment.
    """

    name: str
    path: str
    metric: str | None = None
    mode: str | None = None
    total: int | None = None
    time_budget_s: float | None = None
    ran_before_s: float = 0.0
    capacity: Mapping[str, float] = dataclasses.field(default_factory=dict)
    how_to_resume: str = ""
    how_to_retry: str = ""
    began_s_ago: float = 0.0
    standing: Standing | None = None


class ProgressDisplay(Protocol):
    """Shows an experiment to a person. No method raises, and none waits for the terminal except `close` (seconds)."""

    @property
    def wants_output(self) -> bool:
        """Whether lines that trials print are to be brought to `output`, because straight on the stream they would
        fight with what is shown there.
        """
        ...

    @property
    def wants_labels(self) -> bool:
        """Whether lines that trials print straight on the stream are to begin with the trial's name."""
        ...

    def start(self, info: RunInfo, history: Iterable[AnyEvent] = (), state: State | None = None) -> None:
        """Begin.

        Args:
            info: What is known before the first event.
            history: The events of earlier sessions (and of no other), from the first on: they are counted but not
                announced. They may be read lazily, and are gone through on another thread.
            state: Statuses are read from it and not folded anew: events are observed after it took them in. A
                display that is given `history` needs it.
        """
        ...

    def observe(self, events: Sequence[AnyEvent]) -> None:
        """Take in a batch of events. Costs about a microsecond an event however many trials there are."""
        ...

    def tick(self, now: float) -> None:
        """Say that the loop has turned, at `now` of the monotonic clock."""
        ...

    def output(self, trial: str, line: str) -> None:
        """Show one line that a trial printed. May be called from any thread."""
        ...

    def warn(self, text: str) -> None:
        """Show what is wrong with something that the experiment goes on without. May be called from any thread."""
        ...

    def close(self, reason: str = "") -> None:
        """Show the outcome and end. `reason` says why the experiment ended, if not by coming to its end."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableOptions:
    """How tables are cut to size: the arguments that `CLIReporter` takes, with the same meaning.

    Args:
        metric_columns: Metrics to show and their headings; None infers up to `infer_limit` of them.
        parameter_columns: Searched parameters to show and their headings; None shows all that fit.
        metric, mode: What is sorted by; None takes the experiment's own.
        total: Number of trials to come, if the experiment does not know.
        max_rows: Most trials in the table.
        max_error_rows: Most failed trials listed below it.
        max_column_length: Longest name or value shown whole.
        infer_limit: Most metric columns that are chosen without being asked for.
        sort_by_metric: Order the table by the metric rather than by what runs.
        intermediate_tables: Where output is not a terminal, write a table with each status line.
        interval_s: Least seconds between two status lines where output is not a terminal, or two tables in a
            notebook; None chooses.
        overwrite: In a notebook, replace the table; otherwise a new one is shown below it each time.
    """

    metric_columns: Mapping[str, str] | None = None
    parameter_columns: Mapping[str, str] | None = None
    metric: str | None = None
    mode: str | None = None
    total: int | None = None
    max_rows: int = 20
    max_error_rows: int = 20
    max_column_length: int = 24
    infer_limit: int = 3
    sort_by_metric: bool = False
    intermediate_tables: bool = False
    interval_s: float | None = None
    overwrite: bool = True


class ProgressReporter:
    """Base of reporters that a user writes: override `should_report` and `report`.

    Both are called at most four times a second, from the thread that shows progress, with read-only views of every
    trial. An exception in one is shown once, and the reporter is not called again; the run goes on.
    """

    def setup(
        self,
        start_time: float | None = None,
        total_samples: int | None = None,
        metric: str | None = None,
        mode: str | None = None,
        **kwargs: object,
    ) -> None:
        """Take in what is known before the first trial. `start_time` is in Unix seconds."""

    def should_report(self, trials: list[TrialView], done: bool = False) -> bool:
        """Return whether `report` should be called now. `done` is True in the last call."""
        return True

    def report(self, trials: list[TrialView], done: bool, *sys_info: str) -> None:
        """Show `trials`. `sys_info` holds lines about time and resources."""
        raise NotImplementedError(f"{type(self).__name__} must define report(trials, done, *sys_info).")
