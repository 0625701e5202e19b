"""The driver's side of checkpoints: bringing them to the disk, and removing them, on threads of its own.

The loop says `make_durable` and `delete`, which return at once, and asks `poll` what has come of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Literal, Union

import msgspec

from perdure.checkpoints.digests import EachChunk
from perdure.checkpoints.durability import complete_digests, sync_checkpoints, write_anew
from perdure.checkpoints.manifest import SMALL, Manifest, missing, verify_checkpoint
from perdure.checkpoints.pace import REST, Pace
from perdure.checkpoints.patience import DELAYS_S
from perdure.checkpoints.recovery import find_committed, sweep
from perdure.core.events import Source
from perdure.errors import CheckpointError, StorageError
from perdure.storage.faults import fault_point
from perdure.storage.layout import MANIFEST
from perdure.storage.removal import held_open, remove_file, remove_tree
from perdure.storage.sync import start_writing_tree, sync_filesystem

__all__ = ["Backlog", "CheckpointManager", "Deleted", "Done", "Durable", "Failed", "find_committed", "sweep"]

GROUP = 16
"""From so many small checkpoints on, the file system is flushed once instead of syncing each of them. With fewer that
is dearer: it also writes out what is about to be deleted."""
GATHER_S = 0.1
"""Small checkpoints are synced at most so often, to let them gather."""
GATHER_AT_MOST_S = 1.0
"""Longer than `GATHER_S` they gather where syncing takes long, so that it keeps the disk busy a quarter of the time."""
LARGE_AT_ONCE = 4
"""So many large checkpoints are on their way to the disk together: one fsync after the other leaves it half idle."""
WRITE_AFTER_S = 0.25
"""The kernel is asked to write a large checkpoint when it is so old: one that is replaced by then need not be written.
Otherwise the disk would be idle while the digests wait for their turn, and all be left to the end."""
DELETED_TOGETHER = 100
"""So many deletions are told of at once."""
HURRY_S = 5.0
"""Once the oldest has waited for so long, the background no longer rests."""


@dataclasses.dataclass(frozen=True)
class Durable:
    """Bytes, manifest and digests have reached the disk."""

    source: Source
    kind: Literal["durable"] = "durable"


@dataclasses.dataclass(frozen=True)
class Deleted:
    """Nothing is left of it."""

    source: Source
    kind: Literal["deleted"] = "deleted"


@dataclasses.dataclass(frozen=True)
class Failed:
    """It could not be done. Asking again tries again, but for an fsync that failed: that one is final."""

    source: Source
    what: Literal["made durable", "deleted"]
    error: Exception
    kind: Literal["failed"] = "failed"

    @property
    def corrupt(self) -> bool:
        """The checkpoint itself is damaged or gone; otherwise the storage failed."""
        return isinstance(self.error, CheckpointError)


Done = Union[Durable, Deleted, Failed]


class Backlog(msgspec.Struct, frozen=True):
    """What is committed and not yet durable."""

    count: int
    nbytes: int
    oldest_s: float


@dataclasses.dataclass(eq=False)
class _Job:
    source: Source
    folder: str
    nbytes: int
    digested: bool
    trusted: bool
    inherited: bool
    since: float
    cancelled: bool = False

    @property
    def large(self) -> bool:
        return self.nbytes > SMALL


class CheckpointManager:
    """Brings checkpoints to the disk and removes them, in the background.

    Args:
        experiment_path: The experiment's directory.
        wake: Called, from another thread, when `poll` has something new.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        experiment_path: str | os.PathLike[str],
        *,
        wake: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._experiment_path = os.path.abspath(experiment_path)
        self._held = _opened(self._experiment_path)
        """The experiment's directory, open all the while: whatever of the file system is not written meanwhile, a flush
        through it tells, no matter whom else the kernel has told. -1 where there is no flushing."""
        self._flushes = self._held >= 0
        self._wake = wake
        self._clock = clock
        self._lock = threading.RLock()
        # What is waited for, each by its own: whoever is woken for nothing takes the interpreter from the loop.
        self._small_due = threading.Condition(self._lock)
        self._large_due = threading.Condition(self._lock)
        self._writing_due = threading.Condition(self._lock)
        self._deletion_due = threading.Condition(self._lock)
        self._hurried = threading.Condition(self._lock)
        self._settled = threading.Condition(self._lock)
        self._to_sync: dict[Source, _Job] = {}
        """Waiting and in progress, oldest first; a job leaves when its outcome is known."""
        self._nbytes = 0
        self._large: deque[_Job] = deque()
        """Large ones that nobody has begun with."""
        self._to_write: deque[_Job] = deque()
        """Large ones that the kernel was not asked to write."""
        self._turns = itertools.count()
        """Counts the large ones: each of the first few starts a thread."""
        self._reading = 0
        """Threads that take digests just now."""
        self._to_delete: dict[Source, str] = {}
        self._done: deque[Done] = deque()
        self._draining = 0
        self._stop = threading.Event()
        self._hurry = threading.Event()
        """Set to end a rest."""
        self._unwritten: dict[Source, OSError] = {}
        """Those whose fsync failed: another one would succeed without having written what the kernel dropped."""
        self._threads: dict[str, threading.Thread] = {}
        self._gather_s = 0.0
        """What the last group has made necessary."""

    # --- called by the loop -----------------------------------------------------------------------------------------

    def make_durable(
        self,
        source: Source,
        directory: str | os.PathLike[str],
        nbytes: int,
        *,
        digested: bool = False,
        trusted: bool = True,
        inherited: bool = False,
    ) -> None:
        """Have a committed checkpoint brought to the disk; `poll` will say Durable or Failed. Asked twice counts once.

        Args:
            source: Names the checkpoint.
            directory: Its folder.
            nbytes: Its size, for the backlog.
            digested: Its manifest has every digest (`CheckpointInfo.digested`), so that it need not be read again.
            trusted: It was committed in this boot of this machine. Of another one, the bytes that a power cut left
                are checked first: a digest made of them now would only certify the damage.
            inherited: It was saved before this manager was there, and another may have tried to sync it, in vain and
                without having told anybody: it is written anew (see `write_anew`).
        """
        with self._lock:
            if source in self._to_sync or source in self._to_delete:
                return
            folder = os.fspath(directory)
            if not os.path.isabs(folder):
                folder = os.path.abspath(folder)
            job = _Job(source, folder, nbytes, digested, trusted, inherited, self._clock())
            self._to_sync[source] = job
            self._nbytes += nbytes
            if job.large:
                self._large.append(job)
                self._ensure_thread(f"sync-large-{next(self._turns) % LARGE_AT_ONCE}", self._large_loop)
                self._large_due.notify()
                self._to_write.append(job)
                self._ensure_thread("write", self._write_loop)
                self._writing_due.notify()
            else:
                self._ensure_thread("sync", self._sync_loop)
                self._small_due.notify()

    def delete(self, source: Source, directory: str | os.PathLike[str]) -> None:
        """Have a checkpoint removed; `poll` will say Deleted or Failed. It need not become durable any more."""
        with self._lock:
            job = self._to_sync.pop(source, None)
            if job is not None:
                job.cancelled = True
                self._nbytes -= job.nbytes
            if source not in self._to_delete:
                self._to_delete[source] = os.fspath(directory)
                self._ensure_thread("delete", self._delete_loop)
                self._deletion_due.notify()

    def poll(self) -> list[Done]:
        """Return what has come of it since the last call. Never waits."""
        done: list[Done] = []
        while self._done:
            done.append(self._done.popleft())
        return done

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do, nor anything that `poll` has yet to say."""
        with self._lock:
            return not (self._to_sync or self._to_delete or self._done)

    @property
    def backlog(self) -> Backlog:
        """What is on its way to the disk: how many, how many bytes, and for how long the oldest has waited."""
        with self._lock:
            return Backlog(len(self._to_sync), self._nbytes, self._oldest_s())

    def find_committed(self, trial_path: str | os.PathLike[str], *, first: int = 0) -> list[Manifest]:
        """Return the manifests of a trial's committed checkpoints from number `first` on; see `recovery`."""
        return find_committed(trial_path, first=first)

    def sweep(self, trial_path: str | os.PathLike[str], *, keep: AbstractSet[str]) -> list[str]:
        """Remove what was left unfinished in a trial's directory; see `recovery.sweep`."""
        return sweep(trial_path, keep=keep)

    def hasten(self) -> None:
        """Rest no more: there is nothing left that the machine would be left to."""
        with self._lock:
            self._hurry.set()
            self._hurried.notify_all()

    def drain(self, timeout_s: float) -> bool:
        """Work without rest until nothing is left to do, and return True; False when the time is over first."""
        with self._lock:
            self._draining += 1
            self._hurry.set()
            self._hurried.notify_all()
            try:
                return self._settled.wait_for(lambda: not self._to_sync and not self._to_delete, timeout_s)
            finally:
                self._draining -= 1
                if not self._draining and not self._stop.is_set():
                    self._hurry.clear()

    def close(self) -> None:
        """Stop. What was not done is done after a restore: it is still due by the journal."""
        with self._lock:
            self._stop.set()
            self._hurry.set()
            due = (self._small_due, self._large_due, self._writing_due, self._deletion_due)
            for waited_for in (*due, self._hurried):
                waited_for.notify_all()
        give_up_at = time.monotonic() + 5.0  # a disk that hangs must not hang the end; the threads are daemons
        for thread in self._threads.values():
            thread.join(timeout=max(0.0, give_up_at - time.monotonic()))
        if self._held >= 0 and not any(thread.is_alive() for thread in self._threads.values()):
            os.close(self._held)
            self._held = -1

    # --- bringing to the disk ---------------------------------------------------------------------------------------

    def _sync_loop(self) -> None:
        while self.sync_round():
            pass

    def _large_loop(self) -> None:
        while self.large_round():
            pass

    def _write_loop(self) -> None:
        while self.write_round():
            pass

    def sync_round(self) -> bool:
        """Wait for small checkpoints, let them gather, and bring all there are to the disk.

        False: the manager is closed. A simulation calls it without a thread.
        """
        with self._lock:
            self._small_due.wait_for(lambda: self._stop.is_set() or self._has_small())
            # Not a sleep: a drain or a close ends it.
            gather_s = max(GATHER_S, min(self._gather_s, GATHER_AT_MOST_S))
            self._hurried.wait_for(self._hurry.is_set, gather_s)
            jobs = [job for job in self._to_sync.values() if not job.large]
        if self._stop.is_set():
            return False
        begun = self._clock()
        self._see_to(jobs)
        self._gather_s = REST * (self._clock() - begun)
        return True

    def large_round(self) -> bool:
        """Wait for a large checkpoint and bring it to the disk. False: the manager is closed. See `sync_round`."""
        with self._lock:
            self._large_due.wait_for(lambda: self._stop.is_set() or self._large)
            jobs = [self._large.popleft()] if self._large else []
        if self._stop.is_set():
            return False
        self._see_to(jobs)
        return True

    def write_round(self) -> bool:
        """Wait for a large checkpoint to be old enough, and have the kernel write it. False: the manager is closed.

        Nothing counts on it: whatever was not written by then is written by the fsync that follows the digests.
        """
        with self._lock:
            self._writing_due.wait_for(lambda: self._stop.is_set() or self._to_write)
            if not self._stop.is_set():
                job = self._to_write.popleft()
                self._hurried.wait_for(self._hurry.is_set, max(0.0, job.since + WRITE_AFTER_S - self._clock()))
            if self._stop.is_set():
                return False
            wanted = job.source in self._to_sync
        if wanted:
            with contextlib.suppress(OSError):
                start_writing_tree(job.folder)
        return True

    def _has_small(self) -> bool:
        return any(not job.large for job in self._to_sync.values())

    def _see_to(self, jobs: list[_Job]) -> None:
        try:
            self._make_group_durable(jobs)
        except Exception as error:
            # Whatever went wrong: what waits for the disk must not wait for ever, nor the thread be gone.
            self._finish([(job, Failed(job.source, "made durable", error)) for job in jobs])

    def _make_group_durable(self, jobs: list[_Job]) -> None:
        ready = [job for job in jobs if self._prepare(job)]
        if not ready:
            return
        if len(ready) >= GROUP and self._flushes and self._flush(ready):
            outcomes: list[tuple[_Job, Done]] = [(job, Durable(job.source)) for job in ready]
        else:
            outcomes = self._sync_each(ready)
        fault_point("durable.synced")
        self._finish(outcomes)

    def _prepare(self, job: _Job) -> bool:
        """Complete the digests. False: there is nothing further to do for this job."""
        error: Exception | None = None
        for delay_s in (*DELAYS_S, None):
            if job.cancelled or self._stop.is_set():
                return False
            if (error := self._unwritten.get(job.source)) is not None:
                break
            try:
                self._digest(job)
            except StorageError as failure:
                error = failure  # damaged, or tried several times already
                break
            except _CancelledError:
                return False
            except OSError as failure:
                error = failure
                self._stop.wait(delay_s or 0)
            else:
                return True
        if error is not None:
            self._finish([(job, Failed(job.source, "made durable", error))])
        return False

    def _digest(self, job: _Job) -> None:
        if not job.trusted:
            verify_checkpoint(job.folder)
        if job.inherited:
            self._read(job, write_anew)
        if not job.trusted:
            return
        if job.digested:
            if not os.path.exists(os.path.join(job.folder, MANIFEST)):
                raise missing(job.folder)
        else:
            self._read(job, complete_digests)

    def _read(self, job: _Job, work: Callable[[str, EachChunk], None]) -> None:
        """Do something that reads all of a checkpoint, at a pace that leaves the machine to the trials."""
        pace = Pace(rest_s=self._rest_s, rest=self._hurry.wait)

        def after_chunk() -> None:
            if job.cancelled or self._stop.is_set():
                raise _CancelledError(errno.ECANCELED, "no longer wanted")
            pace()

        self._count_reading(+1)
        try:
            work(job.folder, after_chunk)
        finally:
            self._count_reading(-1)

    def _count_reading(self, change: int) -> None:
        with self._lock:
            self._reading += change

    def _rest_s(self, worked_s: float) -> float:
        """Return how long to rest after so much reading, so that all who read take together what one may take."""
        with self._lock:
            if self._hurry.is_set() or self._oldest_s() > HURRY_S:
                return 0.0
            return worked_s * ((1.0 + REST) * self._reading - 1.0)

    def _flush(self, jobs: list[_Job]) -> bool:
        """Sync the whole file system. False: it has to be done one by one."""
        try:
            device = os.stat(self._experiment_path).st_dev
            if any(os.stat(job.folder).st_dev != device for job in jobs):
                return False
        except OSError:
            return False
        try:
            return sync_filesystem(self._held)
        except OSError:
            # Somebody's write failed, perhaps not ours: syncing each says whose. It may be that of a checkpoint which
            # comes later, and of that no other flush would tell.
            self._flushes = False
            return False

    def _sync_each(self, jobs: list[_Job]) -> list[tuple[_Job, Done]]:
        failed = sync_checkpoints([job.folder for job in jobs])
        lost = [job for job in jobs if job.folder in failed and not job.cancelled]
        self._unwritten |= {job.source: failed[job.folder] for job in lost}
        return [
            (
                job,
                Failed(job.source, "made durable", failed[job.folder]) if job.folder in failed else Durable(job.source),
            )
            for job in jobs
        ]

    def _finish(self, outcomes: list[tuple[_Job, Done]]) -> None:
        with self._lock:
            for job, done in outcomes:
                if not job.cancelled and self._to_sync.pop(job.source, None) is not None:
                    self._nbytes -= job.nbytes
                    self._done.append(done)
            self._settled.notify_all()
        self._wake()

    def _oldest_s(self) -> float:
        oldest = next(iter(self._to_sync.values()), None)
        return 0.0 if oldest is None else self._clock() - oldest.since

    # --- removing ---------------------------------------------------------------------------------------------------

    def _delete_loop(self) -> None:
        while self.delete_round():
            pass

    def delete_round(self) -> bool:
        """Wait for something to remove and remove it. False: the manager is closed. See `sync_round`."""
        with self._lock:
            self._deletion_due.wait_for(lambda: self._stop.is_set() or self._to_delete)
            if self._stop.is_set():
                return False
            jobs = list(self._to_delete.items())
        for first in range(0, len(jobs), DELETED_TOGETHER):
            outcomes = [self._delete(source, folder) for source, folder in jobs[first : first + DELETED_TOGETHER]]
            with self._lock:
                for done in outcomes:
                    if done is not None:
                        del self._to_delete[done.source]
                        self._done.append(done)
                self._settled.notify_all()
            self._wake()
            if None in outcomes:
                return False
        return True

    def _delete(self, source: Source, folder: str) -> Done | None:
        for delay_s in (*DELAYS_S, None):
            if self._stop.is_set():
                return None
            try:
                delete_checkpoint(folder)
            except OSError as error:
                if delay_s is None:
                    return Failed(source, "deleted", error)
                self._stop.wait(delay_s)
            else:
                return Deleted(source)
        raise AssertionError("unreachable")

    def _ensure_thread(self, name: str, target: Callable[[], None]) -> None:
        if name not in self._threads:
            self._threads[name] = threading.Thread(target=target, name=f"perdure-checkpoints-{name}", daemon=True)
            self._threads[name].start()


def _opened(directory: str) -> int:
    try:
        return os.open(directory, os.O_RDONLY)
    except OSError:  # a platform that does not open directories
        return -1


class _CancelledError(OSError):
    """The checkpoint is being deleted, or the manager closed, while it was read."""


def delete_checkpoint(folder: str | os.PathLike[str]) -> None:
    """Remove a checkpoint: the manifest first, so that what a crash leaves is no checkpoint. Gone already is fine.

    Raises:
        OSError: something of it is still there.
    """
    fault_point("delete.begin")
    with held_open(os.fspath(folder)):
        remove_file(os.path.join(folder, MANIFEST))
        fault_point("delete.manifest")
        remove_tree(os.fspath(folder))
    fault_point("delete.done")
