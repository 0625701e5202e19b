"""The thread that draws: it calls `paint` a few times a second until it is told to stop.

Drawing has a thread of its own so that a terminal that does not take its text (a pause with Ctrl-S, a full pipe) holds
up nobody but itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

_SHARE = 20
"""Painting may take one part in so many of the time; slower painting is done less often."""
_LONGEST_S = 2.0
_CLOSE_S = 5.0


class Painter:
    """Calls `paint(last)` every `interval_s` seconds, and once more, with `last` True, when it is closed."""

    def __init__(self, paint: Callable[[bool], None], *, interval_s: float) -> None:
        self._paint = paint
        self._interval_s = interval_s
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="perdure-display", daemon=True)

    def start(self) -> None:
        """Start painting, the first time at once."""
        self._thread.start()

    def close(self) -> None:
        """Paint a last time, and return when that is done, or has taken five seconds."""
        self._closing.set()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        going = self._painted(last=False)  # not timed: it loads what painting needs
        wait_s = self._interval_s
        while going and not self._closing.wait(wait_s):
            began = time.monotonic()
            going = self._painted(last=False)
            wait_s = min(max(self._interval_s, (time.monotonic() - began) * _SHARE), _LONGEST_S)
        if going:
            self._painted(last=True)

    def _painted(self, *, last: bool) -> bool:
        try:
            self._paint(last)
        except Exception:
            logger.warning("The progress display failed and was switched off; the run goes on.", exc_info=True)
            return False
        return True
