"""Stores around a store, for tests and rehearsals: one that fails as told, one that is slow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from perdure.storage.base import Entry, Store


def _never(_operation: str, _key: str) -> BaseException | None:
    return None


class WrappedStore:
    """Passes every call on to another store; subclasses say what happens before and after.

    Args:
        store: The store that does the work.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._store!r})"

    @property
    def local(self) -> bool:
        return self._store.local

    @property
    def renames(self) -> bool:
        return self._store.renames

    @property
    def syncs(self) -> bool:
        return self._store.syncs

    def before(self, operation: str, key: str, nbytes: int) -> None:
        """Run before an operation that is given `nbytes` bytes. What it raises is what the caller gets."""

    def after(self, operation: str, key: str, nbytes: int) -> None:
        """Run after an operation that handed out `nbytes` bytes and succeeded."""

    def local_path(self, key: str) -> Path:
        return self._store.local_path(key)

    def read(self, key: str) -> bytes:
        self.before("read", key, 0)
        data = self._store.read(key)
        self.after("read", key, len(data))
        return data

    def write(self, key: str, data: bytes) -> None:
        self.before("write", key, len(data))
        self._store.write(key, data)
        self.after("write", key, 0)

    def create(self, key: str, data: bytes) -> None:
        self.before("create", key, len(data))
        self._store.create(key, data)
        self.after("create", key, 0)

    def size(self, key: str) -> int:
        self.before("size", key, 0)
        size = self._store.size(key)
        self.after("size", key, 0)
        return size

    def list(self, folder: str = "") -> Iterator[Entry]:
        self.before("list", folder, 0)
        entries = self._store.list(folder)
        self.after("list", folder, 0)
        return entries

    def delete(self, key: str) -> None:
        self.before("delete", key, 0)
        self._store.delete(key)
        self.after("delete", key, 0)

    def delete_tree(self, folder: str) -> None:
        self.before("delete_tree", folder, 0)
        self._store.delete_tree(folder)
        self.after("delete_tree", folder, 0)

    def upload(self, directory: Path, folder: str) -> None:
        self.before("upload", folder, sum(file.stat().st_size for file in directory.rglob("*") if file.is_file()))
        self._store.upload(directory, folder)
        self.after("upload", folder, 0)

    def download(self, folder: str, directory: Path) -> None:
        self.before("download", folder, 0)
        self._store.download(folder, directory)
        self.after("download", folder, sum(entry.nbytes for entry in self._store.list(folder)))


class FaultyStore(WrappedStore):
    """Fails as told.

    Args:
        store: The store that does the work when nothing fails.
        fault: Called with (operation, key) before each operation; what it returns is raised.
        lost_answer: Called likewise after each operation that succeeded; what it returns is raised, as when an
            answer is lost on its way back.
    """

    def __init__(
        self,
        store: Store,
        fault: Callable[[str, str], BaseException | None] = _never,
        *,
        lost_answer: Callable[[str, str], BaseException | None] = _never,
    ) -> None:
        super().__init__(store)
        self._fault = fault
        self._lost_answer = lost_answer

    def before(self, operation: str, key: str, nbytes: int) -> None:
        error = self._fault(operation, key)
        if error is not None:
            raise error

    def after(self, operation: str, key: str, nbytes: int) -> None:
        error = self._lost_answer(operation, key)
        if error is not None:
            raise error


class LatencyStore(WrappedStore):
    """Takes its time.

    Args:
        store: The store that does the work.
        latency_s: Seconds that each operation waits.
        bytes_per_s: Rate at which bytes go in and out; None for no limit.
        sleep: What waits; a test may pass a clock of its own.
    """

    def __init__(
        self,
        store: Store,
        *,
        latency_s: float,
        bytes_per_s: float | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(store)
        self._latency_s = latency_s
        self._bytes_per_s = bytes_per_s
        self._sleep = sleep

    def before(self, operation: str, key: str, nbytes: int) -> None:
        self._sleep(self._latency_s + self._transfer_s(nbytes))

    def after(self, operation: str, key: str, nbytes: int) -> None:
        if nbytes:
            self._sleep(self._transfer_s(nbytes))

    def _transfer_s(self, nbytes: int) -> float:
        return nbytes / self._bytes_per_s if self._bytes_per_s else 0.0
