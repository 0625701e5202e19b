"""`error.txt`: the traceback of each failure of a trial, oldest first."""

from __future__ import annotations

import os
from collections.abc import Iterable

from perdure.core.events import ErrorInfo
from perdure.history import AttemptHistory
from perdure.loggers.files import replace_file
from perdure.rows import date_of

ERROR_FILE = "error.txt"


def append_error(path: str, attempt: AttemptHistory) -> None:
    """Append what ended an attempt to the `error.txt` of the trial's directory at `path`."""
    if attempt.error is not None:
        os.makedirs(path, exist_ok=True)  # its process makes it, and may not have come so far
        with open(os.path.join(path, ERROR_FILE), "a", encoding="utf-8") as file:
            file.write(_entry(attempt, attempt.error))


def rebuild_errors(path: str, attempts: Iterable[AttemptHistory]) -> None:
    """Replace `error.txt` by one that has the error of each attempt once; there is none if none failed."""
    text = "".join(_entry(attempt, attempt.error) for attempt in attempts if attempt.error is not None)
    target = os.path.join(path, ERROR_FILE)
    if text:
        replace_file(target, (text.encode(),))
    elif os.path.exists(target):
        os.unlink(target)


def _entry(attempt: AttemptHistory, error: ErrorInfo) -> str:
    at = date_of(int(attempt.ended_at or attempt.planned_at))
    text = error.traceback.rstrip() or f"{error.kind}: {error.message}"
    return f"Failure of attempt {attempt.number} at {at}\n{text}\n\n"
