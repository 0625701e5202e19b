"""The worker's side of a checkpoint: bringing files to the storage and committing them by one rename.

The protocol, and what a crash after each step leaves, is described in docs/design/002-checkpoint-commit.md.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from perdure.checkpoints.digests import digest_bytes
from perdure.checkpoints.listing import Found, Listing, changed, check_unchanged, list_directory
from perdure.checkpoints.manifest import SMALL, VERSION, FileRecord, Manifest, encode_manifest, read_manifest
from perdure.core.events import CheckpointInfo, Data, Source
from perdure.errors import CheckpointError, ConfigurationError, PerdureError
from perdure.storage.base import storage_error
from perdure.storage.copying import copy_file, copy_path, copy_tree, write_all
from perdure.storage.faults import fault_point
from perdure.storage.layout import (
    DIGESTS,
    MANIFEST,
    METADATA,
    OWN_FILES,
    STAGING_PREFIX,
    TEMPORARY_PREFIX,
    checkpoint_name,
    staging_name,
)
from perdure.storage.removal import remove_file, remove_tree
from perdure.storage.sync import fsync_path, fsync_tree

_CLOEXEC = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class Saver:
    """Saves the checkpoints of one attempt of one trial. For one thread.

    Args:
        trial_path: The trial's directory on the storage; it exists.
        trial: The trial's id.
        attempt: The attempt's number, which no other attempt of the trial has.
        segment: The segment of its history that the attempt writes.
        next_number: Number of the first checkpoint; counted up from there.
        durability: "default" survives the death of any process when `commit` returns, "strict" power loss too.
        boot_id: Of this boot of this machine; goes into the manifests.
        parent: The checkpoint that the attempt started from.
    """

    def __init__(
        self,
        trial_path: str | os.PathLike[str],
        *,
        trial: str,
        attempt: int,
        segment: int = 0,
        next_number: int = 0,
        durability: str = "default",
        boot_id: str = "",
        parent: Source | None = None,
    ) -> None:
        if durability not in ("default", "strict"):
            raise ConfigurationError(f'durability must be "default" or "strict", not {durability!r}.')
        self._trial_path = os.path.abspath(os.fspath(trial_path))
        self._trial = trial
        self._attempt = attempt
        self._segment = segment
        self._number = next_number
        self._strict = durability == "strict"
        self._boot_id = boot_id
        self._parent = parent
        self._stagings = next_number
        self._staged: set[str] = set()
        self._ready: str | None = None
        """A staging directory that was made ahead, for the next one that is asked for."""
        self._trial_path_synced = False

    def staging(self) -> Path:
        """Return a new empty directory on the storage. Filled and given to `commit`, it moves no byte."""
        try:
            path = self._take_staging()
        except OSError as error:
            raise storage_error(error, f"Trial {self._trial}: no staging directory could be made") from error
        self._staged.add(path)
        return Path(path)

    def prepare(self) -> None:
        """Make the next staging directory now, while there is time: on a disk that is a third of a small checkpoint.

        Where it cannot be made, whoever needs it will hear why.
        """
        if self._ready is None:
            with contextlib.suppress(OSError):
                self._ready = self._make_staging()

    def commit(
        self,
        source: str | os.PathLike[str],
        *,
        row: Data,
        iteration: int,
        time_total_s: float,
        score: float | None = None,
        time_this_iter_s: float = 0.0,
        time_since_restore_s: float = 0.0,
    ) -> CheckpointInfo:
        """Make what lies in `source` the trial's next checkpoint, and return what the driver is told of it.

        When it returns, the checkpoint survives SIGKILL of any process (with durability="strict", power loss). When
        it raises, there is no checkpoint, and the same number is used for the next one.

        Args:
            source: A directory. One that `staging` returned becomes the checkpoint; any other is copied.
            row: The row that the checkpoint belongs to, as data.
            iteration: The row's `training_iteration`.
            time_total_s: The row's `time_total_s`, in seconds.
            score: Value of `checkpoint_score_attribute` in the row.
            time_this_iter_s: The row's `time_this_iter_s`.
            time_since_restore_s: The row's `time_since_restore_s`.

        Raises:
            CheckpointMissingError: `source` does not exist.
            CheckpointError: it is a file, changed while it was saved, holds something that cannot be saved, or the
                number is taken.
            StorageFullError: there is no space left.
            StorageError: the storage failed in another way.
        """
        folder = os.path.abspath(os.fspath(source))
        manifest = Manifest(
            version=VERSION,
            trial=self._trial,
            attempt=self._attempt,
            segment=self._segment,
            number=self._number,
            iteration=iteration,
            time_total_s=time_total_s,
            time_this_iter_s=time_this_iter_s,
            time_since_restore_s=time_since_restore_s,
            parent=self._parent,
            boot_id=self._boot_id,
            score=score,
            row=row,
            files={},
        )
        try:
            if staged := self._own_staging(folder):
                self._save_staged(staged, manifest)
            else:
                self._save_foreign(folder, manifest)
        except PerdureError:
            raise
        except OSError as error:
            what = f"Trial {self._trial}: checkpoint {self._number} could not be saved, and there is no trace of it"
            raise storage_error(error, what) from error
        self._number += 1
        self._parent = Source(trial=self._trial, number=manifest.number)
        return manifest.info()

    def discard(self, path: str | os.PathLike[str] | None = None) -> None:
        """Remove the staging directory `path`, or every one that was not committed. What is gone already is fine."""
        if path is None and self._ready is not None:
            self._staged.add(self._ready)
            self._ready = None
        for folder in [os.fspath(path)] if path is not None else list(self._staged):
            self._remove_quietly(folder)
            self._staged.discard(folder)

    # --- the two ways in --------------------------------------------------------------------------------------------

    def _save_staged(self, folder: str, manifest: Manifest) -> None:
        listing = list_directory(folder)
        if not OWN_FILES.isdisjoint(listing.files):
            _check_own_files(folder, listing)
            remove_file(os.path.join(folder, MANIFEST))
            remove_file(os.path.join(folder, DIGESTS))
        if listing.links or any(found.shared for found in listing.files.values()):
            _make_own(folder, listing)
            listing = list_directory(folder)
        fault_point("commit.staged")
        files = _user_files(listing)
        take = sum(found.size for found in files.values()) <= SMALL
        for name, found in files.items():
            digest = digest_bytes(_read_small(folder, name, found.size)) if take else ""
            manifest.files[name] = FileRecord(found.size, digest)
        check_unchanged(folder, _without_own_files(listing))
        fault_point("commit.copied")
        self._publish(folder, manifest)
        self._staged.discard(folder)

    def _save_foreign(self, folder: str, manifest: Manifest) -> None:
        if folder == self._trial_path or self._trial_path.startswith(f"{folder.rstrip(os.sep)}{os.sep}"):
            raise CheckpointError(
                f"{folder} holds the trial's own directory, so it cannot be saved as a checkpoint in there. Nothing "
                "was saved; write the checkpoint's files into a directory of their own."
            )
        listing = list_directory(folder)
        if not OWN_FILES.isdisjoint(listing.files):
            _check_own_files(folder, listing)
        fault_point("commit.listed")
        staged = self._take_staging()
        try:
            fault_point("commit.staged")
            for name in listing.directories:
                os.mkdir(os.path.join(staged, name))
            device = -1
            for name, found in listing.files.items():
                if name in OWN_FILES:
                    continue
                if found.size > SMALL and device < 0:
                    device = os.stat(staged).st_dev
                digest = _copy(folder, staged, name, found, device)
                if name != METADATA:
                    manifest.files[name] = FileRecord(found.size, digest)
            check_unchanged(folder, listing)
            fault_point("commit.copied")
            self._publish(staged, manifest)
        except BaseException:
            self._remove_quietly(staged)
            raise

    def _publish(self, staged: str, manifest: Manifest) -> None:
        """Write the manifest and rename: before it there is no checkpoint, after it there is a whole one."""
        path = f"{staged}{os.sep}{MANIFEST}"  # not joined: this is done for every checkpoint
        target = f"{self._trial_path}{os.sep}{checkpoint_name(manifest.number)}"
        _write_new_file(path, encode_manifest(manifest))
        fault_point("commit.manifest")
        if self._strict:
            fsync_tree(staged)
            fault_point("commit.synced")
        try:
            self._rename(staged, target)
        except OSError as error:
            remove_file(path)
            if os.path.lexists(target):
                raise CheckpointError(
                    f"Trial {self._trial}: {target} is already there and was left as it is. Nothing was saved; another "
                    "attempt, or somebody by hand, made it."
                ) from error
            raise
        fault_point("commit.renamed")
        if self._strict:
            try:
                self._sync_name()
            except BaseException:
                # It may not survive a power cut, so it is not acknowledged; and then it must not be there.
                with contextlib.suppress(OSError):
                    remove_file(os.path.join(target, MANIFEST))
                self._remove_quietly(target)
                raise
        fault_point("commit.done")

    def _rename(self, staged: str, target: str) -> None:
        """Rename. That cannot replace a directory that holds anything, and a checkpoint holds its manifest.

        But for one that an earlier attempt made after this one had begun: its driver had lost the experiment, so
        nobody was told of it, and nobody ever will be.
        """
        try:
            os.rename(staged, target)
        except OSError:
            if not self._is_of_earlier_attempt(target):
                raise
            remove_file(os.path.join(target, MANIFEST))
            remove_tree(target)
            os.rename(staged, target)

    def _is_of_earlier_attempt(self, target: str) -> bool:
        try:
            found = read_manifest(target)
        except PerdureError:
            return False
        return found.trial == self._trial and found.attempt < self._attempt

    def _sync_name(self) -> None:
        fsync_path(self._trial_path)
        if not self._trial_path_synced:
            fsync_path(os.path.dirname(self._trial_path))
            self._trial_path_synced = True

    # --- staging directories ----------------------------------------------------------------------------------------

    def _take_staging(self) -> str:
        ready, self._ready = self._ready, None
        if ready is not None and os.access(ready, os.F_OK):  # it has lain there: somebody may have cleared it away
            return ready
        return self._make_staging()

    def _make_staging(self) -> str:
        while True:
            path = f"{self._trial_path}{os.sep}{staging_name(self._attempt, self._stagings)}"
            self._stagings += 1
            try:
                os.mkdir(path)
            except FileExistsError:
                continue
            return path

    def _own_staging(self, folder: str) -> str | None:
        if folder in self._staged:
            return folder
        if STAGING_PREFIX in folder:  # perhaps written another way, through a symbolic link
            real = os.path.realpath(folder)
            return next((path for path in self._staged if os.path.realpath(path) == real), None)
        return None

    def _remove_quietly(self, folder: str) -> None:
        # What stays is swept by recovery; the error that brought us here says more than this one.
        with contextlib.suppress(OSError):
            remove_tree(folder)


def _copy(folder: str, staged: str, name: str, found: Found, device: int) -> str:
    """Copy one file; return its digest if it is small, "" otherwise."""
    if found.size <= SMALL:
        data = _read_small(folder, name, found.size)
        _write_new_file(f"{staged}{os.sep}{name}", data, found.mode)
        fault_point("commit.file")
        return digest_bytes(data)
    source = _open_source(folder, name)
    try:
        target = _open_new(os.path.join(staged, name), found.mode)
        try:
            copy_file(source, target, devices=(found.device, device))
        finally:
            os.close(target)
    finally:
        os.close(source)
    fault_point("commit.file")
    return ""


def _open_source(folder: str, name: str) -> int:
    try:
        return os.open(f"{folder}{os.sep}{name}", os.O_RDONLY | _CLOEXEC)
    except FileNotFoundError:
        raise changed(folder, f"{name} was removed") from None


def _read_small(folder: str, name: str, size: int) -> bytes:
    """Return the bytes of a file that is `size` long. Asks for one more, so that one that grew is noticed."""
    source = _open_source(folder, name)
    try:
        data = os.read(source, size + 1)
        while len(data) < size and (more := os.read(source, size + 1 - len(data))):
            data += more
    finally:
        os.close(source)
    if len(data) != size:
        raise changed(folder, f"{name} was {size} bytes long, then {len(data)} or more")
    return data


def _open_new(path: str, mode: int = 0o666) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CLOEXEC, mode & 0o777 | 0o200)


def _write_new_file(path: str, data: bytes, mode: int = 0o666) -> None:
    descriptor = _open_new(path, mode)
    try:
        write_all(descriptor, data)
    finally:
        os.close(descriptor)


def _make_own(folder: str, listing: Listing) -> None:
    """Replace links by copies: after the rename the folder must hold its bytes, and hold them alone."""
    temporary = os.path.join(folder, TEMPORARY_PREFIX + "own")
    for name in listing.links:
        path = os.path.join(folder, name)
        if os.path.islink(path):  # not below another link that was replaced already
            copy_tree(path, temporary)
            os.unlink(path)
            os.rename(temporary, path)
    for name, found in listing.files.items():
        path = os.path.join(folder, name)
        if found.shared and (os.path.islink(path) or os.stat(path).st_nlink > 1):
            copy_path(path, temporary)
            os.replace(temporary, path)


def _user_files(listing: Listing) -> dict[str, Found]:
    return {name: found for name, found in listing.files.items() if name not in OWN_FILES and name != METADATA}


def _without_own_files(listing: Listing) -> Listing:
    files = {name: found for name, found in listing.files.items() if name not in OWN_FILES}
    return Listing(files, listing.directories, listing.links)


def _check_own_files(folder: str, listing: Listing) -> None:
    """A folder restored from a checkpoint brings perdure's files along; a file of the user's own is not dropped."""
    if MANIFEST not in listing.files:
        return
    try:
        read_manifest(folder)
    except CheckpointError as error:
        raise CheckpointError(
            f"{os.path.join(folder, MANIFEST)} is not a manifest of perdure's, and no other file can have that name in "
            "a checkpoint. Nothing was saved; rename or remove it."
        ) from error
