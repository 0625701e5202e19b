"""Copying files the cheapest way the file system offers: sharing extents, in the kernel, or by hand."""

from __future__ import annotations

import enum
import errno
import os
import stat
import sys

if sys.platform != "win32":
    import fcntl

FICLONE = 0x40049409
"""ioctl(2) that makes a file share another's extents (btrfs, XFS, bcachefs, overlay on these)."""

CHUNK = 64 << 20
"""Bytes per `copy_file_range` call: large enough for full speed, small enough for signals to be handled."""

_BUFFER = 1 << 20
_UNSUPPORTED = frozenset(
    (errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EBADF, errno.EPERM, errno.ETXTBSY)
)


class Method(enum.IntEnum):
    """Ways to copy, the cheapest first."""

    REFLINK = 0
    RANGE = 1
    PLAIN = 2


_methods: dict[tuple[int, int], Method] = {}
"""The first method not known to fail, by device copied from and device copied to."""


def copy_file(source: int, target: int, *, devices: tuple[int, int]) -> Method:
    """Copy all of the open file `source` into the empty open file `target`, and say how.

    Args:
        source: Descriptor open for reading, at offset 0.
        target: Descriptor open for writing, of an empty file.
        devices: `st_dev` of the two, under which it is remembered what works between them.
    """
    method = _methods.get(devices, Method.REFLINK)
    if method is Method.REFLINK:
        if _reflink(source, target):
            return method
        method = _methods[devices] = Method.RANGE
    if method is Method.RANGE:
        if _copy_range(source, target):
            return method
        method = _methods[devices] = Method.PLAIN
    _copy_plain(source, target)
    return method


def _reflink(source: int, target: int) -> bool:
    if sys.platform == "win32":
        return False
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return False
        raise
    return True


def _copy_range(source: int, target: int) -> bool:
    """Return False, with nothing written, if the kernel cannot copy between these two."""
    if not hasattr(os, "copy_file_range"):
        return False
    copied = 0
    while True:
        try:
            count = os.copy_file_range(source, target, CHUNK)
        except OSError as error:
            if copied == 0 and error.errno in _UNSUPPORTED:
                return False
            raise
        if count == 0:
            # Some file systems answer 0 for files whose size the kernel does not know; the plain way reads those.
            return copied > 0 or os.fstat(source).st_size == 0
        copied += count


def _copy_plain(source: int, target: int) -> None:
    buffer = memoryview(bytearray(_BUFFER))
    while count := os.readv(source, [buffer]) if hasattr(os, "readv") else _read_into(source, buffer):
        write_all(target, buffer[:count])


def _read_into(descriptor: int, buffer: memoryview) -> int:
    data = os.read(descriptor, len(buffer))
    buffer[: len(data)] = data
    return len(data)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of `data`: a signal or a nearly full disk may make a single write short."""
    written = os.write(descriptor, data)
    if written == len(data):
        return
    rest = memoryview(data)[written:]
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def copy_tree(source: str, target: str, *, leave_out: frozenset[str] = frozenset()) -> None:
    """Copy a directory's files into `target`, following symbolic links and replacing files of the same name.

    `target` is made if it is not there. Names in `leave_out` are skipped at the top of the tree.
    """
    os.makedirs(target, exist_ok=True)
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.name in leave_out:
                continue
            destination = os.path.join(target, entry.name)
            if entry.is_dir():
                copy_tree(entry.path, destination)
            else:
                copy_path(entry.path, destination)


def copy_path(source: str, target: str) -> None:
    """Copy one file with its permission bits, replacing `target` if it is there."""
    reader = os.open(source, os.O_RDONLY)
    try:
        found = os.fstat(reader)
        writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, stat.S_IMODE(found.st_mode) | stat.S_IWUSR)
        try:
            copy_file(reader, writer, devices=(found.st_dev, os.fstat(writer).st_dev))
        finally:
            os.close(writer)
    finally:
        os.close(reader)
