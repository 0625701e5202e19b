"""Rows as tables: built column by column, so that a million rows never become a million dictionaries.

A `Table` belongs to no library; it becomes a dataframe of pandas or polars, or a table of Arrow. Each of them is loaded
when the first one is made.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple, Union

from perdure.core.events import Decision, Reported
from perdure.errors import ConfigurationError
from perdure.history import AttemptHistory, TrialHistory
from perdure.journal.values import from_data
from perdure.rows import date_of, flatten

LIBRARIES = ("pandas", "polars", "pyarrow")
"""What `frame` can make a dataframe of."""

_MISSING = float("nan")
_CONTAINERS = frozenset((dict, list))
_PACKED = frozenset((float, int))
_NUMBERS: dict[str, tuple[str, Callable[[Sequence[Reported]], list[Any]]]] = {
    "timestamp": ("q", lambda rows: [int(row.at) for row in rows]),
    "training_iteration": ("q", lambda rows: list(map(attrgetter("iteration"), rows))),
    "time_this_iter_s": ("d", lambda rows: list(map(attrgetter("time_this_iter_s"), rows))),
    "time_total_s": ("d", lambda rows: list(map(attrgetter("time_total_s"), rows))),
    "time_since_restore": ("d", lambda rows: list(map(attrgetter("time_since_restore_s"), rows))),
}


def library(name: str) -> Any:
    """Return the module of a dataframe library.

    Raises:
        ConfigurationError: there is none of that name here.
        ModuleNotFoundError: it is not installed; the message says how to get it.
    """
    if name not in LIBRARIES:
        raise ConfigurationError(f"Dataframes of {name!r} are not made here: use one of {', '.join(LIBRARIES)}.")
    extra = {"pandas": "dataframes", "polars": "polars", "pyarrow": "arrow"}[name]
    try:
        return __import__(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'Dataframes need {name}, which is not installed: pip install "perdure[{extra}]". '
            "Result.metrics, ResultGrid and export to CSV and JSON work without it.",
            name=name,
        ) from error


class Repeated(NamedTuple):
    """A column of few values that many rows share."""

    distinct: Sequence[Any]
    """Each value once."""
    codes: array[int]
    """For each row, the index of its value."""


Plain = Union["array[Any]", list[Any]]
Column = Union[Plain, Repeated]
ConfigOf = Callable[[TrialHistory, AttemptHistory], Mapping[str, Any]]
Batch = tuple[Mapping[str, TrialHistory], Sequence[Reported]]
"""Rows, in order, and the trials they are of, by id."""


class Table:
    """Rows by column.

    The columns are the user's metrics (nested ones joined by "/", in the order they were first seen), the ones that
    Ray Tune fills in, and `config/...`: the configuration that the row was trained with. What a row lacks is NaN.

    Where a trial went on from another one's checkpoint (PBT), `trial_segment` tells its stretches apart: 0, and one
    more with each such clone. A `training_iteration` may come again in the next one.
    """

    def __init__(self, columns: dict[str, Column], count: int) -> None:
        self.columns = columns
        self.count = count

    def __len__(self) -> int:
        return self.count

    def replace(self, name: str, column: Plain) -> None:
        """Set a column, at its old place or at the end."""
        self.columns[name] = column

    def values(self, name: str) -> Iterable[Any]:
        """Return a column, a value for each row."""
        return _values(self.columns[name])

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield the rows, values in the order of the columns."""
        return zip(*(_values(column) for column in self.columns.values()), strict=True)

    def make(self, name: str) -> Any:
        """Return it as a dataframe of the library of that name.

        Raises:
            ConfigurationError, ModuleNotFoundError: see `library`.
        """
        module = library(name)
        made: Any = {"pandas": self._pandas, "polars": self._polars, "pyarrow": self._arrow}[name](module)
        return made

    def _pandas(self, module: Any) -> Any:
        import numpy as np

        def column_of(column: Column) -> Any:
            if isinstance(column, Repeated):
                plain = None not in column.distinct and self.count
                values = module.Series(list(column.distinct), dtype=None if plain else object)
                return values.take(np.array(column.codes, dtype=np.int64)).array
            return np.array(column) if isinstance(column, array) else column

        return module.DataFrame({name: column_of(column) for name, column in self.columns.items()})

    def _polars(self, module: Any) -> Any:
        def column_of(name: str, column: Column) -> Any:
            if isinstance(column, Repeated):
                return _series(module, name, column.distinct).gather(module.Series(column.codes, dtype=module.Int64))
            return _series(module, name, column)

        return module.DataFrame([column_of(name, column) for name, column in self.columns.items()])

    def _arrow(self, module: Any) -> Any:
        def column_of(column: Column) -> Any:
            if isinstance(column, Repeated):
                return _arrow_array(module, column.distinct).take(module.array(column.codes, type=module.int64()))
            return _arrow_array(module, column)

        return module.table({name: column_of(column) for name, column in self.columns.items()})


def _values(column: Column) -> Iterable[Any]:
    return map(column.distinct.__getitem__, column.codes) if isinstance(column, Repeated) else column


def _series(module: Any, name: str, column: Plain | Sequence[Any]) -> Any:
    if isinstance(column, array):
        return module.Series(name, column, dtype=module.Float64 if column.typecode == "d" else module.Int64)
    return module.Series(name, _of_one_type(column), strict=False)


def _arrow_array(module: Any, column: Plain | Sequence[Any]) -> Any:
    if isinstance(column, array):
        return module.array(column, type=module.float64() if column.typecode == "d" else module.int64())
    return module.array(_of_one_type(column))


def _of_one_type(column: Sequence[Any]) -> list[Any]:
    """Return a column for a library whose columns have one type: NaN among text is null, a mixture becomes text."""
    kinds = {type(value) for value in column}
    if kinds <= {float, int, type(None)} or len(kinds - {type(None)}) == 1:
        simple = kinds <= {float, int, str, bool, bytes, type(None)}
        return list(column) if simple else [None if value is None else str(value) for value in column]
    present = kinds - {float, type(None)}
    nan_only = all(math.isnan(value) for value in column if type(value) is float)
    if nan_only and len(present) == 1 and present <= {str, bool, bytes}:
        return [None if type(value) is float else value for value in column]
    return [None if value is None or (type(value) is float and math.isnan(value)) else str(value) for value in column]


class TableBuilder:
    """Collects rows and makes one table of them."""

    def __init__(self, config_of: ConfigOf) -> None:
        self._config_of = config_of
        self._count = 0
        self._metrics: dict[str, Plain] = {}
        self._attempts: list[tuple[TrialHistory, AttemptHistory]] = []
        self._attempt_codes: dict[tuple[str, int], int] = {}
        self._attempt = array("q")  # for each row, the index of its attempt
        self._numbers: dict[str, array[Any]] = {name: array(kind) for name, (kind, _) in _NUMBERS.items()}
        self._directories: dict[int, str] = {}
        self._done: list[int] = []

    def add(self, trials: Mapping[str, TrialHistory], rows: Sequence[Reported]) -> None:
        """Take in the next rows."""
        layouts = {tuple(row.metrics) for row in rows}
        if len(layouts) != 1 or not self._add_alike(layouts.pop(), rows):
            for count, row in enumerate(rows, self._count):
                self._add_metrics(count, row)
        codes = self._attempt_codes
        keys = [(row.trial, row.attempt) for row in rows]
        for key, row in zip(keys, rows, strict=True):
            if key not in codes:
                codes[key] = len(codes)
                self._attempts.append((trials[row.trial], trials[row.trial].attempt_of(row)))
        self._attempt.extend(map(codes.__getitem__, keys))
        for name, (_, values_of) in _NUMBERS.items():
            self._numbers[name].extend(values_of(rows))
        for count, row in enumerate(rows, self._count):
            if row.checkpoint is not None:
                self._directories[count] = row.checkpoint.directory
            if row.decision is Decision.STOP or row.metrics.get("done") is True:
                self._done.append(count)
        self._count += len(rows)

    def _add_alike(self, layout: tuple[str, ...], rows: Sequence[Reported]) -> bool:
        """Add the metrics of rows that have the same ones, numbers where there were numbers; False if it is not so."""
        count = self._count
        parts = list(zip(*(row.metrics.values() for row in rows), strict=True))
        columns = []
        for name, values in zip(layout, parts, strict=True):
            kinds = set(map(type, values))
            column = self._metrics.get(name)
            if column is None and count == 0 and len(kinds) == 1 and kinds <= _PACKED:
                column = array("d" if float in kinds else "q")
            if column is None or len(column) != count or not _fits(column, kinds):
                return False
            columns.append(column)
        try:
            for column, values in zip(columns, parts, strict=True):
                column.extend(values)
        except OverflowError:  # a number that no packed column can hold
            for column in columns:
                del column[count:]
            return False
        self._metrics.update(zip(layout, columns, strict=True))
        return True

    def _add_metrics(self, count: int, row: Reported) -> None:
        """Add the metrics of a row that is like no other."""
        values = from_data(row.metrics)
        assert isinstance(values, dict)
        for name, value in flatten(values).items():
            self._metrics[name] = _appended(self._metrics.get(name), count, value)

    def build(self) -> Table:
        """Return the table."""
        count = self._count
        columns: dict[str, Column] = {name: _padded(column, count) for name, column in self._metrics.items()}
        facts = self._facts_of_attempts()

        def of_attempt(name: str) -> Repeated:
            return Repeated(facts.pop(name, []), self._attempt)

        numbers = self._numbers
        seconds = list(dict.fromkeys(numbers["timestamp"]))
        place = {second: index for index, second in enumerate(seconds)}
        directories = array("q", [0]) * count
        for code, index in enumerate(self._directories, 1):
            directories[index] = code
        done = array("q", [0]) * count
        for index in self._done:
            done[index] = 1
        went_on_from = [attempt.iteration for _, attempt in self._attempts]
        filled_in: dict[str, Column] = {
            "timestamp": numbers["timestamp"],
            "checkpoint_dir_name": Repeated([None, *self._directories.values()], directories),
            "done": Repeated([False, True], done),
            "training_iteration": numbers["training_iteration"],
            "trial_id": of_attempt("trial_id"),
            "date": Repeated(
                [date_of(second) for second in seconds],
                array("q", map(place.__getitem__, numbers["timestamp"])),
            ),
            "time_this_iter_s": numbers["time_this_iter_s"],
            "time_total_s": numbers["time_total_s"],
            "pid": of_attempt("pid"),
            "hostname": of_attempt("hostname"),
            "node_ip": of_attempt("node_ip"),
            "time_since_restore": numbers["time_since_restore"],
            "iterations_since_restore": array(
                "q",
                [
                    iteration - went_on_from[code]
                    for iteration, code in zip(numbers["training_iteration"], self._attempt, strict=True)
                ],
            ),
        }
        for name in filled_in:
            columns.pop(name, None)
        columns.update(filled_in)
        for name in list(facts):
            columns[name] = of_attempt(name)
        return Table(columns, count)

    def _facts_of_attempts(self) -> dict[str, list[Any]]:
        """Return, by column, one value for each attempt."""
        facts: dict[str, list[Any]] = {}
        cloned = any(attempt.segment for _, attempt in self._attempts)
        for i, (trial, attempt) in enumerate(self._attempts):
            row: dict[str, Any] = {
                "trial_id": trial.id,
                "pid": attempt.pid,
                "hostname": attempt.host,
                "node_ip": attempt.node_ip,
            }
            if cloned:
                row["trial_segment"] = attempt.segment
            row.update(flatten(self._config_of(trial, attempt), "config/"))
            for name, value in row.items():
                column = facts.setdefault(name, [])
                column.extend([_MISSING] * (i - len(column)))
                column.append(value)
        for column in facts.values():
            column.extend([_MISSING] * (len(self._attempts) - len(column)))
        return facts


def _fits(column: Plain, kinds: set[type]) -> bool:
    """Whether values of these types can be appended to a column as they are."""
    if isinstance(column, list):
        return _CONTAINERS.isdisjoint(kinds)
    return kinds <= _PACKED if column.typecode == "d" else kinds == {int}


def _appended(column: Plain | None, count: int, value: Any) -> Plain:
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


def _padded(column: Plain, count: int) -> Plain:
    """Return the column with NaN for the elements it lacks."""
    if len(column) < count:
        if isinstance(column, array) and column.typecode == "q":
            column = array("d", column)
        column.extend([_MISSING] * (count - len(column)))
    return column


def table(batches: Iterable[Batch], config_of: ConfigOf) -> Table:
    """Return the given rows as a table."""
    builder = TableBuilder(config_of)
    for trials, rows in batches:
        builder.add(trials, rows)
    return builder.build()
