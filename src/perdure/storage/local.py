"""A store on a disk, or on anything that is mounted like one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from perdure.storage.base import Entry, check_key
from perdure.storage.copying import copy_path, write_all
from perdure.storage.layout import TEMPORARY_PREFIX
from perdure.storage.removal import remove_file, remove_tree
from perdure.storage.sync import fsync_path
from perdure.storage.temporaries import temporary_beside


class LocalStore:
    """Objects are files below `root`.

    Args:
        root: Directory that holds the objects; made when the first one is stored.
        sync: Wait for the disk at every `write` and `create`.
    """

    local = True
    renames = True

    def __init__(self, root: str | os.PathLike[str], *, sync: bool = False) -> None:
        self._root = os.path.abspath(os.fspath(root))
        self.syncs = sync

    def __repr__(self) -> str:
        return f"LocalStore({self._root!r})"

    def local_path(self, key: str) -> Path:
        """Return the path of an object or a folder; "" is the root."""
        return Path(self._path(key))

    def read(self, key: str) -> bytes:
        with open(self._path(check_key(key)), "rb") as file:
            return file.read()

    def write(self, key: str, data: bytes) -> None:
        write_atomic(self._made_path(key), data, sync=self.syncs)

    def create(self, key: str, data: bytes) -> None:
        write_new(self._made_path(key), data, sync=self.syncs)

    def size(self, key: str) -> int:
        return os.stat(self._path(check_key(key))).st_size

    def list(self, folder: str = "") -> Iterator[Entry]:
        found: list[Entry] = []
        _collect(self._path(folder), folder, found)
        return iter(sorted(found))

    def delete(self, key: str) -> None:
        remove_file(self._path(check_key(key)))

    def delete_tree(self, folder: str) -> None:
        remove_tree(self._path(check_key(folder)))

    def upload(self, directory: Path, folder: str) -> None:
        for source, relative in _files(os.fspath(directory)):
            target = self._made_path(f"{check_key(folder)}/{relative}")
            temporary = temporary_beside(target)
            try:
                copy_path(source, temporary)
                if self.syncs:
                    fsync_path(temporary)
                os.replace(temporary, target)
            except BaseException:
                remove_file(temporary)
                raise
            if self.syncs:
                fsync_path(os.path.dirname(target))

    def download(self, folder: str, directory: Path) -> None:
        entries = list(self.list(folder))
        if not entries:
            raise FileNotFoundError(f"{self!r} holds nothing under {folder!r}")
        for entry in entries:
            target = os.path.join(directory, entry.key[len(folder) :].lstrip("/"))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            copy_path(self._path(entry.key), target)

    def _path(self, key: str) -> str:
        return os.path.join(self._root, *check_key(key).split("/")) if key else self._root

    def _made_path(self, key: str) -> str:
        path = self._path(check_key(key))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path


def write_atomic(path: str, data: bytes, *, sync: bool = False) -> None:
    """Replace the file at `path` with `data` in one act. With `sync`, durable when it returns."""
    temporary = temporary_beside(path)
    try:
        _write_file(temporary, data, sync=sync)
        os.replace(temporary, path)
    except BaseException:
        remove_file(temporary)
        raise
    if sync:
        fsync_path(os.path.dirname(path))


def write_new(path: str, data: bytes, *, sync: bool = False) -> None:
    """Create the file at `path` holding `data`, whole, or raise FileExistsError. With `sync`, durable on return.

    Where the file system has no hard links the file is created first and filled then, so a crash may leave it torn.
    """
    temporary = temporary_beside(path)
    _write_file(temporary, data, sync=sync)
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        _write_file(path, data, sync=sync)
    finally:
        remove_file(temporary)
    if sync:
        fsync_path(os.path.dirname(path))


def _write_file(path: str, data: bytes, *, sync: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        write_all(descriptor, data)
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _collect(directory: str, folder: str, found: list[Entry]) -> None:
    try:
        entries = os.scandir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            key = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir():
                _collect(entry.path, key, found)
            elif not entry.name.startswith(TEMPORARY_PREFIX):
                found.append(Entry(key, entry.stat().st_size))


def _files(directory: str) -> Iterator[tuple[str, str]]:
    for parent, _, names in os.walk(directory, onerror=_raise, followlinks=True):
        for name in names:
            path = os.path.join(parent, name)
            yield path, os.path.relpath(path, directory).replace(os.sep, "/")


def _raise(error: OSError) -> None:
    raise error
