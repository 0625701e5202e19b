"""Who, in this process, takes requests to an experiment without a file: its driver, or a trial that has a way to it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from perdure.core.requests import AnyRequest

PATIENCE_S = 30.0
"""A driver looks once a second, between two turns of its loop."""

Taker = Callable[[AnyRequest, float], None]
"""Returns when a request is met; raises RequestRefusedError when it cannot be. May give up after so many seconds."""

_takers: dict[str, tuple[int, Taker]] = {}


@contextlib.contextmanager
def through(path: str, taker: Taker) -> Iterator[Taker | None]:
    """While inside, requests to the experiment at `path` go to `taker`: of this process, not of those it forks.

    Gives who took them before, if anybody did.
    """
    before, outer = _takers.get(path), taker_of(path)
    _takers[path] = (os.getpid(), taker)
    try:
        yield outer
    finally:
        if before is None:
            _takers.pop(path, None)
        else:
            _takers[path] = before


def taker_of(path: str) -> Taker | None:
    """Return who takes requests to the experiment at `path`, if anybody here does."""
    pid, taker = _takers.get(path, (0, None))
    return taker if pid == os.getpid() else None
