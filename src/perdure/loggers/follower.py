"""Loggers, apart from the loop: a reader of the journal that tells them what happened.

`Follower` does the work and may run anywhere: it knows the experiment's path, a reader and the loggers, nothing of
the runner. `thread.LoggerFollower` runs one beside the driver's loop. Neither ever raises into the experiment.

The journal is the truth and the files are views of it. How far the files are known to be right is written down now
and then (`loggers.json`, the watermark). A session makes the files of a trial anew when it may not trust them: where
the machine was started anew since, where the trial was touched after the watermark of the session before, when it
first touches a trial that has rows already, and when rows were rolled back. So each row stands once in each file,
whatever was killed when.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from perdure.checkpoint import Checkpoint
from perdure.core.events import (
    AnyEvent,
    AttemptEnded,
    AttemptStarted,
    CheckpointCommitted,
    CheckpointInfo,
    Data,
    Decision,
    Outcome,
    Reported,
    StopRequested,
    TrialActed,
    TrialRequeued,
)
from perdure.history import ExperimentHistory, TrialHistory, view_of
from perdure.journal import codec
from perdure.journal.base import START, JournalReader, Position
from perdure.journal.values import dict_from_data, has_objects
from perdure.loggers.base import FileLogger, LoggerCallback
from perdure.loggers.errors import append_error, rebuild_errors
from perdure.loggers.files import replace_file
from perdure.loggers.row import LoggedRow
from perdure.loggers.tensorboard import TBXLoggerCallback
from perdure.rows import RowOrigin, expand_row, is_plain
from perdure.storage.processes import boot_id
from perdure.trainable.failure import user_traceback
from perdure.trial_view import TrialView

WATERMARK_FILE = "loggers.json"
SLICE_S = 0.0005
"""Seconds of work between two pauses, while the experiment runs."""
WATERMARK_S = 1.0
"""Least seconds between two watermarks."""
TRACKER_WATERMARK_FILE = "trackers.json"
"""How far loggers of the user know, which have a thread of their own: one that blocks does not hold up the files."""
PORTION = 1000
"""Records between two times that all files are flushed."""
_CLOCK_EVERY = 4  # events between looks at the clock

ObjectLoader = Callable[[str], Mapping[str, object]]

_log = logging.getLogger(__name__)


class _Watermark(msgspec.Struct):
    epoch: int
    sequence: int
    offset: int
    boot_id: str = ""


class _Live:
    """What the follower holds of a trial whose files are open."""

    __slots__ = ("attempt", "data", "origin", "superseded", "view")

    def __init__(self, view: TrialView, data: Data) -> None:
        self.view = view
        self.data = data
        """The configuration that `view.config` was decoded from."""
        self.attempt = -1
        self.origin: RowOrigin | None = None
        self.superseded = 0


class Follower:
    """Tells loggers what a journal says.

    Args:
        path: The experiment's directory.
        reader: Reads its journal.
        loggers: Whom to tell, in this order.
        on_problem: Given a sentence and a traceback for the first error of each logger.
        load_objects: Loads the objects of a trial's configuration, given its directory's name; None shows reprs.
        pause: Called between slices of work.
        watermark: Name of the file that says how far the loggers know; None tells them everything from the first
            record on, and writes none.
        keeps_errors: Keep each trial's `error.txt`, too.
        portion: Records that are told at a time.
        exact: The files hold nothing beyond the watermark either: another follower has just closed them, or there are
            none yet.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        reader: JournalReader,
        loggers: Sequence[LoggerCallback],
        *,
        on_problem: Callable[[str], None] | None = None,
        load_objects: ObjectLoader | None = None,
        pause: Callable[[], None] | None = None,
        watermark: str | None = WATERMARK_FILE,
        keeps_errors: bool = True,
        portion: int = PORTION,
        exact: bool = False,
    ) -> None:
        self.path = os.fspath(path)
        self._exact = exact
        self._portion = portion
        self._watermark_file = None if watermark is None else os.path.join(self.path, watermark)
        self._keeps_errors = keeps_errors
        self._reader = reader
        self._loggers = list(loggers)
        self._files = [logger for logger in loggers if isinstance(logger, FileLogger)]
        self._others = [logger for logger in loggers if not isinstance(logger, FileLogger)]
        self._on_problem = on_problem if on_problem is not None else _log.warning
        self._load_objects = load_objects
        self.telling: tuple[str, float] | None = None
        """The hook that a logger is in, and since when by the monotonic clock; but for rows of loggers of files."""
        self._pause = pause
        self._history = ExperimentHistory(reader, path=self.path)
        self._live: dict[str, _Live] = {}
        self._views: list[TrialView] = []
        self._rows = 0
        self._complained: set[tuple[int, str]] = set()
        self._watermark = _read_watermark(self._watermark_file)
        self._written = self._watermark
        self._written_at = 0.0
        self._lacking = False
        """Whether a file lacks something that its logger could not take: then the watermark stays, and the next
        session makes the file anew."""
        self._caught_up = False
        self._is_set_up = False
        self._touched: dict[str, None] = {}
        self._slice_ends = 0.0

    @property
    def position(self) -> Position:
        """Of the last record that the files are right up to, once they are flushed."""
        return self._history.position if self._caught_up else self._watermark

    def follow(self) -> int:
        """Tell the loggers what was written since the last call, and return how many records that was.

        No more than a portion of them, but for the first call: a journal may grow as fast as it is read.
        """
        if not self._caught_up:
            return self._go_on() if self._exact else self._catch_up()
        count = 0
        for position, event in self._reader.read(self._history.position):
            self._take(position, event, self._files)
            count += 1
            if count == self._portion:
                break
            if not count % _CLOCK_EVERY:
                self._breathe()
        return count

    def flush(self) -> None:
        """Hand the files' rows to the operating system, and write down how far they are right."""
        flushed = [self._guard(logger, "flush", logger.flush) for logger in self._files]
        if all(flushed) and time.monotonic() - self._written_at >= WATERMARK_S:
            self._write_watermark()

    def close(self) -> bool:
        """Flush, close every file, and write down how far they are right. The follower is of no use afterwards.

        Returns whether all of that was done.
        """
        closed = [self._guard(logger, "close", logger.close) for logger in self._files]
        return all(closed) and self._write_watermark()

    def end_experiment(self) -> None:
        """Tell the loggers that the experiment is over."""
        for logger in self._loggers:
            self._guard(logger, "on_experiment_end", partial(logger.on_experiment_end, trials=self._views))

    # --- catching up with what is there already

    def _catch_up(self) -> int:
        """Fold what earlier sessions wrote, and make anew the files that they may have left stale or torn."""
        count = 0
        for position, event in self._reader.read(START):
            if (position.epoch, position.sequence) > (self._watermark.epoch, self._watermark.sequence):
                self._touch(event)
                self._take(position, event, [])
            else:
                self._history.fold(position, event)
            count += 1
            if not count % _CLOCK_EVERY:
                self._breathe()
        self._caught_up = True
        for trial_id in self._touched:
            trial = self._history.trials.get(trial_id)
            if trial is not None and trial.attempts:
                self._reconcile(trial)
        self._touched.clear()
        self._forget_finished()
        return count

    def _go_on(self) -> int:
        """Fold what another follower has told, holding no finished trials but those that ran again later."""
        again: set[str] = set()
        count = self._fold_told(again)
        if again:  # what they were before is known by the second reading
            self._history = ExperimentHistory(self._reader, path=self.path)
            self._fold_told(again)
        self._caught_up = True
        self._forget_finished()
        return count

    def _fold_told(self, again: set[str]) -> int:
        count = 0
        for position, event in self._reader.read(START):
            if (position.epoch, position.sequence) > (self._watermark.epoch, self._watermark.sequence):
                break
            if isinstance(event, TrialRequeued) and event.trial not in self._history.trials:
                again.add(event.trial)
            trial = self._history.fold(position, event)
            if trial is not None and trial.status.finished and trial.id not in again:
                self._history.forget(trial.id)
            count += 1
        return count

    def _forget_finished(self) -> None:
        for trial_id, trial in list(self._history.trials.items()):
            if trial.status.finished:
                self._history.forget(trial_id)

    def _touch(self, event: AnyEvent) -> None:
        if isinstance(event, (AttemptStarted, Reported, AttemptEnded, CheckpointCommitted, TrialRequeued)):
            self._touched[event.trial] = None

    def _reconcile(self, trial: TrialHistory) -> None:
        live = self._live_of(trial)
        self._rebuild(trial, live)
        if trial.status.finished:
            for logger in self._files:
                self._end(logger, live.view)
            self._drop(trial)

    # --- one event

    def _take(self, position: Position, event: AnyEvent, files: list[FileLogger]) -> None:
        """Fold an event and tell of it: everybody else, and of the file loggers `files`."""
        if isinstance(event, TrialRequeued) and event.trial not in self._history.trials:
            self._recall(event.trial)
        trial = self._history.fold(position, event)
        if not self._is_set_up:
            self._set_up()
        match event:
            case Reported():
                if trial is not None:
                    self._reported(trial, event, files)
                self._settle_all((action.trial for action in event.actions), files)
            case AttemptStarted() if trial is not None:
                self._started(trial, event, files)
            case AttemptEnded() if trial is not None:
                self._ended(trial, event, files)
            case CheckpointCommitted() if (known := self._history.trials.get(event.trial)) is not None:
                self._saved(known, self._met(known, files), event.checkpoint, files)
                self._settle(known.id, files)
            case TrialActed():
                self._settle_all((action.trial for action in (event.action, *event.more)), files)
            case StopRequested():
                self._settle_all(list(self._history.trials if self._caught_up else self._live), files)
            case _:
                pass

    def _settle_all(self, trials: Iterable[str], files: list[FileLogger]) -> None:
        for trial in trials:
            self._settle(trial, files)

    def _set_up(self) -> None:
        """Have each logger prepare: once a session, whether it begins the experiment or goes on with it."""
        self._is_set_up = True
        samples = self._history.state.spec.num_samples
        for logger in self._loggers:
            self._guard(logger, "setup", partial(logger.setup, num_samples=samples, total_num_samples=samples))

    def _started(self, trial: TrialHistory, event: AttemptStarted, files: list[FileLogger]) -> None:
        new = trial.id not in self._live
        live = self._live_of(trial)
        attempt = trial.attempt(event.attempt)
        view = live.view
        view.status = trial.status.value
        if trial.config is not live.data:
            live.data = trial.config
            view.config = self._decode(trial, trial.config)
            view.has_objects = has_objects(trial.config)
        live.attempt = -1
        self._heed_rollback(trial, live, files, new=new)
        told = [*self._others, *files]
        for logger in told:
            self._tell(logger, "on_trial_start", view)
            if attempt is not None and attempt.start is not None:
                self._tell(logger, "on_trial_restore", view)

    def _heed_rollback(self, trial: TrialHistory, live: _Live, files: list[FileLogger], *, new: bool) -> None:
        """Make the files right where rows were superseded, or were written by a session before this one."""
        superseded = trial.index.superseded
        rolled_back = superseded != live.superseded
        live.superseded = superseded
        if not files or not (rolled_back or (new and (trial.row_count or superseded))):
            return
        last = trial.last_row()
        step = last.iteration if last is not None else 0
        for logger in files:
            if not new and self._rewinds(logger, trial, live.view, step):
                continue
            self._rebuild_one(logger, trial, live.view)

    def _rewinds(self, logger: FileLogger, trial: TrialHistory, view: TrialView, step: int) -> bool:
        """Whether the logger could void the rows after `step` without writing its file anew."""
        if not isinstance(logger, TBXLoggerCallback) or any(attempt.segment for attempt in trial.attempts):
            return False
        try:
            return logger.rewind(view, step)
        except Exception:
            return False

    def _reported(self, trial: TrialHistory, event: Reported, files: list[FileLogger]) -> None:
        live = self._live.get(trial.id)
        if live is None or trial.index.superseded != live.superseded:
            live = self._met(trial, files)
            files = []  # the row is in the files that were made anew
        view = live.view
        origin = live.origin
        if origin is None or live.attempt != event.attempt:
            attempt = trial.attempt_of(event)
            config = view.config if attempt.config is live.data else self._decode(trial, attempt.config)
            origin = live.origin = attempt.origin(trial.id, config)
            live.attempt = event.attempt
        row = LoggedRow(expand_row(origin, event, done=event.decision is Decision.STOP), plain=is_plain(event.metrics))
        view.last_result = row
        self._rows += 1
        for logger in self._others:
            self._tell(logger, "on_trial_result", view, result=row)
        for logger in files:
            self._tell_row(logger, view, row)
        if event.checkpoint is not None:
            self._saved(trial, live, event.checkpoint, files)

    def _saved(self, trial: TrialHistory, live: _Live, info: CheckpointInfo, files: list[FileLogger]) -> None:
        view = live.view
        view.checkpoint = Checkpoint(os.path.join(view.path, info.directory))
        for logger in (*self._others, *files):
            self._tell(logger, "on_checkpoint", view, checkpoint=view.checkpoint)
            self._tell(logger, "on_trial_save", view)

    def _ended(self, trial: TrialHistory, event: AttemptEnded, files: list[FileLogger]) -> None:
        view = self._met(trial, files).view
        view.status = trial.status.value
        view.num_failures = trial.failures
        attempt = trial.attempt(event.attempt)
        if event.error is not None and attempt is not None:
            view.error_file = os.path.join(view.path, "error.txt")
            if self._caught_up and self._keeps_errors:
                self._guard(self, "error.txt", lambda: append_error(view.path, attempt))
        if not trial.status.finished:
            if event.outcome in (Outcome.FAILED, Outcome.LOST):
                for logger in (*self._others, *files):
                    self._tell(logger, "on_trial_recover", view)
            return
        self._settle(trial.id, files)

    def _settle(self, trial_id: str, files: list[FileLogger]) -> None:
        """Tell that a trial is over, if it is and was not told yet."""
        trial = self._history.trials.get(trial_id)
        if trial is None or not trial.status.finished:
            return
        live = self._met(trial, files) if files and trial.attempts else self._live.get(trial_id)
        if live is not None:
            live.view.status = trial.status.value
            for logger in (*self._others, *files):
                self._end(logger, live.view)
        if self._caught_up:
            self._drop(trial)
        else:
            self._touched[trial_id] = None

    def _end(self, logger: LoggerCallback, view: TrialView) -> None:
        self._tell(logger, "on_trial_error" if view.status == "ERROR" else "on_trial_complete", view)

    # --- trials

    def _met(self, trial: TrialHistory, files: list[FileLogger]) -> _Live:
        """Return what is held of a trial, whose files are right for what comes next."""
        new = trial.id not in self._live
        live = self._live_of(trial)
        self._heed_rollback(trial, live, files, new=new)
        return live

    def _live_of(self, trial: TrialHistory) -> _Live:
        live = self._live.get(trial.id)
        if live is None:
            view = view_of(
                trial,
                experiment_path=self.path,
                trainable=self._history.state.trainable,
                config=self._decode(trial, trial.config),
            )
            live = self._live[trial.id] = _Live(view, trial.config)
            self._views.append(view)
        return live

    def _decode(self, trial: TrialHistory, data: Data) -> dict[str, Any]:
        if is_plain(data):
            return data  # as it is: the history that it belongs to is the follower's own
        if self._load_objects is not None and has_objects(data):
            try:
                return dict_from_data(data, self._load_objects(trial.directory))
            except Exception as error:
                self._complain(self, "params.pkl", error)
        return dict_from_data(data)

    def _drop(self, trial: TrialHistory) -> None:
        """Hold nothing more of a finished trial."""
        live = self._live.pop(trial.id, None)
        if live is not None:
            self._views.remove(live.view)
        self._history.forget(trial.id)

    def _recall(self, trial_id: str) -> None:
        """Read a finished trial's history again, because it is to run again."""
        position = self._history.position
        keep = {trial_id, *self._history.trials}
        history = ExperimentHistory(self._reader, path=self.path)
        for at, event in self._reader.read(START):
            history.fold(at, event)
            if at.sequence >= position.sequence:
                break
        for known in [known for known in history.trials if known not in keep]:
            history.forget(known)
        self._history = history

    def _rebuild(self, trial: TrialHistory, live: _Live) -> None:
        live.superseded = trial.index.superseded
        for logger in self._files:
            self._rebuild_one(logger, trial, live.view)
        if self._keeps_errors:
            self._guard(self, "error.txt", lambda: rebuild_errors(live.view.path, trial.attempts))

    def _rebuild_one(self, logger: FileLogger, trial: TrialHistory, view: TrialView) -> None:
        try:
            logger.rebuild(view, self._rows_of(trial))
        except Exception as error:
            self._miss(logger, "rebuild", error)

    def _rows_of(self, trial: TrialHistory) -> Iterator[LoggedRow]:
        origins: dict[int, RowOrigin] = {}
        for count, row in enumerate(trial.rows()):
            origin = origins.get(row.attempt)
            if origin is None:
                attempt = trial.attempt_of(row)
                origin = origins[row.attempt] = attempt.origin(trial.id, self._decode(trial, attempt.config))
            yield LoggedRow(expand_row(origin, row, done=row.decision is Decision.STOP), plain=is_plain(row.metrics))
            if not count % _CLOCK_EVERY:
                self._breathe()

    # --- loggers

    def _tell_row(self, logger: FileLogger, view: TrialView, row: LoggedRow) -> None:
        """Tell a logger that writes files: as `_tell`, 0.8 us cheaper three times a row, because none of them hangs."""
        try:
            logger.on_trial_result(iteration=self._rows, trials=self._views, trial=view, result=row)
        except Exception as error:
            self._miss(logger, "on_trial_result", error)

    def _tell(self, logger: LoggerCallback, hook: str, view: TrialView, **info: Any) -> None:
        self.telling = (f"{type(logger).__name__}.{hook}", time.monotonic())
        try:
            getattr(logger, hook)(iteration=self._rows, trials=self._views, trial=view, **info)
        except Exception as error:
            self._miss(logger, hook, error)
        finally:
            self.telling = None

    def _miss(self, logger: LoggerCallback, hook: str, error: Exception) -> None:
        self._lacking = self._lacking or isinstance(logger, FileLogger)
        self._complain(logger, hook, error)

    def _guard(self, logger: object, what: str, act: Callable[[], None]) -> bool:
        try:
            act()
        except Exception as error:
            self._complain(logger, what, error)
            return False
        return True

    def _complain(self, logger: object, what: str, error: Exception) -> None:
        key = (id(logger), what)
        if key in self._complained:
            return
        self._complained.add(key)
        whose = "" if logger is self else f"{type(logger).__name__}."
        self._on_problem(
            f"A logger failed ({whose}{what}). It is told what comes next; further errors of this kind are not shown.\n"
            f"{user_traceback(error)}"
        )

    # --- time

    def _breathe(self) -> None:
        if self._pause is not None:
            now = time.perf_counter()
            if now >= self._slice_ends:
                self._pause()
                self._slice_ends = time.perf_counter() + SLICE_S

    def _write_watermark(self) -> bool:
        """Write down that the files are right up to here, and return whether that stands there now."""
        path, position = self._watermark_file, self.position
        if path is None or self._lacking:
            return False
        if position == self._written:
            return True
        watermark = _Watermark(position.epoch, position.sequence, position.offset, boot_id())
        data = codec.seal(msgspec.json.encode(watermark)[:-1])
        if not self._guard(self, os.path.basename(path), lambda: replace_file(path, (data,))):
            return False
        self._written = position
        self._written_at = time.monotonic()
        return True


def _read_watermark(path: str | None) -> Position:
    if path is None:
        return START
    try:
        with open(path, "rb") as file:
            line = file.read()
    except FileNotFoundError:
        return START
    if not codec.is_sealed(line):  # damaged: then no file is trusted, and all are made anew when they are touched
        return START
    known = msgspec.json.decode(line, type=_Watermark)
    # The files are never synced: what a power cut left of them may be old, empty or full of zeros.
    return Position(known.epoch, known.sequence, known.offset) if known.boot_id == boot_id() else START
