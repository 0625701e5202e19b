"""The files of a journal: one per epoch, chained by their headers, and the head that says what has reached the disk.

    journal-000001.jsonl <- after - journal-000002.jsonl <- after - journal-000003.jsonl        journal.head

The header of an epoch fixes how much of its predecessor is history. Files are never truncated by a successor, changed
or removed; an epoch that no header leads to is not history.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from pathlib import Path
from typing import Protocol

import msgspec
import xxhash

from perdure.errors import ExperimentLockedError
from perdure.journal import codec
from perdure.journal.reading import reading
from perdure.storage.faults import fault_point
from perdure.storage.layout import TEMPORARY_PREFIX
from perdure.storage.temporaries import is_abandoned, remove_temporary

HEAD_NAME = "journal.head"

_EPOCH_NAME = re.compile(r"journal-(\d{6,})\.jsonl")
_TEMPORARY_NAME = re.compile(r"\.journal.*\.tmp")
_CHUNK = 1 << 20
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES})  # see link(2)

fdatasync = getattr(os, "fdatasync", os.fsync)


class Hasher(Protocol):
    """A running hash, as xxhash makes them."""

    def update(self, data: bytes, /) -> None: ...

    def copy(self) -> Hasher: ...

    def hexdigest(self) -> str: ...


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """The predecessor of an epoch, and how much of it is history."""

    epoch: int
    length: int
    hash: str
    """xxh3_64 of its first `length` bytes."""
    cut: int = 0
    """Bytes that lay after them when the successor was made."""


class Header(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the first line of an epoch's file says."""

    created_at: float
    host: str
    pid: int
    after: Link | None = None
    repaired: bool = False
    """Made by a person's `repair`, who agreed to lose acknowledged records."""


class _HeaderLine(msgspec.Struct, frozen=True):
    e: int
    q: int
    v: int
    h: Header


class Head(msgspec.Struct, frozen=True):
    """What had reached the disk: all of `epoch`'s file before `offset`, of which `hash` is the xxh3_64."""

    epoch: int
    sequence: int
    offset: int
    hash: str


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """One epoch of a journal's history."""

    epoch: int
    path: Path
    header: Header
    sequence: int
    """Of the last record before it."""
    start: int
    """Byte after the header."""
    limit: int | None = None
    """Bytes that are history; None for the last epoch, which may still grow."""
    hash: str = ""
    """xxh3_64 of the first `limit` bytes."""


# --- names ----------------------------------------------------------------------------------------------------------


def epoch_path(directory: Path, epoch: int) -> Path:
    """Return where the file of `epoch` lies."""
    return directory / epoch_name(epoch)


def epoch_name(epoch: int) -> str:
    """Return the name of the file of `epoch`."""
    return f"journal-{epoch:06d}.jsonl"


def list_epochs(directory: Path) -> list[int]:
    """Return the numbers of all epoch files, ascending. Costs a listing of the directory, which holds every trial's."""
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for entry in entries if entry.name.startswith("journal-")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(match[1]) for name in names if (match := _EPOCH_NAME.fullmatch(name)))


def sweep_temporaries(directory: Path) -> None:
    """Remove what whoever died while making a file, of the journal's or another, left under a temporary name."""
    with os.scandir(directory) as entries:
        paths = [entry.path for entry in entries if _is_garbage(entry)]
    for path in paths:
        remove_temporary(path)


def _is_garbage(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith(TEMPORARY_PREFIX):
        return is_abandoned(entry.path)
    return _TEMPORARY_NAME.fullmatch(entry.name) is not None


# --- headers --------------------------------------------------------------------------------------------------------


def read_header(path: Path) -> tuple[Header, int, int] | None:
    """Return (header, last sequence number before it, its length in bytes); None where it is torn or damaged.

    Raises:
        JournalVersionError: the epoch was written by a newer perdure.
        FileNotFoundError: there is no such file.
    """
    with reading(path), path.open("rb") as file:
        line = file.readline(_CHUNK)
        if line[-1:] != b"\n" or not codec.is_sealed(line):
            return None
        try:
            found = msgspec.json.decode(line, type=_HeaderLine)
        except msgspec.DecodeError:
            codec.check_version(_version_of(line))
            return None
        codec.check_version(found.v)
    return (found.h, found.q, len(line)) if path.name == epoch_name(found.e) else None


def _version_of(line: bytes) -> int:
    try:
        fields = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return 0
    version = fields.get("v") if isinstance(fields, dict) else 0
    return version if isinstance(version, int) else 0


def create_epoch(directory: Path, epoch: int, header: Header, sequence: int) -> tuple[int, bytes]:
    """Create the file of `epoch` with its header, on the disk when it returns: (descriptor to append to, header line).

    Raises:
        ExperimentLockedError: another driver has just created it.
    """
    body = b'{"e":%d,"q":%d,"v":%d,"h":%b' % (epoch, sequence, codec.VERSION, msgspec.json.encode(header))
    line = codec.seal(body)
    final = epoch_path(directory, epoch)
    temporary = directory / f".{final.name}.{secrets.token_hex(4)}.tmp"
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        _write_all(descriptor, line)
        fault_point("epoch.written")
        os.fsync(descriptor)  # a later epoch's records must not turn out to hang on an empty file
        descriptor = _publish(descriptor, temporary, final, line)
        fault_point("epoch.named")
        sync_directory(directory)  # power loss must not take the name of a file whose contents were synced
        fault_point("epoch.synced")
    except BaseException:
        os.close(descriptor)
        raise
    finally:
        temporary.unlink(missing_ok=True)
    return descriptor, line


def _publish(descriptor: int, temporary: Path, final: Path, line: bytes) -> int:
    """Give the file its final name, which must not be taken: a link fails where a rename would replace."""
    try:
        os.link(temporary, final)
    except (FileExistsError, FileNotFoundError) as error:
        raise _lost_race(final) from error
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _create_in_place(descriptor, final, line)
    return descriptor


def _create_in_place(descriptor: int, final: Path, line: bytes) -> int:
    """Create the file exclusively and then write its header, for a file system without hard links."""
    try:
        created = os.open(final, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except FileExistsError as error:
        raise _lost_race(final) from error
    os.dup2(created, descriptor, inheritable=False)
    os.close(created)
    _write_all(descriptor, line)
    os.fsync(descriptor)
    return descriptor


def _lost_race(final: Path) -> ExperimentLockedError:
    return ExperimentLockedError(
        f"Another driver has just taken over the experiment in {final.parent} (it created {final.name} first). "
        "This one wrote nothing. Let that one run, or stop it and start again."
    )


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def sync_directory(directory: Path) -> None:
    """Return when the names in `directory` have reached the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- the head -------------------------------------------------------------------------------------------------------


def read_head(directory: Path) -> Head | None:
    """Return what `journal.head` says; None where it is missing or damaged, which only means that less is known."""
    path = directory / HEAD_NAME
    try:
        with reading(path):
            line = path.read_bytes()
    except FileNotFoundError:
        return None
    if line[-1:] != b"\n" or not codec.is_sealed(line):
        return None
    try:
        return msgspec.json.decode(line, type=Head)
    except msgspec.DecodeError:
        return None


def write_head(directory: Path, head: Head) -> None:
    """Replace `journal.head`. What it promises must have reached the disk before."""
    line = codec.seal(msgspec.json.encode(head)[:-1])
    temporary = directory / f".{HEAD_NAME}.{secrets.token_hex(4)}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())  # renamed without its bytes it would be a bad head, which protects nothing
        fault_point("head.written")
        temporary.replace(directory / HEAD_NAME)
        fault_point("head.replaced")
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    # The directory is not synced: what power loss can bring back is the older head, a lower bound that still holds.


def new_hasher() -> Hasher:
    """Return a running hash of no bytes."""
    return xxhash.xxh3_64()


def hash_file(path: Path, length: int) -> tuple[str, int]:
    """Return (xxh3_64 of the first `length` bytes, how many there were)."""
    hasher = new_hasher()
    left = length
    with reading(path), path.open("rb", buffering=0) as file:
        while left > 0 and (chunk := file.read(min(_CHUNK, left))):
            hasher.update(chunk)
            left -= len(chunk)
    return hasher.hexdigest(), length - left
