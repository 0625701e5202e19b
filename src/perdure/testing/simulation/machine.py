"""A machine to run the product's own modules on: a disk, a clock and a table of processes, none of them real.

`Machine.mounted()` puts it under the modules that touch the real one: for as long as the context lasts, the names
`os`, `open`, `time`, `threading` and the like mean the simulated machine's in these modules, and in no others. So the
journal's files, heads and claims, the commits of checkpoints, their manifests and digests, their way to the disk and
their removal, and snapshots are done by the very code that does them on a real disk. What that code does on threads
of its own is run by `background`, between and within the driver's steps.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import posixpath
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import perdure.checkpoints.manager
import perdure.checkpoints.transfer
import perdure.control.door
import perdure.control.stand_in
import perdure.journal.file
import perdure.recovery
import perdure.runner
import perdure.snapshots
import perdure.storage.local  # noqa: F401 - the modules that are mounted on
from perdure.testing.simulation.disk import Disk, Found

HOST = "simulated"
_PACKAGES = ("perdure.journal.", "perdure.checkpoints.", "perdure.storage.")
_MODULES = (
    *("perdure.control.door", "perdure.control.stand_in"),
    *("perdure.recovery", "perdure.runner", "perdure.snapshots"),
)
_NOT = frozenset({"perdure.storage.faults", "perdure.storage.processes", "perdure.storage.uri"})
_HARMLESS = (
    *(name for name in dir(os) if name.startswith(("O_", "SEEK_", "WNOHANG"))),
    *("F_OK", "R_OK", "W_OK", "X_OK", "sep", "fspath", "fsdecode", "fsencode", "strerror", "name", "PathLike"),
)
"""Of the real `os`: what touches nothing."""
_DISK = (
    *("mkdir", "makedirs", "rmdir", "unlink", "link", "rename", "replace", "listdir", "scandir", "stat", "access"),
    *("open", "close", "dup2", "fstat", "read", "pread", "write", "pwrite", "lseek", "ftruncate", "fsync"),
)


class Machine:
    """Outlives drivers and workers; one driver at a time runs on it.

    Args:
        disk: Its disk.
    """

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.boot = 0
        self.pid = 0
        """Of the driver that lives."""
        self.clock: Callable[[], float] = lambda: 0.0
        """Virtual seconds, of the session that runs."""
        self.wall_clock: Callable[[], float] = lambda: 0.0
        self.lock = _Lock()
        """There is one in the product: the journal's, of who syncs."""
        self._tokens = itertools.count()
        self._words = _words_of(self)

    @property
    def boot_id(self) -> str:
        return f"boot-{self.boot}"

    def path(self, text: str) -> Path:
        """Return what the product takes for a path on this machine."""
        return SimulatedPath(text)  # type: ignore[return-value]

    @contextlib.contextmanager
    def mounted(self) -> Iterator[None]:
        """Have the product's modules run on this machine."""
        with stand_ins():
            try:
                _speak(self.disk, self._words)
                yield
            finally:
                _speak(_NOWHERE.disk, _NOWHERE._words)

    def monotonic(self) -> float:
        return self.clock()

    def time(self) -> float:
        return self.wall_clock()

    def token(self, nbytes: int = 8) -> str:
        return f"{next(self._tokens):0{2 * nbytes}x}"


class _Mounted:
    """What is mounted."""

    disk: Disk
    modules = 0
    """How many modules there were when the product's were given the stand-ins; 0 for not now."""


_mounted = _Mounted()


def _join(folder: str | os.PathLike[str], name: str, *more: str) -> str:
    """Join as `posixpath` does; quickly where there is nothing to look out for."""
    if more or name[:1] == "/" or type(folder) is not str or folder[-1:] in ("", "/"):
        return posixpath.join(folder, name, *more)
    return f"{folder}/{name}"


def _rmtree(path: str | os.PathLike[str], ignore_errors: bool = False) -> None:
    disk = _mounted.disk
    try:
        for entry in disk.scandir(path):
            if entry.is_dir():
                _rmtree(entry.path)
            else:
                disk.unlink(entry.path)
        disk.rmdir(path)
    except OSError:
        if not ignore_errors:
            raise


def _syncfs(descriptor: int) -> int:
    _mounted.disk.fstat(descriptor)
    _mounted.disk.sync_all()
    return 0


def _fdatasync(descriptor: int) -> None:
    _mounted.disk.fsync(descriptor)


def _ioctl(*_: object) -> int:
    raise OSError(25, "no such thing on this disk")


class SimulatedPath:
    """What `Path` means on the simulated machine: as much of it as the product asks for."""

    __slots__ = ("_text",)

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._text = path if type(path) is str else os.fspath(path)

    def __fspath__(self) -> str:
        return self._text

    def __str__(self) -> str:
        return self._text

    def __truediv__(self, name: str | os.PathLike[str]) -> SimulatedPath:
        return SimulatedPath(f"{self._text}/{name}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SimulatedPath) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    @property
    def name(self) -> str:
        return self._text.rpartition("/")[2]

    @property
    def parent(self) -> SimulatedPath:
        return SimulatedPath(self._text.rpartition("/")[0])

    def with_name(self, name: str) -> SimulatedPath:
        return self.parent / name

    def open(self, mode: str, buffering: int = -1) -> Stream:
        return Stream(self._text, mode)

    def read_bytes(self) -> bytes:
        disk = _mounted.disk
        descriptor = disk.open(self._text, os.O_RDONLY)
        try:
            return disk.read(descriptor, sys.maxsize)
        finally:
            disk.close(descriptor)

    def write_bytes(self, data: bytes) -> int:
        with self.open("wb") as file:
            return file.write(data)

    def exists(self) -> bool:
        return _mounted.disk.exists(self._text)

    def is_dir(self) -> bool:
        return _mounted.disk.is_dir(self._text)

    def is_file(self) -> bool:
        return _mounted.disk.is_file(self._text)

    def stat(self) -> Found:
        return _mounted.disk.stat(self._text)

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        if parents:
            _mounted.disk.makedirs(self._text, mode, exist_ok)
        elif not (exist_ok and self.is_dir()):
            _mounted.disk.mkdir(self._text, mode)

    def unlink(self, missing_ok: bool = False) -> None:
        try:
            _mounted.disk.unlink(self._text)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def rename(self, target: str | os.PathLike[str]) -> None:
        _mounted.disk.rename(self._text, target)

    def replace(self, target: str | os.PathLike[str]) -> None:
        _mounted.disk.rename(self._text, target)

    def rglob(self, _pattern: str) -> list[SimulatedPath]:
        disk, below = _mounted.disk, []
        for name in disk.names(self._text):
            below.append(path := self / name)
            if path.is_dir():
                below += path.rglob(_pattern)
        return below


_FLAGS = {
    "rb": os.O_RDONLY,
    "r+b": os.O_RDWR,
    "wb": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "xb": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
}


class Stream:
    """What `open` returns, for bytes."""

    __slots__ = ("_descriptor", "_disk")

    def __init__(self, path: str | os.PathLike[str] | int, mode: str = "rb", buffering: int = -1) -> None:
        self._disk = _mounted.disk
        self._descriptor = path if isinstance(path, int) else self._disk.open(path, _FLAGS[mode])

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._disk.close(self._descriptor)

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        self._disk.close(self._descriptor)

    def read(self, count: int = -1) -> bytes:
        return self._disk.read(self._descriptor, sys.maxsize if count < 0 else count)

    def readline(self, limit: int = -1) -> bytes:
        data = self.read(limit)
        end = data.find(b"\n") + 1 or len(data)
        self._disk.lseek(self._descriptor, end - len(data), os.SEEK_CUR)
        return data[:end]

    def __iter__(self) -> Iterator[bytes]:
        return io.BytesIO(self.read())

    def readinto(self, buffer: memoryview) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._disk.lseek(self._descriptor, offset, whence)

    def write(self, data: bytes) -> int:
        rest = data
        while rest:
            rest = rest[self._disk.write(self._descriptor, rest) :]
        return len(data)

    def flush(self) -> None:
        pass


class _NoThread:
    """A thread that is never started: its rounds are run by `background`."""

    def __init__(self, **_: Any) -> None:
        pass

    def start(self) -> None:
        pass

    def is_alive(self) -> bool:
        return False

    def join(self, timeout: float | None = None) -> None:
        pass


class _Lock:
    def __init__(self) -> None:
        self.held = False

    def __enter__(self) -> None:
        assert not self.held, "a thread would wait here for ever"
        self.held = True

    def __exit__(self, *_: object) -> None:
        self.held = False


class _Event:
    def __init__(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        return self._set


class _Condition:
    """Nobody waits: a round is run when there is something to do. One thread at a time: it is its own lock, too."""

    def __init__(self, lock: _Condition | None = None) -> None:
        pass

    def __enter__(self) -> _Condition:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def wait_for(self, predicate: Callable[[], object], timeout: float | None = None) -> bool:
        return bool(predicate())

    def notify(self) -> None:
        pass

    def notify_all(self) -> None:
        pass


# --- what the product's modules find in place of the real ones ------------------------------------------------------


def _module(name: str, /, **names: object) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(names)
    return module


# There is one of each, which speaks for the machine that is mounted: the interpreter remembers where in a module it has
# found a name, and forgets it when the module is another one, or a name is added or removed.
_OS_PATH = _module(
    "posixpath",
    **{name: getattr(posixpath, name) for name in ("dirname", "basename", "abspath", "isabs", "relpath")},
    join=_join,
    realpath=posixpath.abspath,
    islink=lambda path: False,
)
_OS = _module("os", **{name: getattr(os, name) for name in _HARMLESS}, path=_OS_PATH)
_TIME = _module("time", sleep=lambda seconds: None)
_THREADING = _module("threading", Thread=_NoThread, Condition=_Condition, Event=_Event, RLock=_Condition)
_SECRETS = _module("secrets")
_UUID = _module("uuid")
_PROCESSES = _module("processes", hostname=lambda: HOST, pid_namespace=lambda: "", process_start=float)
_FCNTL = _module(  # a lock goes with the driver that held it, and there is only ever one
    "fcntl", LOCK_EX=2, LOCK_NB=4, LOCK_UN=8, flock=lambda *_: None, ioctl=_ioctl
)
_STAND_INS: dict[str, object] = {
    "os": _OS,
    "open": Stream,
    "time": _TIME,
    "threading": _THREADING,
    "fcntl": _FCNTL,
    "secrets": _SECRETS,
    "uuid": _UUID,
    "processes": _PROCESSES,
    "shutil": _module("shutil", rmtree=_rmtree, copystat=lambda *_: None),
    "Path": SimulatedPath,
    "fdatasync": _fdatasync,
    "_libc_function": {"syncfs": _syncfs}.get,
    "fault_point": {}.get,  # nobody arms one here, and this is the quickest way to do nothing
}


_SPEAKERS = (_OS, _OS_PATH, _TIME, _THREADING, _SECRETS, _UUID, _PROCESSES)
_Words = tuple[dict[str, object], ...]


def _words_of(machine: Machine) -> _Words:
    """Return what each of the speakers says when they speak for a machine."""
    disk = machine.disk
    return (
        {
            **{name: getattr(disk, name) for name in _DISK},
            "lstat": disk.stat,
            "fdatasync": disk.fsync,
            "getpid": lambda: machine.pid,
            "urandom": lambda count: machine.token(count).encode(),
        },
        {"exists": disk.exists, "lexists": disk.exists, "isdir": disk.is_dir, "isfile": disk.is_file},
        {"monotonic": machine.monotonic, "perf_counter": machine.monotonic, "time": machine.time},
        {"Lock": lambda: machine.lock},
        {"token_hex": machine.token},
        {"uuid4": lambda: SimpleNamespace(hex=machine.token(16))},
        {"boot_id": lambda: machine.boot_id, "is_alive": lambda pid, start=None: pid == machine.pid},
    )


def _speak(disk: Disk, words: _Words) -> None:
    _mounted.disk = disk
    for speaker, its in zip(_SPEAKERS, words, strict=True):
        vars(speaker).update(its)


_NOWHERE = Machine(Disk(lambda operation, path: None))
"""Mounted when no other is, so that nothing holds on to an experiment that is over."""


@contextlib.contextmanager
def stand_ins() -> Iterator[None]:
    """Have the product's modules find the stand-ins. Of nested ones the outermost does it: it is a hundred names."""
    if _mounted.modules == len(sys.modules):
        yield
        return
    outside, _mounted.modules = _mounted.modules, len(sys.modules)
    before = [(names, name, names[name]) for names, name in _places()]
    try:
        for names, name, _ in before:
            names[name] = _STAND_INS[name]
        yield
    finally:
        for names, name, value in before:
            names[name] = value
        _mounted.modules = outside


def _places() -> list[tuple[dict[str, Any], str]]:
    """Return the names to be replaced, with the dictionaries that hold them."""
    found = [
        vars(module)
        for name, module in sys.modules.items()
        if (name.startswith(_PACKAGES) or name in _MODULES) and name not in _NOT
    ]
    for names in found:
        names.setdefault("open", open)  # for good, see above
    return [(names, name) for names in found for name in _STAND_INS if name in names]
