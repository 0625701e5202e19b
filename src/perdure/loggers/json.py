"""`result.json`, one row a line, and the parameters of a trial: `params.json` and `params.pkl`."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from perdure.loggers.base import FileLogger
from perdure.loggers.files import AppendFile, OpenFiles, flush_each, replace_file
from perdure.loggers.row import LoggedRow

if TYPE_CHECKING:
    from perdure.trial_view import TrialView

RESULT_FILE = "result.json"
PARAMS_FILE = "params.json"
PARAMS_PICKLE = "params.pkl"

_encode = msgspec.json.Encoder().encode


class JsonLoggerCallback(FileLogger):
    """Writes each row to `result.json` as one line of JSON, with NaN and infinities spelled as Python's json does."""

    def __init__(self) -> None:
        self._files = OpenFiles()
        self._trials: dict[str, _TrialFile] = {}
        self._dirty: dict[str, AppendFile] = {}

    def log_trial_start(self, trial: TrialView) -> None:
        """Write the trial's parameters, if they are new."""
        known = self._trials.get(trial.trial_id)
        if known is None:
            known = self._trials[trial.trial_id] = _TrialFile(AppendFile(_result_path(trial), self._files))
        if known.config is None or known.config != trial.config:
            known.config = trial.config
            write_params(trial, known.text_of(trial.config))

    def log_trial_result(self, iteration: int, trial: TrialView, result: dict[str, Any]) -> None:
        """Append a row."""
        known = self._trials.get(trial.trial_id)
        if known is None:
            self.log_trial_start(trial)
            known = self._trials[trial.trial_id]
        known.file.write(known.line(result))
        self._dirty[trial.trial_id] = known.file

    def log_trial_end(self, trial: TrialView, failed: bool = False) -> None:
        """Close the trial's file."""
        known = self._trials.pop(trial.trial_id, None)
        self._dirty.pop(trial.trial_id, None)
        if known is not None:
            known.file.close()

    def rebuild(self, trial: TrialView, rows: Iterable[dict[str, Any]]) -> None:
        """Replace `result.json` and the parameters."""
        known = self._trials.get(trial.trial_id)
        if known is None:
            known = self._trials[trial.trial_id] = _TrialFile(AppendFile(_result_path(trial), self._files))
        known.file.discard()
        self._dirty.pop(trial.trial_id, None)
        replace_file(known.file.path, _joined(known.line(row) for row in rows))
        known.config = trial.config
        write_params(trial, known.text_of(trial.config))

    def flush(self) -> None:
        """Hand every row to the operating system."""
        flush_each(self._dirty, AppendFile.flush)

    def close(self) -> None:
        """Flush, and close every file."""
        try:
            self.flush()
        finally:
            self._files.close_all()


class _TrialFile:
    """The file of one trial, and its configuration as JSON, which every row repeats."""

    __slots__ = ("_text", "_text_of", "config", "file")

    def __init__(self, file: AppendFile) -> None:
        self.file = file
        self.config: Any = None
        """What was written to `params.json`."""
        self._text_of: Any = None
        self._text = b"null"

    def text_of(self, config: Any) -> bytes:
        """Return a configuration as JSON."""
        if config is not self._text_of:
            self._text_of = config
            self._text = to_json(config, ordered=True).encode()
        return self._text

    def line(self, row: dict[str, Any]) -> bytes:
        """Return a row as a line."""
        if not (isinstance(row, LoggedRow) and row.plain):
            return to_json(row).encode() + b"\n"
        return _encode({**row, "config": msgspec.Raw(self.text_of(row["config"]))}) + b"\n"


def to_json(value: Any, *, ordered: bool = False) -> str:
    """Return a value as JSON. What JSON lacks is written as Python's json does (NaN), or as its repr.

    Args:
        ordered: With the keys in order.
    """
    to_text = _to_ordered_text if ordered else _to_text
    try:
        return to_text(value)
    except (TypeError, ValueError):  # keys that are no strings
        return to_text(_with_text_keys(value))


def _fallback(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    item = getattr(value, "item", None)
    if callable(item):
        try:
            return item()
        except (TypeError, ValueError):
            pass
    return repr(value)


_to_text = json.JSONEncoder(default=_fallback).encode
_to_ordered_text = json.JSONEncoder(default=_fallback, sort_keys=True).encode


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {name if isinstance(name, str) else repr(name): _with_text_keys(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_text_keys(item) for item in value]
    return value


def _joined(lines: Iterator[bytes], size: int = 256) -> Iterator[bytes]:
    """Yield the lines in larger pieces."""
    piece: list[bytes] = []
    for line in lines:
        piece.append(line)
        if len(piece) >= size:
            yield b"".join(piece)
            piece.clear()
    yield b"".join(piece)


def _result_path(trial: TrialView) -> str:
    return f"{trial.path}{os.sep}{RESULT_FILE}"


def write_params(trial: TrialView, text: bytes) -> None:
    """Write the trial's parameters as `text`, and as a pickle unless the runner has already put objects there."""
    path = trial.path
    _write(f"{path}{os.sep}{PARAMS_FILE}", _indented(text))
    if not trial.has_objects:
        _write(f"{path}{os.sep}{PARAMS_PICKLE}", pickle.dumps(trial.config))


def _indented(text: bytes) -> bytes:
    try:
        return msgspec.json.format(text, indent=2)
    except msgspec.DecodeError:  # it spells NaN
        return json.dumps(json.loads(text), indent=2).encode()


def _write(path: str, data: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except (FileExistsError, FileNotFoundError):
        replace_file(path, (data,))
        return
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
