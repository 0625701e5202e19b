"""Rows as tables: built column by column, so that a million rows never become a million dictionaries.

A `Table` belongs to no library; it becomes a dataframe of pandas or polars, or a table of Arrow. Each of them is loaded
when the first one is made.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import struct
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, Union

from perdure.core.events import Data, Decision, Reported
from perdure.errors import ConfigurationError
from perdure.history import AttemptHistory, TrialHistory
from perdure.journal.values import dict_from_data
from perdure.rows import date_of, flatten

LIBRARIES = ("pandas", "polars", "pyarrow")
"""What `frame` can make a dataframe of."""

_MISSING = float("nan")
_CONTAINERS = frozenset((dict, list))
_PACKED = frozenset((float, int))
_NUMBERS: dict[str, tuple[str, Callable[[Sequence[Reported]], list[Any]]]] = {
    "timestamp": ("q", lambda rows: [int(row.at) for row in rows]),
    "training_iteration": ("q", lambda rows: [row.iteration for row in rows]),
    "time_this_iter_s": ("d", lambda rows: [row.time_this_iter_s for row in rows]),
    "time_total_s": ("d", lambda rows: [row.time_total_s for row in rows]),
    "time_since_restore": ("d", lambda rows: [row.time_since_restore_s for row in rows]),
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
        self._attempt_codes: dict[int, dict[str, int]] = {}  # by number and trial
        self._attempt = array("q")  # for each row, the index of its attempt
        self._numbers: dict[str, array[Any]] = {name: array(kind) for name, (kind, _) in _NUMBERS.items()}
        self._directories: dict[int, str] = {}
        self._done: list[int] = []

    def add(self, trials: Mapping[str, TrialHistory], rows: Sequence[Reported]) -> None:
        """Take in the next rows, column by column: a call for each value would take most of the time."""
        first = self._count
        metrics = [row.metrics for row in rows]
        if not self._add_alike(metrics):
            for count, values in enumerate(metrics, first):
                self._add_metrics(count, values)
        _extend(self._attempt, self._codes_of(trials, rows))
        for name, (_, values_of) in _NUMBERS.items():
            _extend(self._numbers[name], values_of(rows))
        checkpoints = [row.checkpoint for row in rows]
        if checkpoints.count(None) < len(rows):
            self._directories.update(
                (count, checkpoint.directory)
                for count, checkpoint in enumerate(checkpoints, first)
                if checkpoint is not None
            )
        decisions = [row.decision for row in rows]
        if "done" in self._metrics or decisions.count(Decision.CONTINUE) < len(rows):
            self._done += [
                count
                for count, (decision, values) in enumerate(zip(decisions, metrics, strict=True), first)
                if decision is Decision.STOP or values.get("done") is True
            ]
        self._count += len(rows)

    def _codes_of(self, trials: Mapping[str, TrialHistory], rows: Sequence[Reported]) -> list[int]:
        """Return for each row the index of its attempt, those that are new among them."""
        codes = self._attempt_codes
        with contextlib.suppress(KeyError):
            return [codes[row.attempt][row.trial] for row in rows]
        for row in rows:
            of_number = codes.setdefault(row.attempt, {})
            if row.trial not in of_number:
                of_number[row.trial] = len(self._attempts)
                self._attempts.append((trials[row.trial], trials[row.trial].attempt_of(row)))
        return [codes[row.attempt][row.trial] for row in rows]

    def _add_alike(self, rows: Sequence[Data]) -> bool:
        """Add metrics that need no decoding and fit what was there; False, with nothing added, if it is not so."""
        count = self._count
        columns: list[tuple[str, Plain, list[Any]]] = []
        for name, values in _by_column(rows).items():
            kinds = set(map(type, values))
            column = self._metrics.get(name)
            if column is None and count == 0 and len(kinds) == 1 and kinds <= _PACKED:
                column = array("d" if float in kinds else "q")
            column = None if column is None else _padded(column, count)
            if column is None or not _fits(column, kinds):
                return False
            columns.append((name, column, values))
        try:
            for _, column, values in columns:
                _extend(column, values)
        except (OverflowError, struct.error):  # a number that no packed column can hold
            for _, column, _ in columns:
                del column[count:]
            return False
        self._metrics.update((name, column) for name, column, _ in columns)
        return True

    def _add_metrics(self, count: int, metrics: Data) -> None:
        """Add the metrics of a row that is like no other."""
        for name, value in flatten(dict_from_data(metrics)).items():
            self._metrics[name] = _appended(self._metrics.get(name), count, value)

    def build(self) -> Table:
        """Return the table."""
        count = self._count
        columns: dict[str, Column] = {name: _padded(column, count) for name, column in self._metrics.items()}
        facts = self._facts_of_attempts()
        filled_in = self._filled_in(facts)
        for name in filled_in:
            columns.pop(name, None)
        columns.update(filled_in)
        columns.update(
            (name, Repeated(values, self._attempt)) for name, values in facts.items() if name not in filled_in
        )
        return Table(columns, count)

    def _filled_in(self, facts: Mapping[str, list[Any]]) -> dict[str, Column]:
        """Return the columns that Ray Tune fills in, in its order; `facts` has what attempts share."""

        def of_attempt(name: str) -> Repeated:
            return Repeated(facts.get(name, []), self._attempt)

        count = self._count
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
        return {
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


def _by_column(rows: Sequence[Data]) -> dict[str, list[Any]]:
    """Return the values of each metric, NaN where a row lacks it."""
    names = list(rows[0])
    if sum(map(len, rows)) == len(names) * len(rows):
        with contextlib.suppress(KeyError):  # as many, but others
            return {name: list(map(itemgetter(name), rows)) for name in names}
    every = dict.fromkeys(itertools.chain.from_iterable(rows))
    return {name: [row.get(name, _MISSING) for row in rows] for name in every}


def _extend(column: Plain, values: Sequence[Any]) -> None:
    """Append many values; to a packed column in a sixth of the time that `array.extend` takes."""
    if isinstance(column, array):
        column.frombytes(struct.pack(f"{len(values)}{column.typecode}", *values))
    else:
        column.extend(values)


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
