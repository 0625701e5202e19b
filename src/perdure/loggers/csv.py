"""`progress.csv`: one row a line, nested metrics as `a/b`, without the configuration."""

from __future__ import annotations

import csv
import functools
import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from perdure.loggers.base import FileLogger
from perdure.loggers.files import AppendFile, OpenFiles, flush_each
from perdure.loggers.row import LoggedRow, flat_of

if TYPE_CHECKING:
    from perdure.trial_view import TrialView

PROGRESS_FILE = "progress.csv"
WIDEN_SHARE = 20
"""A file is rewritten for new columns at most one part in so many of the time."""
_REBUILD_PIECE = 256


class CSVLoggerCallback(FileLogger):
    """Writes each row to `progress.csv`.

    A metric that is first seen late gets its column: the file is rewritten with the wider header, in one step, and
    what earlier rows lack is empty. Many new columns cost one rewriting, not one each: rows wait for it meanwhile.
    """

    def __init__(self) -> None:
        self._files = OpenFiles()
        self._trials: dict[str, CsvFile] = {}
        self._dirty: dict[str, CsvFile] = {}

    def log_trial_start(self, trial: TrialView) -> None:
        """Do nothing: the file is made with the first row."""

    def log_trial_result(self, iteration: int, trial: TrialView, result: dict[str, Any]) -> None:
        """Append a row."""
        file = self._trials.get(trial.trial_id)
        if file is None:
            file = self._trials[trial.trial_id] = CsvFile(_path(trial), self._files)
        file.add(result.flat() if isinstance(result, LoggedRow) else flat_of(result))
        self._dirty[trial.trial_id] = file

    def log_trial_end(self, trial: TrialView, failed: bool = False) -> None:
        """Close the trial's file."""
        file = self._trials.pop(trial.trial_id, None)
        self._dirty.pop(trial.trial_id, None)
        if file is not None:
            file.close()

    def rebuild(self, trial: TrialView, rows: Iterable[dict[str, Any]]) -> None:
        """Replace `progress.csv`."""
        old = self._trials.pop(trial.trial_id, None)
        self._dirty.pop(trial.trial_id, None)
        if old is not None:
            old.discard()
        path = _path(trial)
        file = CsvFile(f"{path}.tmp", self._files, fresh=True)
        for i, row in enumerate(rows):
            file.add(row.flat() if isinstance(row, LoggedRow) else flat_of(row))
            if i % _REBUILD_PIECE == _REBUILD_PIECE - 1:
                file.flush()
        file.move(path)
        self._trials[trial.trial_id] = file

    def flush(self) -> None:
        """Hand every row to the operating system, but those that wait for a rewriting of their file."""
        flush_each(self._dirty, CsvFile.flush)

    def close(self) -> None:
        """Write everything, and close every file."""
        try:
            flush_each(self._dirty, CsvFile.close)
        finally:
            self._files.close_all()


def _path(trial: TrialView) -> str:
    return f"{trial.path}{os.sep}{PROGRESS_FILE}"


class CsvFile:
    """One trial's file.

    Args:
        path: Where it is.
        files: Where open files are kept.
        fresh: Start anew; otherwise an existing file is gone on with, under its header.
    """

    def __init__(self, path: str, files: OpenFiles, *, fresh: bool = False) -> None:
        self._file = AppendFile(path, files)
        self._pending: list[dict[str, Any]] = []
        self._in_file: int | None = None  # columns of the header that stands in the file, once that is known
        self._widen_at = 0.0
        if fresh:
            _remove(path)
        self._columns: dict[str, None] = {}

    def add(self, row: dict[str, Any]) -> None:
        """Take in a flat row."""
        self._pending.append(row)
        columns = self._columns
        if not row.keys() <= columns.keys():
            columns.update(dict.fromkeys(row))

    def flush(self, *, force: bool = False) -> bool:
        """Write what can be written; False if rows wait for the file to be rewritten with more columns."""
        if self._pending:
            if self._in_file is None:
                self._begin()
            elif len(self._columns) > self._in_file and not self._widen(self._in_file, force=force):
                return False
            self._file.write(self._text(self._pending))
            self._pending.clear()
        self._file.flush()
        return True

    def close(self) -> None:
        """Write everything, and close the file."""
        self.flush(force=True)
        self._file.close()

    def discard(self) -> None:
        """Forget what waits, and close the file."""
        self._pending.clear()
        self._file.discard()

    def move(self, path: str) -> None:
        """Write everything, and give the file another name, in the place of what has it."""
        self.close()
        if self._in_file is not None:
            os.replace(self._file.path, path)
        else:
            _remove(path)
        self._file.path = path

    def _text(self, rows: Iterable[dict[str, Any]]) -> bytes:
        lines: list[str] = []
        write = csv.writer(_Sink(lines), lineterminator="\n").writerow
        columns = tuple(self._columns)
        for row in rows:
            if tuple(row) == columns:
                write(row.values())
            else:
                write([row.get(column, "") for column in columns])
        return _bytes_of("".join(lines))

    def _begin(self) -> None:
        """Make the file, with a header; or go on with the one that is there."""
        there = [] if self._file.create() else _header(self._file.path)
        self._columns = dict.fromkeys(there) | self._columns
        if there and len(self._columns) > len(there):
            self._rewrite(len(there))
        elif not there:
            self._file.write(_header_of(tuple(self._columns)))
        self._in_file = len(self._columns)

    def _widen(self, in_file: int, *, force: bool) -> bool:
        """Put a header with all columns at the top. False if it is too early to do that again."""
        started = time.monotonic()
        if started < self._widen_at and not force:
            return False
        self._rewrite(in_file)
        ended = time.monotonic()
        self._widen_at = ended + WIDEN_SHARE * (ended - started)
        self._in_file = len(self._columns)
        return True

    def _rewrite(self, in_file: int) -> None:
        self._file.flush()
        self._file.close()
        path = self._file.path
        temporary = f"{path}.wide"
        missing = [""] * (len(self._columns) - in_file)
        with open(path, newline="", encoding="utf-8") as old, open(temporary, "w", newline="", encoding="utf-8") as new:
            new.write(_header_of(tuple(self._columns)).decode())
            rows = csv.reader(old)
            next(rows, None)
            csv.writer(new, lineterminator="\n").writerows(row + missing for row in rows)
        os.replace(temporary, path)


class _Sink:
    """What a csv writer writes to."""

    __slots__ = ("write",)

    def __init__(self, lines: list[str]) -> None:
        self.write = lines.append


@functools.lru_cache(maxsize=128)
def _header_of(columns: tuple[str, ...]) -> bytes:
    header: list[str] = []
    csv.writer(_Sink(header), lineterminator="\n").writerow(columns)
    return _bytes_of(header[0])


def _bytes_of(text: str) -> bytes:
    return text.encode(errors="backslashreplace")  # a name of a file may hold half of a surrogate pair


def _header(path: str) -> list[str]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return next(csv.reader(file), [])
    except FileNotFoundError:
        return []


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
