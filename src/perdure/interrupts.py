"""Ctrl-C, SIGTERM and SIGUSR1 while an experiment runs: a first signal stops in good order, a second at once.

After the stop in good order `fit()` returns, with `ResultGrid.interrupted` set, but for SIGTERM: that asks the process
to end, not only the experiment, and has its usual effect once the experiment is in good order (docs/design/011).
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from perdure.core.events import StopRequested

if TYPE_CHECKING:
    from perdure.runner import Runner

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))


@contextmanager
def handled(runner: Runner) -> Iterator[list[int]]:
    """While inside, turn signals into a resumable stop of `runner`; the second one raises KeyboardInterrupt.

    Yields the list of the signals that came. Does nothing outside the main thread, where Python delivers no signals, or
    with TUNE_DISABLE_SIGINT_HANDLER=1; and nothing for a signal that is ignored: whoever started this process wanted
    that, as a shell does with the SIGINT of what it runs in the background, where no Ctrl-C is meant to reach. Nor for
    one that a host of this interpreter handles in C, which Python could not give back to it.
    """
    off = os.environ.get("TUNE_DISABLE_SIGINT_HANDLER") == "1"
    if off or threading.current_thread() is not threading.main_thread():
        yield []
        return
    seen: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        if len(seen) > 1:
            raise KeyboardInterrupt
        runner.interrupt = StopRequested(at=time.time(), reason=signal.Signals(number).name, resumable=True)
        runner.executor.wake()

    ours = [number for number in SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    before = {number: signal.signal(number, stop) for number in ours}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def give_way(seen: Sequence[int]) -> None:
    """Let a SIGTERM have the effect that it has without us, now that the experiment is left in good order.

    A handler of the script's own is called, and this returns. Without one the script ends.

    Raises:
        SystemExit: with 143 (128 + 15), the status that a shell gives to a process that SIGTERM has ended.
    """
    if signal.SIGTERM not in seen:
        return
    before = signal.getsignal(signal.SIGTERM)
    if before is signal.SIG_DFL:
        raise SystemExit(128 + signal.SIGTERM)
    if callable(before):
        before(signal.SIGTERM, None)
