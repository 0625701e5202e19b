"""What user code says to perdure from inside a trial: `report`, `get_checkpoint`, `get_context`, `checkpoint_dir`.

One session is current at a time in a process. It counts iterations and time, commits the checkpoint to the storage,
sends the row and waits for the verdict, so when `report` returns the row and its checkpoint are kept.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import TimeoutError as NotYet
from pathlib import Path
from typing import Protocol, cast

import msgspec

from perdure.arguments import a_kind, named
from perdure.checkpoint import Checkpoint
from perdure.control import route
from perdure.core.events import CheckpointInfo, Data, Decision, Outcome
from perdure.core.requests import AnyRequest
from perdure.errors import (
    MetricError,
    OutsideTrialError,
    RequestRefusedError,
    TrainableError,
)
from perdure.journal.values import is_plain_key, to_data, unicode_text
from perdure.rows import leaf
from perdure.storage.faults import fault_point
from perdure.trainable.channel import Channel
from perdure.trainable.messages import Asked, Assignment, Notice, Report, Saved, Verdict
from perdure.trainable.resources import TrialResources

MEASURED = frozenset({"time_this_iter_s", "time_total_s", "time_since_restore", "timestamp"})
"""Columns that perdure fills in by itself: a reported value of that name does not count."""


class TrialStopped(BaseException):
    """Raised in user code, by `report`, when the trial was told to stop or to pause.

    It derives from BaseException so that `except Exception` lets it pass while `with` and `finally` run. Code that
    holds it back gets it again from its next `report`.
    """


class Committer(Protocol):
    """What a session needs of `perdure.checkpoints.transfer.Saver`."""

    def staging(self) -> Path:
        """Return a new directory on the storage, to be filled and then committed."""
        ...

    def commit(
        self,
        source: str,
        *,
        row: Data,
        iteration: int,
        time_total_s: float,
        score: float | None = None,
        time_this_iter_s: float = 0.0,
        time_since_restore_s: float = 0.0,
    ) -> CheckpointInfo:
        """Make the files in `source` the trial's next checkpoint."""
        ...

    def prepare(self) -> None:
        """Do ahead what can be done for the next checkpoint before there is one."""
        ...

    def discard(self, path: str | None = None) -> None:
        """Remove one staging directory, or all that were not committed."""
        ...


class Session:
    """One running attempt, as its own process sees it.

    Args:
        assignment: What the attempt was started with.
        channel: The way to the driver.
        make_saver: Called when the first checkpoint is to be saved.
        bundles: Says how the trial's resources were asked for; called if user code wants to know.
    """

    def __init__(
        self,
        assignment: Assignment,
        channel: Channel,
        make_saver: Callable[[], Committer],
        bundles: Callable[[], Sequence[Mapping[str, float]]] = tuple,
    ) -> None:
        self.assignment = assignment
        self.iteration = assignment.iteration
        """`training_iteration` of the newest row."""
        self.time_total_s = assignment.time_total_s
        self.time_since_restore_s = 0.0
        self.latest: str | None = assignment.start.path if assignment.start else None
        """Directory of the newest checkpoint."""
        self.saved_iteration = -1
        """Iteration of the newest checkpoint that this attempt saved."""
        self.ended: Outcome | None = None
        """How the attempt was told to end, or said it would; None while it goes on."""
        self.outer: route.Taker | None = None
        """Who takes requests of this process outside of the trial: the driver, where the trial runs inline."""
        self._channel = channel
        self._make_saver = make_saver
        self._bundles = bundles
        self._saver: Committer | None = None
        self._staged: str | None = None
        self._last: Report | None = None
        self._lock = threading.RLock()
        self._reporting = False
        self._lap = time.monotonic()

    # --- for user code ----------------------------------------------------------------------------------------------

    def report(self, metrics: Mapping[str, object], checkpoint: Checkpoint | None = None) -> None:
        """See the module's `report`."""
        with self._lock:
            self._check()
            if self._reporting:
                raise OutsideTrialError(
                    "report() was called while another report() of the same thread waits for its answer (from a "
                    "signal handler or a destructor?). Nothing was reported; set a flag there and report later."
                )
            self._reporting = True
            try:
                self.publish(metrics, None if checkpoint is None else _directory_of(checkpoint))
            finally:
                self._reporting = False
            self._check()

    def staging(self) -> str:
        """Return a new empty directory on the storage; committing it moves no bytes.

        One handed out before and not reported is removed.
        """
        with self._lock:
            saver = self._committer()
            if self._staged is not None:
                saver.discard(self._staged)
            self._staged = str(saver.staging())
            return self._staged

    def unstage(self, path: str) -> None:
        """Remove a directory that `staging` handed out; one that was committed is no longer there."""
        self._committer().discard(path)

    def request(self, request: AnyRequest, patience_s: float = route.PATIENCE_S) -> None:
        """Ask something of the experiment; when it returns, that is journaled.

        Raises:
            RequestRefusedError: it cannot be met.
            concurrent.futures.TimeoutError: a report of another thread has not been answered for `patience_s` seconds.
        """
        if not self._lock.acquire(timeout=patience_s):
            raise NotYet
        try:
            if self._reporting:
                self._ask_the_loop(request, patience_s)
                return
            verdict = self._channel.ask(Asked(request=request))
        finally:
            self._lock.release()
        if verdict.refused:
            raise RequestRefusedError(f"Nothing was changed: {verdict.refused}")

    def _ask_the_loop(self, request: AnyRequest, patience_s: float) -> None:
        """Within a report of a trial that runs inline it is the loop that asks: a callback."""
        if self.outer is None:
            raise OutsideTrialError(
                "An experiment was asked for something while a report() of the same thread waits for its answer (from "
                "a signal handler or a destructor?). Nothing was asked; set a flag there and ask later."
            )
        self.outer(request, patience_s)

    @property
    def resources(self) -> TrialResources:
        """What the trial was given."""
        return TrialResources(self.assignment.resources, self._bundles())

    @property
    def stop_requested(self) -> bool:
        """Whether the driver has asked the attempt to end, as far as can be told without waiting."""
        return self.ended is not None or self._channel.stopping

    # --- for the runners of functions and classes -------------------------------------------------------------------

    def restart_clock(self) -> None:
        """Count the time from now on as the next iteration's."""
        self._lap = time.monotonic()

    def publish(self, metrics: Mapping[str, object], source: str | None, took_s: float | None = None) -> Verdict:
        """Send a row, with a checkpoint of the files in `source` if there is one, and return the verdict.

        `took_s` is the time of this iteration; None takes what has passed since the row before. When it raises,
        nothing was reported and nothing was counted.
        """
        report = self._row(metrics, took_s)
        fault_point("report.begin")
        if source is not None:
            report = msgspec.structs.replace(report, checkpoint=self._commit(source, report))
        fault_point("report.committed")
        self.iteration = report.iteration
        self.time_total_s = report.time_total_s
        self.time_since_restore_s = report.time_since_restore_s
        self._last = report
        verdict = self._channel.ask(report, self._prepare if report.checkpoint and not report.done else None)
        fault_point("report.answered")
        self._heed(verdict.decision, done=report.done)
        self._lap = time.monotonic()
        return verdict

    def save(self, source: str) -> Verdict:
        """Commit the files in `source` as a checkpoint of the row reported last, and say so."""
        if self._last is None:
            raise OutsideTrialError("there is no row yet that a checkpoint could belong to.")
        info = self._commit(source, self._last)
        fault_point("save.committed")
        verdict = self._channel.ask(Saved(checkpoint=info), None if self.ended else self._prepare)
        fault_point("save.answered")
        self._heed(verdict.decision, done=False)
        self._lap = time.monotonic()
        return verdict

    def notice(self, text: str) -> None:
        """Tell a person something, by way of the driver."""
        self._channel.send(Notice(text=unicode_text(text)))

    def close(self) -> None:
        """Remove what was staged and never committed."""
        if self._saver is not None:
            self._saver.discard()

    def _check(self) -> None:
        if self.ended is not None:
            raise TrialStopped(f"the trial was told to end ({self.ended.value})")

    def _row(self, metrics: Mapping[str, object], took_s: float | None) -> Report:
        data = _plain(metrics)
        if took_s is None:
            took_s = time.monotonic() - self._lap
        return Report(
            iteration=self.iteration + 1,
            metrics=data,
            time_this_iter_s=took_s,
            time_total_s=self.time_total_s + took_s,
            time_since_restore_s=self.time_since_restore_s + took_s,
            at=time.time(),
            done=bool(data.get("done", False)),
        )

    def _commit(self, source: str, report: Report) -> CheckpointInfo:
        info = self._committer().commit(
            source,
            row=report.metrics,
            iteration=report.iteration,
            time_total_s=report.time_total_s,
            score=score_of(report, self.assignment.score_attribute),
            time_this_iter_s=report.time_this_iter_s,
            time_since_restore_s=report.time_since_restore_s,
        )
        self.latest = f"{self.assignment.path}{os.sep}{info.directory}"
        self.saved_iteration = report.iteration
        return info

    def _prepare(self) -> None:
        """While the driver judges: whoever has just saved will save again."""
        self._committer().prepare()

    def _heed(self, decision: Decision, *, done: bool) -> None:
        if self.ended is not None:
            return
        if done:
            self.ended = Outcome.FINISHED
        elif decision is Decision.STOP:
            self.ended = Outcome.STOPPED
        elif decision is Decision.PAUSE:
            self.ended = Outcome.PAUSED
        elif self._channel.stopping:
            self.ended = Outcome.INTERRUPTED

    def _committer(self) -> Committer:
        if self._saver is None:
            self._saver = self._make_saver()
        return self._saver


def _plain(metrics: Mapping[str, object]) -> Data:
    """Return a reported mapping as data, in a dict that nobody else holds."""
    if type(metrics) is not dict and not isinstance(cast("object", metrics), Mapping):
        raise MetricError(
            f"report() takes a dict of metrics, not {metrics!r} ({a_kind(metrics)}). Nothing was reported; "
            'write report({"name": value}).'
        )
    data = to_data(metrics if isinstance(metrics, dict) else dict(metrics))
    assert isinstance(data, dict)  # a mapping becomes a mapping
    if "$map" in data:
        bad = next(
            name
            for name in cast("Mapping[object, object]", metrics)
            if not is_plain_key(str.__str__(name) if isinstance(name, str) else name)
        )
        raise MetricError(
            f"The names of metrics must be strings, of Unicode, that do not begin with '$'; {bad!r} is not. Nothing "
            "was reported."
        )
    return {name: value for name, value in data.items() if name not in MEASURED}


def _directory_of(checkpoint: Checkpoint) -> str:
    if not isinstance(checkpoint, Checkpoint):
        raise TrainableError(
            f"report(checkpoint={checkpoint!r}) takes a Checkpoint, not {a_kind(checkpoint)}. Nothing was "
            "reported; write Checkpoint.from_directory(path)."
        )
    return os.fspath(checkpoint.path)


def score_of(report: Report, attribute: str | None) -> float | None:
    """Return the number that a row has under `attribute`, where "a/b" is the `b` within `a`; None without one.

    A NaN or an infinity is no score.
    """
    if attribute is None:
        return None
    row: Data = {
        "training_iteration": report.iteration,
        **report.metrics,
        "time_this_iter_s": report.time_this_iter_s,
        "time_total_s": report.time_total_s,
    }
    value = leaf(row, attribute)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


# --- the session of this process --------------------------------------------------------------------------------------

_current: Session | None = None


def current_session() -> Session | None:
    """Return the session of the trial that runs in this process, or None outside of one."""
    return _current


@contextlib.contextmanager
def activated(session: Session) -> Iterator[Session]:
    """Make `session` the one that `report` and its friends speak to, for as long as the context lasts."""
    global _current  # noqa: PLW0603 - user code has no handle to pass around: this is what "the current trial" means
    before = _current
    _current = session
    try:
        with route.through(session.assignment.experiment_path, session.request) as session.outer:
            yield session
    finally:
        _current = before


def _inside(what: str) -> Session:
    if _current is None:
        raise OutsideTrialError(
            f"{what} was called outside a trial, so nothing was done. It works in the function or class that "
            "Tuner(...).fit() runs; to try that code by itself, call fit() with one sample."
        )
    return _current


def _as_a_dict(loose: Mapping[str, object]) -> str:
    written = ", ".join(f'"{name}": ...' for name in loose)
    return f"Metrics are one dict: write report({{{written}}})."


@named("report", _as_a_dict)
def report(metrics: Mapping[str, object], *, checkpoint: Checkpoint | None = None) -> None:
    """Report a row of metrics, and optionally a checkpoint that belongs to it; wait until both are kept.

    When it returns, the row and the checkpoint survive the death of any process. The directory of `checkpoint` may
    be deleted then. It may be called from any thread.

    Args:
        metrics: Names to values: numbers, strings, lists and dicts of these; NumPy scalars and small arrays.
        checkpoint: Files to be kept with this row; see `Checkpoint.from_directory`.

    Raises:
        MetricError: a value is not data; the message names its key. Nothing was reported.
        CheckpointMissingError: the directory of `checkpoint` does not exist. Nothing was reported.
        OutsideTrialError: this process runs no trial.
        TrialStopped: the trial is to stop or to pause. It is no Exception: let it pass.
    """
    session = _current
    if session is None:
        session = _inside("report()")
    session.report(metrics, checkpoint)


def get_checkpoint() -> Checkpoint | None:
    """Return the trial's latest checkpoint: the one to go on from, later its own newest; None if there is none.

    Outside a trial it is None as well, so that a training function can be called by hand up to its first report.
    """
    if _current is None or _current.latest is None:
        return None
    return Checkpoint(_current.latest)


def should_stop() -> bool:
    """Return whether this trial has been asked to end soon: a preemption, Ctrl-C, a time limit, a scheduler's decision.

    Costs some microseconds: look as often as you like between two reports. A trial that sees it saves what it has and
    reports; its next `report` ends it (see `TrialStopped`), and a restore goes on from there. False outside a trial.
    """
    return _current is not None and _current.stop_requested


@named(
    "checkpoint_dir",
    {
        "step": "Save into the directory it gives, and report that within the block: "
        "report(metrics, checkpoint=Checkpoint.from_directory(path)).",
    },
)
@contextlib.contextmanager
def checkpoint_dir() -> Iterator[str]:
    """Give a new directory on the storage itself; reporting a checkpoint of it moves no bytes.

        with tune.checkpoint_dir() as path:
            torch.save(model.state_dict(), path + "/model.pt")
            tune.report({"loss": loss}, checkpoint=Checkpoint.from_directory(path))

    A directory that was not reported is removed when the next one is asked for, when the block raises, or when the
    trial ends.

    Raises:
        OutsideTrialError: this process runs no trial.
    """
    session = _inside("checkpoint_dir()")
    path = session.staging()
    try:
        yield path
    except BaseException:
        session.unstage(path)
        raise


class TuneContext:
    """What a trial may know of itself. Outside a trial names are None and ranks those of a lone process."""

    def get_experiment_name(self) -> str | None:
        """Return the name of the experiment."""
        return _current.assignment.experiment if _current else None

    def get_trial_id(self) -> str | None:
        """Return the id of the trial, unique in its experiment."""
        return _current.assignment.trial if _current else None

    def get_trial_name(self) -> str | None:
        """Return the name of the trial."""
        return _current.assignment.name if _current else None

    def get_trial_dir(self) -> str | None:
        """Return the absolute path of the trial's directory on the storage."""
        return _current.assignment.path if _current else None

    def get_trial_resources(self) -> TrialResources | None:
        """Return what the trial was given: a dict such as `{"CPU": 1.0}`, with Ray's `head_cpus` and `bundles`, too."""
        return _current.resources if _current else None

    def should_stop(self) -> bool:
        """Return whether this trial has been asked to end soon; see `perdure.tune.should_stop`."""
        return should_stop()

    def get_metadata(self) -> dict[str, object]:
        """Return an empty dict: metadata are set on Ray's trainers, which perdure has not."""
        return {}

    def get_storage(self) -> StorageContext | None:
        """Return where the experiment and the trial live."""
        if _current is None:
            return None
        assignment = _current.assignment
        return StorageContext(
            experiment_dir_name=assignment.experiment,
            experiment_path=assignment.experiment_path,
            trial_dir_name=os.path.basename(assignment.path),
            trial_path=assignment.path,
        )

    def get_world_size(self) -> int:
        """Return 1: a trial is one process."""
        return 1

    def get_world_rank(self) -> int:
        """Return 0: a trial is one process."""
        return 0

    def get_local_world_size(self) -> int:
        """Return 1: a trial is one process."""
        return 1

    def get_local_rank(self) -> int:
        """Return 0: a trial is one process."""
        return 0

    def get_node_rank(self) -> int:
        """Return 0: a trial is on one node."""
        return 0


class StorageContext(msgspec.Struct, frozen=True, kw_only=True):
    """Where an experiment and one of its trials live. Paths are absolute."""

    experiment_dir_name: str
    experiment_path: str
    trial_dir_name: str
    trial_path: str


def get_context() -> TuneContext:
    """Return what can be asked about the running trial; outside of one its answers are None."""
    return TuneContext()
