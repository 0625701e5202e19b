"""How many threads the numeric libraries of a process use.

A template imports them under one thread each, so that there are none to lose in a fork; a worker then gives them as
many as its trial has CPUs.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping

VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)

_ALONE = {
    **dict.fromkeys(VARIABLES, "1"),
    # Arrow's allocator has a thread that gives memory back; pandas imports Arrow where it is installed.
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
"""What keeps libraries from starting threads when they are imported."""

_NUMERIC = ("numpy", "scipy", "sklearn")


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
    """Have libraries that are imported inside use one thread; the environment is as before afterwards."""
    before = {name: os.environ.get(name) for name in _ALONE}
    os.environ.update(_ALONE)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class ThreadCounts:
    """Lets this process's libraries use one thread for each CPU of its trial, unless the environment says otherwise.

    Libraries that are imported later read the environment; those that are loaded are told.
    """

    def __init__(self) -> None:
        self._asked_for = os.environ.get("OMP_NUM_THREADS")
        self._told = 1

    def give(self, resources: Mapping[str, float]) -> None:
        """Set the counts for a trial with these resources."""
        if self._asked_for is None:
            count = max(1, int(resources.get("CPU", 1)))
            os.environ["OMP_NUM_THREADS"] = str(count)
        else:
            count = _number(self._asked_for)
        if count != self._told:  # looking through the loaded libraries takes milliseconds
            self._told = count
            _tell_torch(count)
            _tell_the_rest(count)


def _number(text: str) -> int:
    try:
        return max(1, int(text.split(",", maxsplit=1)[0]))
    except ValueError:
        return 1


def _tell_torch(count: int) -> None:
    torch = sys.modules.get("torch")
    if torch is not None:
        with contextlib.suppress(Exception):  # half imported, or not the torch we know
            torch.set_num_threads(count)


def _tell_the_rest(count: int) -> None:
    if any(name in sys.modules for name in _NUMERIC):
        with contextlib.suppress(Exception):  # threadpoolctl is optional, and odd libraries upset it
            import threadpoolctl

            threadpoolctl.threadpool_limits(count)
