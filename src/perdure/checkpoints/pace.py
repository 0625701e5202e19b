"""Background work that leaves the machine to the trials."""

from __future__ import annotations

import time
from collections.abc import Callable

from perdure.storage.sync import start_writing

REST = 3.0
"""Seconds of rest per second of work: a quarter of one core, and of the disk, is what the background takes."""


class Pace:
    """Rests after each chunk of work, for as long as that took times `REST`, unless there is a hurry.

    The thread's priority is left alone on purpose. Lowering it would let the kernel preempt the thread while it holds
    the interpreter lock, and with busy trials on every core the driver's loop would wait for it to be scheduled again.

    Args:
        hurry: Asked before each rest; True skips it.
        rest: Waits so many seconds, or until there is a hurry.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        *,
        hurry: Callable[[], bool],
        rest: Callable[[float], object],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._hurry = hurry
        self._rest = rest
        self._clock = clock
        self._since = clock()

    def begin(self) -> None:
        """Count work from now on."""
        self._since = self._clock()

    def __call__(self, descriptor: int, offset: int, nbytes: int) -> None:
        """Have a chunk that was read also written out to the disk, and rest."""
        start_writing(descriptor, offset, nbytes)
        worked_s = self._clock() - self._since
        if not self._hurry():
            self._rest(worked_s * REST)
        self.begin()
