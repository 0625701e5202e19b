"""A journal that the system does not let be read: said with the file's name and what to do about it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from perdure.errors import JournalVersionError, StorageError


@contextlib.contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """While inside, `path` is read: an error of the system's, which may name no file, becomes a StorageError that does.

    So does the discovery that it was written by a newer perdure.

    A missing file is left to the caller, to whom it may mean something.

    Raises:
        JournalVersionError: a newer perdure wrote it.
        StorageError: the file cannot be read right now; that is no damage to what it holds.
    """
    try:
        yield
    except JournalVersionError as error:
        raise JournalVersionError(f"{os.fspath(path)} cannot be read. {error}") from error
    except (StorageError, FileNotFoundError):
        raise
    except OSError as error:
        raise StorageError(
            f"{error.filename or os.fspath(path)} cannot be read: {error.strerror or error}. Nothing was changed, and "
            "nothing is lost that the disk still has. See that you may read the file, and that its disk or mount is in "
            "order; then do the same again. If the disk fails, copy the experiment's directory to another one first, "
            "and go on with the copy."
        ) from error
