"""Files that loggers append to: buffered, opened late, and never too many at a time."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TypeVar

from perdure.storage.faults import fault_point

F = TypeVar("F")

MAX_OPEN = 128


class OpenFiles:
    """Keeps the descriptors used last open, and closes the others.

    Args:
        limit: How many stay open at a time.
    """

    def __init__(self, limit: int = MAX_OPEN) -> None:
        self._limit = limit
        self._open: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def append(self, path: str, data: bytes) -> int:
        """Append `data` to the file at `path`, which is made if it is not there; so is its directory.

        Returns how much of it was written: not all of it where the disk is full.
        """
        descriptor = self._open.get(path)
        if descriptor is None:
            descriptor = _open(path)
            self._keep(path, descriptor)
        else:
            self._open.move_to_end(path)
        return os.write(descriptor, data)

    def create(self, path: str) -> bool:
        """Make the file at `path`; False if there is one already."""
        try:
            descriptor = _open(path, os.O_EXCL)
        except FileExistsError:
            return False
        self._keep(path, descriptor)
        return True

    def close(self, path: str) -> None:
        """Close the file, if it is open."""
        descriptor = self._open.pop(path, None)
        if descriptor is not None:
            os.close(descriptor)

    def close_all(self) -> None:
        """Close every file."""
        for path in list(self._open):
            self.close(path)

    def _keep(self, path: str, descriptor: int) -> None:
        self._open[path] = descriptor
        if len(self._open) > self._limit:
            _, oldest = self._open.popitem(last=False)
            os.close(oldest)


def _open(path: str, more: int = 0) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | more
    try:
        return os.open(path, flags, 0o644)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, flags, 0o644)


class AppendFile:
    """A file that grows at its end. What is written waits in memory until `flush`."""

    __slots__ = ("_buffer", "_files", "path", "size")

    def __init__(self, path: str, files: OpenFiles) -> None:
        self.path = path
        self._files = files
        self._buffer: list[bytes] = []
        self.size = 0
        """Bytes that wait."""

    def create(self) -> bool:
        """Make the file; False if there is one already."""
        return self._files.create(self.path)

    def write(self, data: bytes) -> None:
        """Append `data` at the next flush."""
        self._buffer.append(data)
        self.size += len(data)

    def flush(self) -> None:
        """Hand what was written to the operating system, with one call.

        Raises:
            OSError: the file could not be written. What is not in it is kept for the next flush.
        """
        while self._buffer:
            data = b"".join(self._buffer)
            count = self._files.append(self.path, data)
            fault_point("files.appended")
            self._buffer[:] = [data[count:]] if count < len(data) else []
            self.size = len(data) - count

    def close(self) -> None:
        """Flush, and close the file."""
        self.flush()
        self._files.close(self.path)

    def discard(self) -> None:
        """Forget what waits, and close the file."""
        self._buffer.clear()
        self.size = 0
        self._files.close(self.path)


def flush_each(waiting: dict[str, F], flush: Callable[[F], bool | None]) -> None:
    """Flush each file, and take it out of `waiting` unless `flush` returns False.

    Raises:
        Exception: One could not be written, and waits still; it does not hold up the others.
    """
    problem: Exception | None = None
    for key, file in list(waiting.items()):
        try:
            if flush(file) is not False:
                del waiting[key]
        except Exception as error:
            problem = problem or error
    if problem is not None:
        raise problem


def replace_file(path: str, chunks: Iterable[bytes]) -> None:
    """Write a whole file in the place of another: a reader sees the one or the other."""
    temporary = f"{path}.tmp"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(temporary, "wb") as file:
        file.writelines(chunks)
    fault_point("files.written")
    os.replace(temporary, path)
    fault_point("files.replaced")
