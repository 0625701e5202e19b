"""The port to wherever an experiment's bytes lie. One conformance suite, `perdure.testing.StoreTests`, holds for all.

A store maps keys to bytes. Keys are relative, parts separated by "/": `trial_1/checkpoint_000000/model.pt`. There is
no rename and there are no empty directories, because buckets have neither; what a disk can do beyond that is told by
capability flags, and whoever uses more than the port asks for the flag first.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from perdure.errors import ConfigurationError, StorageError, StorageFullError

NO_SPACE = frozenset((errno.ENOSPC, errno.EDQUOT))
"""Error numbers that say that there is no space left."""


class Entry(NamedTuple):
    """One stored object."""

    key: str
    nbytes: int


class Store(Protocol):
    """Bytes under keys. Any method may raise StorageError (an OSError) if the storage cannot do it right now."""

    @property
    def local(self) -> bool:
        """`local_path` works: other programs can read the files as files."""
        ...

    @property
    def renames(self) -> bool:
        """A directory can be renamed in one act, so a commit need not copy."""
        ...

    @property
    def syncs(self) -> bool:
        """What `write` and `create` stored survives power loss when they return."""
        ...

    def local_path(self, key: str) -> Path:
        """Return where the object, or the folder, lies on this machine. Only where `local`."""
        ...

    def read(self, key: str) -> bytes:
        """Return the object's bytes. Raises FileNotFoundError if there is none."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Store `data`, replacing what was there; a reader sees the old bytes or the new ones, never a mixture."""
        ...

    def create(self, key: str, data: bytes) -> None:
        """Store `data` if the key is free; of any number of callers one succeeds, the others get FileExistsError."""
        ...

    def size(self, key: str) -> int:
        """Return the number of bytes of the object. Raises FileNotFoundError if there is none."""
        ...

    def list(self, folder: str = "") -> Iterator[Entry]:
        """Yield every object below `folder`, at any depth, sorted by key. A folder that is not there is empty."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object; no error if there is none."""
        ...

    def delete_tree(self, folder: str) -> None:
        """Remove every object below `folder`; no error if there is none. Not one act: a crash leaves some."""
        ...

    def upload(self, directory: Path, folder: str) -> None:
        """Store every file below `directory` under `folder`. Not one act. Raises unless all bytes are stored."""
        ...

    def download(self, folder: str, directory: Path) -> None:
        """Copy every object below `folder` into `directory`. Raises FileNotFoundError if there is none."""
        ...


def check_key(key: str) -> str:
    """Return `key` if it is one; raise ConfigurationError for one that is empty, absolute, or climbs out."""
    if not key or key.startswith("/") or "\\" in key or "\0" in key or {"", ".", ".."} & set(key.split("/")):
        raise ConfigurationError(f'{key!r} is not a storage key: use a relative path with "/" and without "..".')
    return key


def storage_error(error: OSError, what: str) -> StorageError:
    """Return the StorageError that says `what` failed and why; StorageFullError if there was no space."""
    reason = error.strerror or str(error)
    if error.filename is not None:
        reason = f"{reason}: {error.filename}"
    if error.errno in NO_SPACE:
        full = StorageFullError(f"{what}: there is no space left ({reason}). Free some, then resume the experiment.")
        full.errno = error.errno
        return full
    failed = StorageError(f"{what}: {reason}.")
    failed.errno = error.errno
    return failed
