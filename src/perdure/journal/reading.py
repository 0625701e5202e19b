"""A journal that the system does not let be read: said with the file's name and what to do about it."""

from __future__ import annotations

import os

from perdure.errors import JournalVersionError, StorageError


class reading:  # noqa: N801 - used like a function: one of `contextlib` takes three times as long to enter and leave
    """While inside, `path` is read: an error of the system's, which may name no file, becomes a StorageError that does.

    So does the discovery that it was written by a newer perdure.

    A missing file is left to the caller, to whom it may mean something.

    Raises:
        JournalVersionError: a newer perdure wrote it.
        StorageError: the file cannot be read right now; that is no damage to what it holds.
    """

    __slots__ = ("_path",)

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        if isinstance(error, JournalVersionError):
            raise JournalVersionError(f"{os.fspath(self._path)} cannot be read. {error}") from error
        if not isinstance(error, OSError) or isinstance(error, (StorageError, FileNotFoundError)):
            return
        raise StorageError(
            f"{error.filename or os.fspath(self._path)} cannot be read: {error.strerror or error}. Nothing was "
            "changed, and nothing is lost that the disk still has. See that you may read the file, and that its disk "
            "or mount is in order; then do the same again. If the disk fails, copy the experiment's directory to "
            "another one first, and go on with the copy."
        ) from error
