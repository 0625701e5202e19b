"""A disk in memory that forgets at a power cut whatever was not synced, as POSIX allows it to.

What a file held when it was synced last is kept; of what was written since, any part may be there, or zeros in its
place. A directory goes through its changes in order, as journaling file systems do: those since its last sync are kept
up to some point. One that lies says that it synced and did not.

The methods are those of `os`, so that the product's own modules can run on it (see `machine`).
"""

from __future__ import annotations

import errno
import functools
import itertools
import os
import random
import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple, Union, final

_CREATE, _EXCLUSIVE, _TRUNCATE, _APPEND = os.O_CREAT, os.O_EXCL, os.O_TRUNC, os.O_APPEND
_WRITE = os.O_WRONLY | os.O_RDWR
_NOT_JUST_READ = _WRITE | _CREATE | _EXCLUSIVE | _TRUNCATE
FIRST_DESCRIPTOR = 1_000_000
"""No real file has such a number, so a descriptor that gets away is bad everywhere."""
_DEVICE = 7


_NOTHING = (0, 0)


@final
class File:
    """An inode with bytes."""

    __slots__ = ("data", "dropped", "inode", "links", "modified_ns", "synced")

    def __init__(self, inode: int) -> None:
        self.data = bytearray()
        self.synced = b""
        self.inode = inode
        self.links = 1
        self.modified_ns = 0
        self.dropped = _NOTHING
        """A sync failed: the kernel takes these bytes for clean, so that later syncs succeed and do not write them."""

    def drop(self) -> None:
        """A sync has failed."""
        if self.data != self.synced:
            start = 0 if self.data[: len(self.synced)] != self.synced else len(self.synced)
            self.dropped = (min(start, self.dropped[0]) if self.dropped[1] else start, len(self.data))

    def put(self, offset: int, data: bytes | memoryview) -> None:
        """Write; what was dropped and is written again can be synced again."""
        end = offset + len(data)
        if offset == len(self.data):
            self.data += data
        else:
            self.data[offset:end] = data
        if self.dropped is _NOTHING:
            return
        start, stop = self.dropped
        if offset <= start:
            start = max(start, min(end, stop))
        self.dropped = (start, stop) if start < stop else _NOTHING

    def sync(self) -> None:
        """Have all that is not dropped reached the disk."""
        start, stop = self.dropped
        if not stop:
            if len(self.synced) != len(self.data) or self.synced != self.data:
                self.synced = bytes(self.data)
        elif start >= len(self.synced):
            self.synced = bytes(self.data[:start])  # and what follows is as good as lost


@final
class Folder:
    """An inode with names."""

    __slots__ = ("changes", "entries", "inode", "synced")

    def __init__(self, inode: int) -> None:
        self.inode = inode
        self.entries: dict[str, Node] = {}
        self.synced: dict[str, Node] = {}
        self.changes: list[_Change] = []
        """Since the last sync."""

    def change(self, change: _Change) -> None:
        """Do it, and remember that it has not reached the disk."""
        self.changes.append(change)
        _apply(self.entries, change)

    def sync(self, count: int | None = None) -> None:
        """Have the first `count` changes, or all, reached the disk."""
        if not self.changes:
            return
        for change in self.changes[:count]:
            _apply(self.synced, change)
        self.changes = [] if count is None else self.changes[count:]


Node = Union[File, Folder]


_Change = tuple[str, str, Union[Node, None]]
"""A name that goes, and one that comes for a node; "" and None where there is none."""


def _apply(entries: dict[str, Node], change: _Change) -> None:
    gone, name, node = change
    if gone:
        entries.pop(gone, None)
    if node is not None:
        entries[name] = node


class Handle:
    """An open file."""

    __slots__ = ("append", "node", "offset", "path")

    def __init__(self, node: Node, path: str, append: bool) -> None:
        self.node = node
        self.path = path
        self.append = append
        self.offset = 0


class Found(NamedTuple):
    """What `stat` says."""

    st_mode: int
    st_size: int
    st_mtime_ns: int
    st_ino: int
    st_nlink: int
    st_dev: int = _DEVICE


class Entry:
    """What `scandir` yields."""

    __slots__ = ("_folder", "_node", "name")

    def __init__(self, folder: str, name: str, node: Node) -> None:
        self._folder = folder
        self.name = name
        self._node = node

    @property
    def path(self) -> str:
        return f"{self._folder}/{self.name}"

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return isinstance(self._node, Folder)

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return isinstance(self._node, File)

    def is_symlink(self) -> bool:
        return False

    def stat(self, *, follow_symlinks: bool = True) -> Found:
        return _found(self._node)


class Entries(list[Entry]):
    """The result of `scandir`: to iterate over, and to close."""

    __slots__ = ()

    def __enter__(self) -> Entries:
        return self

    def __exit__(self, *_: object) -> None:
        pass


PathLike = Union[str, "os.PathLike[str]"]


class Disk:
    """Files and folders by absolute path.

    Args:
        trouble: Called once `until_trouble` operations are over, with the operation's name and path. It sets
            `until_trouble` anew, and raises what goes wrong.
    """

    def __init__(self, trouble: Callable[[str, str], None]) -> None:
        self.trouble = trouble
        self.until_trouble = 1
        self.full = False
        """There is no space for anything new."""
        self.lies: Callable[[], bool] | None = None
        """Asked at each sync whether it only pretends to."""
        self.lied = False
        self.on_removal: Callable[[str], None] = lambda path: None
        """Called with the path of each file that is removed, or replaced by another than a copy of it."""
        self._inodes = itertools.count(1)
        self._descriptors = itertools.count(FIRST_DESCRIPTOR)
        self._clock = itertools.count(1)
        self.handles: dict[int, Handle] = {}
        self.root = Folder(next(self._inodes))
        self.nodes: dict[str, Node] = {"": self.root}
        self._add("/disk", Folder(next(self._inodes)))
        self.root.sync()

    # --- fate -------------------------------------------------------------------------------------------------------

    def step(self, operation: str, path: str) -> None:
        """Count an operation; it may be the one at which something goes wrong."""
        self.until_trouble -= 1
        if self.until_trouble <= 0:
            self.trouble(operation, path)

    def holds(self, folder: str, contents: dict[str, bytes]) -> bool:
        """Whether a folder has these files, with these bytes; no operation that anybody does."""
        nodes = self.nodes
        for name, data in contents.items():
            node = nodes.get(f"{folder}/{name}")
            if type(node) is not File or node.data != data:
                return False
        return True

    def _needs_space(self, path: str) -> None:
        if self.full:
            raise _error(errno.ENOSPC, path)

    def cut_power(self, rng: random.Random) -> None:
        """Forget what had not reached the disk."""
        self.handles.clear()
        done: set[int] = set()
        for node in _nodes(self.root):
            if node.inode in done:
                continue
            done.add(node.inode)
            if type(node) is Folder:
                node.sync(rng.randint(0, len(node.changes)))
                node.changes = []
                node.entries = dict(node.synced)
            else:
                _forget(node, rng)
        self.nodes = {"": self.root}
        self._list(self.root, "")
        for path in self.nodes:
            node = self.nodes[path]
            if type(node) is File:
                node.links = 0
        for node in self.nodes.values():
            if type(node) is File:
                node.links += 1

    def _list(self, folder: Folder, path: str) -> None:
        for name, node in folder.entries.items():
            below = f"{path}/{name}"
            self.nodes[below] = node
            if type(node) is Folder:
                self._list(node, below)

    def damage(self, path: str, data: bytes) -> None:
        """Put something else into a file, and onto the disk; no operation that anybody does."""
        node = self.nodes[path]
        assert type(node) is File
        node.data, node.synced = bytearray(data), data

    def peek(self, path: str) -> bytes | None:
        """Return what a file holds, None if it is not there; no operation that anybody does."""
        node = self.nodes.get(path)
        return bytes(node.data) if type(node) is File else None

    def files(self, path: str) -> dict[str, bytes]:
        """Return the files right in a folder; no operation that anybody does."""
        node = self.nodes.get(path)
        if type(node) is not Folder:
            return {}
        return {name: bytes(file.data) for name, file in node.entries.items() if isinstance(file, File)}

    def names(self, path: str) -> list[str]:
        """Return the names in a folder; no operation that anybody does."""
        node = self.nodes.get(path)
        return list(node.entries) if type(node) is Folder else []

    def exists(self, path: PathLike) -> bool:
        """Whether anything is at `path`."""
        return os.fspath(path) in self.nodes

    def is_dir(self, path: PathLike) -> bool:
        return isinstance(self.nodes.get(os.fspath(path)), Folder)

    def is_file(self, path: PathLike) -> bool:
        return isinstance(self.nodes.get(os.fspath(path)), File)

    # --- names ------------------------------------------------------------------------------------------------------

    def _node(self, path: str) -> Node:
        try:
            return self.nodes[path]
        except KeyError:
            raise _error(errno.ENOENT, path) from None

    def _parent(self, path: str) -> tuple[Folder, str]:
        parent, _, name = path.rpartition("/")
        folder = self.nodes.get(parent)
        if folder is None:
            raise _error(errno.ENOENT, path)
        if type(folder) is not Folder:
            raise _error(errno.ENOTDIR, path)
        return folder, name

    def _add(self, path: str, node: Node) -> None:
        folder, name = self._parent(path)
        folder.change(("", name, node))
        self.nodes[path] = node

    def mkdir(self, path: PathLike, mode: int = 0o777) -> None:
        path = os.fspath(path)
        self.step("mkdir", path)
        self._needs_space(path)
        if path in self.nodes:
            raise _error(errno.EEXIST, path)
        self._add(path, Folder(next(self._inodes)))

    def makedirs(self, path: PathLike, mode: int = 0o777, exist_ok: bool = False) -> None:
        path = os.fspath(path)
        if path in self.nodes:
            if not exist_ok:
                raise _error(errno.EEXIST, path)
            return
        parent = path.rpartition("/")[0]
        if parent not in self.nodes:
            self.makedirs(parent, exist_ok=True)
        self.mkdir(path)

    def rmdir(self, path: PathLike) -> None:
        path = os.fspath(path)
        self.step("rmdir", path)
        node = self._node(path)
        if type(node) is not Folder:
            raise _error(errno.ENOTDIR, path)
        if node.entries:
            raise _error(errno.ENOTEMPTY, path)
        self._remove(path)

    def unlink(self, path: PathLike) -> None:
        path = os.fspath(path)
        self.step("unlink", path)
        node = self._node(path)
        if type(node) is Folder:
            raise _error(errno.EISDIR, path)
        self.on_removal(path)
        node.links -= 1
        self._remove(path)

    def _remove(self, path: str) -> None:
        folder, name = self._parent(path)
        folder.change((name, "", None))
        del self.nodes[path]

    def link(self, source: PathLike, target: PathLike) -> None:
        source, target = os.fspath(source), os.fspath(target)
        self.step("link", target)
        self._needs_space(target)
        node = self._node(source)
        if target in self.nodes:
            raise _error(errno.EEXIST, target)
        if type(node) is File:
            node.links += 1
        self._add(target, node)

    def rename(self, source: PathLike, target: PathLike) -> None:
        source, target = os.fspath(source), os.fspath(target)
        self.step("rename", target)
        node = self._node(source)
        there = self.nodes.get(target)
        if type(there) is Folder:
            if type(node) is File:
                raise _error(errno.EISDIR, target)
            if there.entries:
                raise _error(errno.ENOTEMPTY, target)
        elif there is not None:
            if type(node) is Folder:
                raise _error(errno.ENOTDIR, target)
            assert type(node) is File
            if there.data != node.data:
                self.on_removal(target)
            there.links -= 1
        folder, name = self._parent(target)
        if self._parent(source)[0] is not folder:
            raise _error(errno.EXDEV, target)
        folder.change((source.rpartition("/")[2], name, node))
        del self.nodes[source]
        self.nodes[target] = node
        if type(node) is Folder:
            self._move(node, source, target)

    def _move(self, folder: Folder, source: str, target: str) -> None:
        for name, node in folder.entries.items():
            self.nodes[f"{target}/{name}"] = self.nodes.pop(f"{source}/{name}")
            if type(node) is Folder:
                self._move(node, f"{source}/{name}", f"{target}/{name}")

    replace = rename

    def listdir(self, path: PathLike) -> list[str]:
        return list(self._scan(path)[0])

    def scandir(self, path: PathLike) -> Entries:
        entries, path = self._scan(path)
        return Entries([Entry(path, name, below) for name, below in entries.items()])

    def _scan(self, path: PathLike) -> tuple[dict[str, Node], str]:
        path = os.fspath(path)
        self.step("scandir", path)
        node = self._node(path)
        if type(node) is not Folder:
            raise _error(errno.ENOTDIR, path)
        return node.entries, path

    def stat(self, path: PathLike, *, follow_symlinks: bool = True) -> Found:
        path = os.fspath(path)
        self.step("stat", path)
        return _found(self._node(path))

    def access(self, path: PathLike, mode: int) -> bool:
        return os.fspath(path) in self.nodes

    # --- bytes ------------------------------------------------------------------------------------------------------

    def open(self, path: PathLike, flags: int, mode: int = 0o666) -> int:
        if type(path) is not str:
            path = os.fspath(path)
        self.until_trouble -= 1  # as `step` does, without the call: half of all operations are opens
        if self.until_trouble <= 0:
            self.trouble("open", path)
        node = self.nodes.get(path)
        if node is None:
            if not flags & _CREATE:
                self._parent(path)
                raise _error(errno.ENOENT, path)
            self._needs_space(path)
            node = File(next(self._inodes))
            self._add(path, node)
        elif flags & _NOT_JUST_READ:
            if flags & _CREATE and flags & _EXCLUSIVE:
                raise _error(errno.EEXIST, path)
            if type(node) is Folder:
                if flags & _WRITE:
                    raise _error(errno.EISDIR, path)
            elif flags & _TRUNCATE:
                del node.data[:]
        descriptor = next(self._descriptors)
        self.handles[descriptor] = Handle(node, path, flags & _APPEND != 0)
        return descriptor

    def close(self, descriptor: int) -> None:
        if self.handles.pop(descriptor, None) is None:
            raise _error(errno.EBADF, str(descriptor))

    def dup2(self, source: int, target: int, inheritable: bool = True) -> int:
        self.handles[target] = self._handle(source)
        return target

    def _handle(self, descriptor: int) -> Handle:
        try:
            return self.handles[descriptor]
        except KeyError:
            raise _error(errno.EBADF, str(descriptor)) from None

    def _open_file(self, descriptor: int, operation: str) -> tuple[Handle, File]:
        try:
            handle = self.handles[descriptor]
        except KeyError:
            raise _error(errno.EBADF, str(descriptor)) from None
        self.until_trouble -= 1
        if self.until_trouble <= 0:
            self.trouble(operation, handle.path)
        node = handle.node
        if type(node) is Folder:
            raise _error(errno.EISDIR, handle.path)
        return handle, node

    def fstat(self, descriptor: int) -> Found:
        return _found(self._handle(descriptor).node)

    def read(self, descriptor: int, count: int) -> bytes:
        try:
            handle = self.handles[descriptor]
        except KeyError:
            raise _error(errno.EBADF, str(descriptor)) from None
        self.until_trouble -= 1  # all this as `_open_file` does, without the call
        if self.until_trouble <= 0:
            self.trouble("read", handle.path)
        node, start = handle.node, handle.offset
        if type(node) is Folder:
            raise _error(errno.EISDIR, handle.path)
        data = bytes(node.data) if not start and count >= len(node.data) else bytes(node.data[start : start + count])
        handle.offset = start + len(data)
        return data

    def pread(self, descriptor: int, count: int, offset: int) -> bytes:
        _, file = self._open_file(descriptor, "read")
        return bytes(file.data[offset : offset + count])

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        handle, file = self._open_file(descriptor, "write")
        count = len(data)
        if self.full:
            if count < 2:
                raise _error(errno.ENOSPC, handle.path)
            count //= 2  # what is left of the last block; the caller will try to write the rest
            data = data[:count]
        if handle.append:
            handle.offset = len(file.data)
        file.put(handle.offset, data)
        handle.offset += count
        file.modified_ns = next(self._clock)
        return count

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        handle, file = self._open_file(descriptor, "write")
        if self.full and offset + len(data) > len(file.data):
            raise _error(errno.ENOSPC, handle.path)
        file.put(offset, data)
        file.modified_ns = next(self._clock)
        return len(data)

    def lseek(self, descriptor: int, offset: int, whence: int) -> int:
        handle = self._handle(descriptor)
        if whence == os.SEEK_CUR:
            offset += handle.offset
        elif whence == os.SEEK_END:
            assert type(handle.node) is File
            offset += len(handle.node.data)
        handle.offset = offset
        return offset

    def ftruncate(self, descriptor: int, length: int) -> None:
        _, file = self._open_file(descriptor, "truncate")
        del file.data[length:]
        file.data.extend(bytes(length - len(file.data)))
        file.modified_ns = next(self._clock)

    def fsync(self, descriptor: int) -> None:
        handle = self._handle(descriptor)
        self.until_trouble -= 1
        if self.until_trouble <= 0:
            try:
                self.trouble("sync", handle.path)
            except OSError:
                if isinstance(handle.node, File):
                    handle.node.drop()
                raise
        if self.lies is not None and self.lies():
            self.lied = True
        else:
            handle.node.sync()

    def sync_all(self) -> None:
        """Sync the whole file system."""
        self.step("sync", "")
        if self.lies is not None and self.lies():
            self.lied = True
            return
        for node in _nodes(self.root):
            node.sync()


def _nodes(folder: Folder) -> Iterator[Node]:
    """Yield a folder and all that is or was below it since it was synced."""
    yield folder
    seen = {id(node): node for node in (*folder.synced.values(), *folder.entries.values())}
    seen.update({id(node): node for _, _, node in folder.changes if node is not None})
    for node in seen.values():
        if type(node) is Folder:
            yield from _nodes(node)
        else:
            yield node


def _forget(file: File, rng: random.Random) -> None:
    """Choose which of the bytes that were not synced are there."""
    data, synced = bytes(file.data), file.synced
    if data != synced:
        grown = data[: len(synced)] == synced
        torn = rng.randint(len(synced), len(data)) if grown else rng.randint(0, len(data))
        zeros = bytes(len(data) - torn)
        file.data = bytearray(rng.choice((synced, data, data[:torn], data[:torn] + zeros)))
    file.synced = bytes(file.data)


def _found(node: Node) -> Found:
    if type(node) is Folder:
        return Found(stat.S_IFDIR | 0o755, 4096, 0, node.inode, 2)
    return Found(stat.S_IFREG | 0o644, len(node.data), node.modified_ns, node.inode, node.links)


def _error(number: int, path: str) -> OSError:
    return OSError(number, _reason(number), path)


_reason = functools.cache(os.strerror)
