"""TensorBoard event files: every number of every row, and the hyperparameters."""

from __future__ import annotations

import functools
import glob
import itertools
import os
import socket
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from perdure.loggers import tfevents
from perdure.loggers.base import FileLogger
from perdure.loggers.files import AppendFile, OpenFiles, flush_each, replace_file
from perdure.loggers.row import LoggedRow, flat_of
from perdure.rows import flatten

if TYPE_CHECKING:
    from perdure.trial_view import TrialView

SUFFIX = "perdure"
NOT_LOGGED = frozenset(
    (
        *("timestamp", "pid", "training_iteration", "time_total_s"),  # no metrics; Ray Tune leaves them out too
        *("checkpoint_dir_name", "done", "trial_id", "date", "hostname", "node_ip"),  # no numbers: not even looked at
    )
)
_MAX_TEXT = 200


class TBXLoggerCallback(FileLogger):
    """Writes each number of a row under its own name (nested ones as `a/b`) at step `training_iteration`.

    The files are written by perdure itself; TensorBoard is needed only to look at them.
    """

    def __init__(self) -> None:
        self._files = OpenFiles()
        self._scalars = tfevents.ScalarEncoder(NOT_LOGGED)
        self._trials: dict[str, AppendFile] = {}
        self._dirty: dict[str, AppendFile] = {}

    def log_trial_start(self, trial: TrialView) -> None:
        """Do nothing: the file is made with the first row."""

    def log_trial_result(self, iteration: int, trial: TrialView, result: dict[str, Any]) -> None:
        """Append a row."""
        file = self._trials.get(trial.trial_id)
        if file is None:
            file = self._open(trial, result.get("timestamp"))
        file.write(self._event(result))
        self._dirty[trial.trial_id] = file

    def log_trial_end(self, trial: TrialView, failed: bool = False) -> None:
        """Say how the trial ended, and close its file."""
        file = self._trials.pop(trial.trial_id, None)
        self._dirty.pop(trial.trial_id, None)
        if file is not None:
            file.write(tfevents.hparams_end(time.time(), failed=failed))
            file.close()

    def rewind(self, trial: TrialView, step: int) -> bool:
        """Void what was logged after `step`; False if there is no file to say it in."""
        file = self._trials.get(trial.trial_id)
        if file is None:
            return False
        file.write(tfevents.session_start(time.time(), step + 1))
        self._dirty[trial.trial_id] = file
        return True

    def rebuild(self, trial: TrialView, rows: Iterable[dict[str, Any]]) -> None:
        """Write a new file, which voids all that was logged, and empty the one written before.

        The old file stays, with nothing but its first record, for a TensorBoard that is reading it: it looks for
        the next file only when the one it reads ends, and is stuck when that is gone.
        """
        old = self._trials.pop(trial.trial_id, None)
        self._dirty.pop(trial.trial_id, None)
        if old is not None:
            old.discard()
        mine = os.path.join(glob.escape(trial.path), f"events.out.tfevents.*.{SUFFIX}")
        for path in glob.glob(f"{mine}.tmp"):  # of a driver that died here; no later one has the same name
            os.unlink(path)
        before = sorted(glob.glob(mine))
        events = (self._event(row) for row in rows)
        first = next(events, None)
        if first is None and not before:
            return  # the file is made with the first row
        now = time.time()
        file = AppendFile(self._new_path(trial, now, before), self._files)
        head = self._head(trial, now) + (tfevents.session_start(now, 0) if before else b"")
        replace_file(file.path, itertools.chain((head, first or b""), events))
        for path in before[:-1]:
            os.unlink(path)
        for path in before[-1:]:
            replace_file(path, (tfevents.version_event(now),))
        self._trials[trial.trial_id] = file

    def flush(self) -> None:
        """Hand every row to the operating system."""
        flush_each(self._dirty, AppendFile.flush)

    def close(self) -> None:
        """Flush, and close every file."""
        try:
            self.flush()
        finally:
            self._files.close_all()

    def _open(self, trial: TrialView, at: float | None) -> AppendFile:
        now = time.time() if at is None else float(at)
        file = AppendFile(self._new_path(trial, now, ()), self._files)
        file.write(self._head(trial, now))
        self._trials[trial.trial_id] = file
        return file

    def _new_path(self, trial: TrialView, now: float, before: Iterable[str]) -> str:
        """Return a name that sorts after the ones there are, so that TensorBoard reads it last."""
        second = max((int(os.path.basename(path).split(".")[3]) + 1 for path in before), default=0)
        name = f"events.out.tfevents.{max(second, int(now)):010d}.{_host()}.{SUFFIX}"
        return f"{trial.path}{os.sep}{name}"

    def _head(self, trial: TrialView, now: float) -> bytes:
        return tfevents.version_event(now) + tfevents.hparams_start(now, hyperparameters(trial.config))

    def _event(self, row: dict[str, Any]) -> bytes:
        flat = row.flat() if isinstance(row, LoggedRow) else flat_of(row)
        return self._scalars.event(row.get("timestamp", 0), row.get("training_iteration", 0), flat)


@functools.cache
def _host() -> str:
    return socket.gethostname()


def hyperparameters(config: dict[str, Any]) -> dict[str, float | bool | str]:
    """Return a configuration as what TensorBoard shows: flat, and text where it is no number."""
    return {
        str(name): value if isinstance(value, (bool, int, float, str)) else repr(value)[:_MAX_TEXT]
        for name, value in flatten(config).items()
    }
