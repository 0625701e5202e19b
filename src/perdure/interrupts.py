"""Ctrl-C, SIGTERM and SIGUSR1 while an experiment runs: a first signal stops in good order, a second at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from perdure.core.events import StopRequested

if TYPE_CHECKING:
    from perdure.runner import Runner

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))


@contextmanager
def handled(runner: Runner) -> Iterator[None]:
    """While inside, turn signals into a resumable stop of `runner`; the second one raises KeyboardInterrupt.

    Does nothing outside the main thread, where Python delivers no signals, or with TUNE_DISABLE_SIGINT_HANDLER=1.
    """
    off = os.environ.get("TUNE_DISABLE_SIGINT_HANDLER") == "1"
    if off or threading.current_thread() is not threading.main_thread():
        yield
        return
    seen = 0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal seen
        seen += 1
        if seen > 1:
            raise KeyboardInterrupt
        runner.interrupt = StopRequested(at=time.time(), reason=signal.Signals(number).name, resumable=True)
        runner.executor.wake()

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
