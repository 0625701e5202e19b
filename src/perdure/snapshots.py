"""Snapshots of the state, so that a restore need not fold the whole journal.

A snapshot is a directory `snapshot-<sequence>/` that holds what the plugins keep of their own, and `state.json`: the
state at that record of the journal and the digests of the other files, with a checksum over both. A snapshot of which
any file is damaged is not used at all, and that is said. Nothing is lost without it: an older one, or the journal from
its beginning, serves as well. A user's own searcher, scheduler or stopper is then told again what has happened since.

They are written when a session ends in good order, and before that at most so often that it takes 5 % of the time, or
every TUNE_GLOBAL_CHECKPOINT_S seconds. None of the writes is waited for (no fsync): after a power cut an older one, or
none, serves as well.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import xxhash

from perdure.checkpoints.digests import digest_file
from perdure.core.state import State
from perdure.journal.base import JournalWriter, Position
from perdure.storage.faults import fault_point
from perdure.storage.temporaries import temporary_name

PERIOD_S = 10.0
SHARE = 0.05
KEPT = 2
STATE = "state.json"

_log = logging.getLogger(__name__)


class SnapshotDamagedError(Exception):
    """A snapshot is not what was written; the message names the file."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A state and the journal position it is the fold of."""

    epoch: int
    sequence: int
    offset: int
    state: State
    files: dict[str, str]
    """xxh3_128 of each other file, by its name."""

    @property
    def position(self) -> Position:
        """The journal position it is the state at."""
        return Position(self.epoch, self.sequence, self.offset)


class Snapshots:
    """Writes and reads the snapshots of one experiment.

    Args:
        directory: The experiment's directory.
        save_plugins: Writes what plugins keep into the directory it is given.
        period_s: Seconds between snapshots; None adapts to what one costs.
    """

    def __init__(self, directory: Path, *, save_plugins: Callable[[Path], None], period_s: float | None = None) -> None:
        self.directory = directory
        self.save_plugins = save_plugins
        self.period_s = period_s
        self._due_at: float | None = None
        self._complained = False

    def maybe(self, state: State, journal: JournalWriter) -> None:
        """Write a snapshot if it is time for one; real time, also where the loop's is simulated."""
        now = time.monotonic()
        if self._due_at is None:
            self._due_at = now + (PERIOD_S if self.period_s is None else self.period_s)
        if now < self._due_at:
            return
        began = time.perf_counter()
        self.write(state, journal.position)
        took = time.perf_counter() - began
        self._due_at = now + (max(PERIOD_S, took / SHARE) if self.period_s is None else self.period_s)

    def write(self, state: State, position: Position) -> None:
        """Write a snapshot now, and remove all but the newest ones.

        A storage that refuses it, or a plugin that cannot be saved, is no reason to end a run: the journal has
        everything that was reported. A plugin's failure is logged, once.
        """
        final = self.directory / f"snapshot-{position.sequence}"
        staging = self.directory / temporary_name()
        try:
            if final.exists():
                return
            fault_point("snapshot.begin")
            staging.mkdir(exist_ok=True)
            self.save_plugins(staging)
            fault_point("snapshot.plugins")
            snapshot = Snapshot(
                epoch=position.epoch,
                sequence=position.sequence,
                offset=position.offset,
                state=state,
                files={name: digest_file(str(staging / name)) for name in _files(staging)},
            )
            body = msgspec.json.encode(snapshot)
            (staging / STATE).write_bytes(body + b"\n" + xxhash.xxh3_64_hexdigest(body).encode() + b"\n")
            fault_point("snapshot.state")
            staging.rename(final)
            fault_point("snapshot.renamed")
        except OSError:
            shutil.rmtree(staging, ignore_errors=True)
            return
        except Exception:  # of user code: whatever a callback, stopper, scheduler or searcher raises
            shutil.rmtree(staging, ignore_errors=True)
            self._complain()
            return
        for old in sorted(_numbers(self.directory))[:-KEPT]:
            shutil.rmtree(self.directory / f"snapshot-{old}", ignore_errors=True)
            fault_point("snapshot.removed")

    def _complain(self) -> None:
        if not self._complained:
            self._complained = True
            _log.warning(
                "What the callbacks, stopper, scheduler and searcher remember could not be saved. Trials go on; a "
                "restore tells these plugins again what was reported, and knows nothing else of their state.",
                exc_info=True,
            )


def newest(
    directory: Path, upto: Position, notes: Callable[[str], None] = lambda text: None
) -> tuple[Path, Snapshot] | None:
    """Return the newest undamaged snapshot that is not ahead of the journal's position `upto`, and its directory.

    `notes` is given a sentence for each newer one that is damaged.
    """
    for sequence in sorted(_numbers(directory), reverse=True):
        path = directory / f"snapshot-{sequence}"
        try:
            snapshot = read_snapshot(path)
        except SnapshotDamagedError as error:
            notes(f"{error} It was not used; an older one, or the journal, took its place.")
            continue
        if snapshot.sequence <= upto.sequence and snapshot.epoch <= upto.epoch:
            return path, snapshot
    return None


def check_snapshots(directory: Path) -> Iterator[tuple[str, str]]:
    """Yield (name, what is wrong with it) of each damaged snapshot."""
    for sequence in sorted(_numbers(directory)):
        name = f"snapshot-{sequence}"
        try:
            read_snapshot(directory / name)
        except SnapshotDamagedError as error:
            if (directory / name).is_dir():  # else a living driver has just replaced it
                yield name, str(error)


def read_snapshot(path: Path) -> Snapshot:
    """Return the snapshot in `path`, all of whose files are as they were written.

    Raises:
        SnapshotDamagedError: one of them is not; names it.
    """
    state = path / STATE
    try:
        body, digest, rest = state.read_bytes().split(b"\n")
        if rest or xxhash.xxh3_64_hexdigest(body).encode() != digest:
            raise SnapshotDamagedError(f"{state} is damaged: its checksum does not match.")
        snapshot = msgspec.json.decode(body, type=Snapshot)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise SnapshotDamagedError(f"{state} is damaged: {error}.") from error
    for name, expected in snapshot.files.items():
        try:
            found = digest_file(str(path / name))
        except OSError as error:
            raise SnapshotDamagedError(f"{path / name} cannot be read: {error}.") from error
        if found != expected:
            raise SnapshotDamagedError(f"{path / name} is damaged: its digest is {found}, {expected} was written.")
    return snapshot


def _files(directory: Path) -> list[str]:
    """Return the files below `directory`, relative to it."""
    return [str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()]


def _numbers(directory: Path) -> list[int]:
    names = [entry.name[9:] for entry in os.scandir(directory) if entry.name.startswith("snapshot-")]
    return [int(name) for name in names if name.isdigit()]
