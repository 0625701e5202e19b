"""Rows as pandas dataframes, built column by column: a million rows never become a million dictionaries.

pandas is loaded when the first frame is built.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Union

from perdure.core.events import Data, Decision, Reported
from perdure.history import AttemptHistory, TrialHistory
from perdure.journal.values import from_data
from perdure.rows import date_of, flatten

if TYPE_CHECKING:
    import pandas as pd

_MISSING = float("nan")
_CONTAINERS = frozenset((dict, list))
_NUMBERS = {
    "timestamp": "q",
    "training_iteration": "q",
    "time_this_iter_s": "d",
    "time_total_s": "d",
    "time_since_restore": "d",
    "origin": "q",
}


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


_Column = Union["array[Any]", list[Any]]
ConfigOf = Callable[[TrialHistory, AttemptHistory], Mapping[str, Any]]


class FrameBuilder:
    """Collects rows and makes one dataframe of them.

    The columns are the user's metrics (nested ones joined by "/", in the order they were first seen), the ones
    that Ray Tune fills in, and `config/...`. What a row lacks is NaN.
    """

    def __init__(self, config_of: ConfigOf) -> None:
        self._config_of = config_of
        self._count = 0
        self._metrics: dict[str, _Column] = {}
        self._layout: tuple[str, ...] = ()
        self._layout_appends: list[Callable[[Any], None]] = []
        self._origins: list[tuple[TrialHistory, AttemptHistory]] = []
        self._origin_of: dict[tuple[str, int], int] = {}
        self._numbers: dict[str, array[Any]] = {name: array(kind) for name, kind in _NUMBERS.items()}
        self._appends = tuple(column.append for column in self._numbers.values())
        self._directories: dict[int, str] = {}
        self._done: list[int] = []

    def add(self, trial: TrialHistory, row: Reported) -> None:
        """Take in the next row."""
        metrics = row.metrics
        count = self._count
        if tuple(metrics) == self._layout and _CONTAINERS.isdisjoint(map(type, metrics.values())):
            try:
                for append, value in zip(self._layout_appends, metrics.values(), strict=True):
                    append(value)
            except (TypeError, OverflowError):  # a column of numbers is given something else
                for name in metrics:
                    del self._metrics[name][count:]
                self._add_metrics(metrics)
        else:
            self._add_metrics(metrics)
        key = (row.trial, row.attempt)
        origin = self._origin_of.get(key)
        if origin is None:
            origin = self._origin_of[key] = len(self._origins)
            self._origins.append((trial, trial.attempt_of(row)))
        at, iteration, this, total, since, origins = self._appends
        at(int(row.at))
        iteration(row.iteration)
        this(row.time_this_iter_s)
        total(row.time_total_s)
        since(row.time_since_restore_s)
        origins(origin)
        if row.checkpoint is not None:
            self._directories[count] = row.checkpoint.directory
        if row.decision is Decision.STOP or metrics.get("done") is True:
            self._done.append(count)
        self._count = count + 1

    def _add_metrics(self, metrics: Data) -> None:
        """Add a row's metrics where they are not the same scalars as in the row before."""
        values = from_data(metrics)
        assert isinstance(values, dict)
        flat = flatten(values)
        for name, value in flat.items():
            self._metrics[name] = _appended(self._metrics.get(name), self._count, value)
        self._layout = tuple(flat)  # of nested metrics it is the layout of no row
        self._layout_appends = [self._metrics[name].append for name in flat]

    def build(self) -> pd.DataFrame:
        """Return the dataframe."""
        module = pandas()
        import numpy as np

        count = self._count
        columns: dict[str, Any] = {}
        for name, column in self._metrics.items():
            whole = _padded(column, count)
            columns[name] = np.array(whole) if isinstance(whole, array) else whole
        numbers = {name: np.array(column) for name, column in self._numbers.items()}
        origin = numbers["origin"]
        facts = self._facts_of_attempts()

        def of_attempt(name: str) -> Any:
            return module.Series(facts.pop(name, []), dtype=None if count else object).take(origin).array

        seconds, which = np.unique(numbers["timestamp"], return_inverse=True)
        directories: Any = np.full(count, None, dtype=object)
        directories[list(self._directories)] = list(self._directories.values())
        done: Any = np.zeros(count, dtype=bool)
        done[self._done] = True
        went_on_from = np.array([attempt.iteration for _, attempt in self._origins], dtype=np.int64)
        filled_in = {
            "timestamp": numbers["timestamp"],
            "checkpoint_dir_name": directories,
            "done": done,
            "training_iteration": numbers["training_iteration"],
            "trial_id": of_attempt("trial_id"),
            "date": module.Series([date_of(int(second)) for second in seconds], dtype=None if count else object)
            .take(which)
            .array,
            "time_this_iter_s": numbers["time_this_iter_s"],
            "time_total_s": numbers["time_total_s"],
            "pid": of_attempt("pid"),
            "hostname": of_attempt("hostname"),
            "node_ip": of_attempt("node_ip"),
            "time_since_restore": numbers["time_since_restore"],
            "iterations_since_restore": numbers["training_iteration"] - went_on_from[origin],
        }
        for name in filled_in:
            columns.pop(name, None)
        columns.update(filled_in)
        for name in list(facts):
            columns[name] = of_attempt(name)
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


def _appended(column: _Column | None, count: int, value: Any) -> _Column:
    """Return the column with `value` as its element number `count`: packed while it holds floats or ints only."""
    if column is None:
        kind = type(value)
        column = array("d") if kind is float else array("q") if kind is int and not count else []
    column = _padded(column, count)
    try:
        column.append(value)
    except (TypeError, OverflowError):
        column = column.tolist() if isinstance(column, array) else column
        column.append(value)
    return column


def _padded(column: _Column, count: int) -> _Column:
    """Return the column with NaN for the elements it lacks."""
    if len(column) < count:
        if isinstance(column, array) and column.typecode == "q":
            column = array("d", column)
        column.extend([_MISSING] * (count - len(column)))
    return column


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
