"""What went wrong in a trial, as its user would want to see it: their own frames, as text that is kept."""

from __future__ import annotations

import contextlib
import linecache
import os
import pickle
import re
import traceback
from pathlib import Path

from perdure.core.events import ErrorInfo
from perdure.errors import StorageError, UserError
from perdure.journal.values import unicode_text
from perdure.storage.local import write_atomic
from perdure.trainable.pickling import sealed, unsealed

ERROR_PICKLE = "error.pkl"
"""In a trial's directory: the exception that ended its latest attempt that failed. Its text is in the journal."""
_FRAME_WITHOUT_SOURCE = re.compile(r'^  File "(?P<file>[^"\n]+)", line (?P<line>\d+), in .*\n(?!    )', re.MULTILINE)
_PACKAGE = str(Path(__file__).resolve().parent.parent) + os.sep


def describe(error: BaseException) -> ErrorInfo:
    """Return an exception as text, with the traceback of the user's code alone. Causes and contexts are kept."""
    if isinstance(error, SystemExit):
        message = f"The trial's code called sys.exit({error.code!r}), which ends a trial in error unless it is 0."
        exit_code = error.code if isinstance(error.code, int) else 1
        return ErrorInfo(kind="SystemExit", message=message, traceback=user_traceback(error), exit_code=exit_code)
    return ErrorInfo(kind=type(error).__name__, message=_message(error), traceback=user_traceback(error))


def user_traceback(error: BaseException) -> str:
    """Return the formatted traceback of `error` without perdure's frames.

    Where there are no others they stay, for they may lead to a bug. Of a UserError or StorageError they do
    not: its message tells all, and the text is empty if nothing led to it.
    """
    told = traceback.TracebackException.from_exception(error)
    _strip(told, set())
    if isinstance(error, (UserError, StorageError)) and all(_is_ours(frame) for frame in told.stack):
        if error.__cause__ is None and (error.__context__ is None or error.__suppress_context__):
            return ""
        told.stack = traceback.StackSummary()
    return unicode_text("".join(told.format()))


def with_cells(text: str) -> str:
    """Return a formatted traceback with the source lines that only this process has: those of a notebook's cells.

    A cell is no file, so the trial's process, which made the traceback, could not look its lines up.
    """
    return _FRAME_WITHOUT_SOURCE.sub(_with_source, text)


def _with_source(frame: re.Match[str]) -> str:
    source = linecache.getline(frame["file"], int(frame["line"])).strip()
    return f"{frame[0]}    {source}\n" if source else frame[0]


def store_exception(error: BaseException, directory: str) -> None:
    """Pickle `error` into `error.pkl`, with a digest, so that the driver can raise the very exception; best effort.

    One that cannot be pickled, or not loaded again, is left out: its text is in the journal anyway.
    """
    path = os.path.join(directory, ERROR_PICKLE)
    with contextlib.suppress(Exception):
        os.unlink(path)
    with contextlib.suppress(Exception):
        import cloudpickle

        data = cloudpickle.dumps(error, protocol=5)
        if isinstance(pickle.loads(data), BaseException):
            write_atomic(path, sealed(data))


def check_exception(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of the exception that `store_exception` left, without loading them.

    Raises:
        StorageError: they are not what was written.
        OSError: they cannot be read; most trials have none.
    """
    data = Path(path).read_bytes()
    return data if _is_bare(data) else unsealed(data, path)


def _is_bare(data: bytes) -> bool:
    """Whether these bytes end where a pickle does: an older perdure left no digest behind it."""
    import pickletools  # costs milliseconds, and no trial needs it

    try:
        return data.endswith(pickle.STOP) and [at for _, _, at in pickletools.genops(data)][-1:] == [len(data) - 1]
    except ValueError:
        return False


def _message(error: BaseException) -> str:
    try:
        return unicode_text(str(error))
    except Exception as failure:
        return f"<its message could not be made: {failure!r}>"


def _strip(told: traceback.TracebackException, seen: set[int]) -> None:
    if id(told) in seen:
        return
    seen.add(id(told))
    users = [frame for frame in told.stack if not _is_ours(frame)]
    if users:
        told.stack = traceback.StackSummary.from_list(users)
    for other in (told.__cause__, told.__context__, *(getattr(told, "exceptions", None) or ())):
        if other is not None:
            _strip(other, seen)


def _is_ours(frame: traceback.FrameSummary) -> bool:
    return frame.filename.startswith(_PACKAGE)
