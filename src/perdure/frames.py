"""Rows as pandas dataframes, built column by column: a million rows never become a million dictionaries.

pandas is loaded when the first frame is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from perdure.core.events import Decision, Reported
from perdure.history import AttemptHistory, TrialHistory, date_of, flatten, is_plain
from perdure.journal.values import from_data

if TYPE_CHECKING:
    import pandas as pd

_MISSING = float("nan")
_OF_ATTEMPT = ("trial_id", "pid", "hostname", "node_ip")


def pandas() -> Any:
    """Return the pandas module.

    Raises:
        ModuleNotFoundError: it is not installed; the message says how to get it.
    """
    try:
        import pandas as module
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'Dataframes need pandas, which is not installed: pip install "perdure[dataframes]". '
            "Result.metrics and ResultGrid work without it.",
            name="pandas",
        ) from error
    return module


ConfigOf = Callable[[TrialHistory, AttemptHistory], Mapping[str, Any]]


class FrameBuilder:
    """Collects rows and makes one dataframe of them.

    The columns are the user's metrics (nested ones joined by "/", in the order they were first seen), the ones
    that Ray Tune fills in, and `config/...`. What a row lacks is NaN.
    """

    def __init__(self, config_of: ConfigOf) -> None:
        self._config_of = config_of
        self._count = 0
        self._metrics: dict[str, list[Any]] = {}
        self._rows: list[Reported] = []
        self._origins: list[tuple[TrialHistory, AttemptHistory]] = []
        self._origin_of: dict[tuple[str, int], int] = {}
        self._origin_of_row: list[int] = []
        self._auto: dict[str, list[Any]] = {
            name: []
            for name in (
                "timestamp",
                "checkpoint_dir_name",
                "done",
                "training_iteration",
                "date",
                "time_this_iter_s",
                "time_total_s",
                "time_since_restore",
                "iterations_since_restore",
            )
        }
        self._appends = tuple(column.append for column in self._auto.values())

    def add(self, trial: TrialHistory, row: Reported) -> None:
        """Take in the next row."""
        metrics = row.metrics
        if not is_plain(metrics):
            metrics = from_data(metrics)  # type: ignore[assignment]
        count = self._count
        columns = self._metrics
        done = row.decision is Decision.STOP
        for name, value in metrics.items():
            kind = type(value)
            if kind is dict:
                for inner, leaf in flatten(value, f"{name}/").items():  # type: ignore[arg-type]
                    self._put(inner, leaf)
                continue
            column = columns.get(name)
            if column is not None and len(column) == count:
                column.append(value)
            else:
                self._put(name, value)
        origin_key = (trial.id, row.attempt)
        origin = self._origin_of.get(origin_key)
        if origin is None:
            origin = self._origin_of[origin_key] = len(self._origins)
            self._origins.append((trial, trial.attempt_of(row)))
        self._origin_of_row.append(origin)
        at = int(row.at)
        iteration = row.iteration
        timestamp, directory, is_done, training_iteration, date, this, total, since, since_iterations = self._appends
        timestamp(at)
        directory(None if row.checkpoint is None else row.checkpoint.directory)
        is_done(done or metrics.get("done") is True)
        training_iteration(iteration)
        date(date_of(at))
        this(row.time_this_iter_s)
        total(row.time_total_s)
        since(row.time_since_restore_s)
        since_iterations(iteration - self._origins[origin][1].iteration)
        self._count = count + 1

    def _put(self, name: str, value: Any) -> None:
        column = self._metrics.setdefault(name, [])
        if len(column) < self._count:
            column.extend([_MISSING] * (self._count - len(column)))
        column.append(value)

    def build(self) -> pd.DataFrame:
        """Return the dataframe."""
        module = pandas()
        count = self._count
        columns: dict[str, Any] = {}
        for name, column in self._metrics.items():
            if name not in self._auto and name not in _OF_ATTEMPT:
                columns[name] = column + [_MISSING] * (count - len(column))
        facts = self._facts_of_attempts()
        auto = dict(self._auto)
        for name in ("timestamp", "checkpoint_dir_name", "done", "training_iteration"):
            columns[name] = auto.pop(name)
        columns["trial_id"] = self._spread(module, facts.pop("trial_id", []))
        for name in ("date", "time_this_iter_s", "time_total_s"):
            columns[name] = auto.pop(name)
        for name in ("pid", "hostname", "node_ip"):
            columns[name] = self._spread(module, facts.pop(name, []))
        columns.update(auto)
        for name, values in facts.items():
            columns[name] = self._spread(module, values)
        return module.DataFrame(columns)

    def _facts_of_attempts(self) -> dict[str, list[Any]]:
        """Return, by column, one value for each attempt."""
        facts: dict[str, list[Any]] = {}
        for i, (trial, attempt) in enumerate(self._origins):
            row: dict[str, Any] = {
                "trial_id": trial.id,
                "pid": attempt.pid,
                "hostname": attempt.host,
                "node_ip": attempt.node_ip,
            }
            row.update(flatten(self._config_of(trial, attempt), "config/"))
            for name, value in row.items():
                column = facts.setdefault(name, [])
                column.extend([_MISSING] * (i - len(column)))
                column.append(value)
        for column in facts.values():
            column.extend([_MISSING] * (len(self._origins) - len(column)))
        return facts

    def _spread(self, module: Any, values: list[Any]) -> Any:
        """Return a column with each attempt's value in all of its rows."""
        series = module.Series(values, dtype=None if values else object)
        return series.take(self._origin_of_row).reset_index(drop=True)


def frame(rows: Iterable[tuple[TrialHistory, Reported]], config_of: ConfigOf) -> pd.DataFrame:
    """Return the given rows as a dataframe.

    Raises:
        ModuleNotFoundError: pandas is not installed.
    """
    pandas()
    builder = FrameBuilder(config_of)
    add = builder.add
    for trial, row in rows:
        add(trial, row)
    return builder.build()
