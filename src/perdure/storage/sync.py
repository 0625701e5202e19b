"""Getting bytes onto the disk: fsync of files, directories and whole file systems."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

START_WRITING = 2
"""`SYNC_FILE_RANGE_WRITE` of sync_file_range(2): start writing dirty pages out, do not wait."""


def fsync_path(path: str | os.PathLike[str]) -> None:
    """Return when the file's bytes, or the directory's entries, have reached the disk.

    Raises:
        OSError: they may not have. Calling again proves nothing: the kernel may have dropped the pages.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_tree(directory: str) -> None:
    """Call fsync on every file and directory under `directory`, and the directory itself last."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                fsync_tree(entry.path)
            elif entry.is_file(follow_symlinks=False):
                fsync_path(entry.path)
    fsync_path(directory)


def sync_filesystem(descriptor: int) -> bool:
    """Flush the file system that holds an open file or directory with one call; return False where there is none.

    Raises:
        OSError: something was not written since `descriptor` was opened, or since it was last told so (Linux 5.8 and
            later tell). One that is opened afterwards is not told again of what any other was told of.
    """
    syncfs = _libc_function("syncfs")
    if syncfs is None:
        return False
    _checked(syncfs(descriptor))
    return True


def start_writing_tree(directory: str) -> None:
    """Have the kernel start writing the files under `directory` out, where it can; durability still needs an fsync.

    Raises:
        OSError: a file cannot be opened.
    """
    sync_file_range = _libc_function("sync_file_range")
    if sync_file_range is None:
        return
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                start_writing_tree(entry.path)
            elif entry.is_file(follow_symlinks=False):
                descriptor = os.open(entry.path, os.O_RDONLY)
                try:
                    # A refusal costs nothing but time: the fsync that follows does all the work then.
                    sync_file_range(descriptor, 0, 0, START_WRITING)
                finally:
                    os.close(descriptor)


@functools.cache
def _libc_function(name: str) -> Callable[..., int] | None:
    import ctypes  # costs 8 ms, and most processes never sync in the background

    try:
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (AttributeError, OSError, TypeError):
        return None
    function.restype = ctypes.c_int
    if name == "sync_file_range":
        function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    else:
        function.argtypes = (ctypes.c_int,)
    return function  # type: ignore[no-any-return]


def _checked(result: int) -> None:
    if result != 0:
        import ctypes

        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
