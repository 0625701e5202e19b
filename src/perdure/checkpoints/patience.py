"""Trying again, because a storage that cannot be read right now is no reason to condemn a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from perdure.errors import PerdureError
from perdure.storage.base import storage_error

DELAYS_S = (0.05, 0.2, 0.8)
"""Waits between tries. After the last one the error stands."""

_Result = TypeVar("_Result")


def patiently(action: Callable[[], _Result], what: str) -> _Result:
    """Return what `action` returns, repeating it while it raises an OSError that may pass.

    Args:
        action: Something that can be done again.
        what: Says what failed, in the final error.

    Raises:
        FileNotFoundError, NotADirectoryError: at once; that is an answer, not a failure.
        StorageError: it failed as often as it was tried. Never a CheckpointError.
    """
    for delay_s in (*DELAYS_S, None):
        try:
            return action()
        except (FileNotFoundError, NotADirectoryError, PerdureError):
            raise
        except OSError as error:
            if delay_s is None:
                raise storage_error(error, f"{what} after {len(DELAYS_S) + 1} tries") from error
            time.sleep(delay_s)
    raise AssertionError("unreachable")
