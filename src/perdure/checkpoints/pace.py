"""Background work that leaves the machine to the trials."""

from __future__ import annotations

import time
from collections.abc import Callable

REST = 3.0
"""Seconds of rest per second of work: a quarter of one core is what the background takes."""
STRETCH_S = 0.002
"""So much is done between two rests: a rest costs some 50 microseconds of its own."""


class Pace:
    """Is told of each piece of work that is done, and rests after each stretch of it.

    The thread's priority is left alone on purpose. Lowering it would let the kernel preempt the thread while it holds
    the interpreter lock, and with busy trials on every core the driver's loop would wait for it to be scheduled again.

    Args:
        rest_s: Says how many seconds to rest after so many seconds of work; 0 if there is a hurry.
        rest: Waits so many seconds, or until there is a hurry.
        clock: Seconds, monotonic.
        stretch_s: How long to work, in seconds, between two rests.
    """

    def __init__(
        self,
        *,
        rest_s: Callable[[float], float],
        rest: Callable[[float], object],
        clock: Callable[[], float] = time.perf_counter,
        stretch_s: float = STRETCH_S,
    ) -> None:
        self._rest_s = rest_s
        self._rest = rest
        self._clock = clock
        self._stretch_s = stretch_s
        self._since = clock()

    def __call__(self) -> None:
        """Rest, if enough was done since the last rest."""
        worked_s = self._clock() - self._since
        if worked_s < self._stretch_s:
            return
        if (rest_s := self._rest_s(worked_s)) > 0:
            self._rest(rest_s)
        self._since = self._clock()
