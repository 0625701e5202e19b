"""Where requests are answered, each once, by whoever drives the experiment.

The order is what makes it once. A request's file stays until the record that answers it has reached the disk; then the
file is removed, and only when it cannot come back is its id forgotten. A driver that dies in between finds the file
again, and the id among those that were answered.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as NotYet
from typing import Protocol

from perdure.control import route
from perdure.control.door import Door
from perdure.core.events import AnyEvent, RequestRefused, RequestsCleared
from perdure.core.requests import AnyRequest, answer
from perdure.core.state import State
from perdure.errors import RequestRefusedError
from perdure.storage.faults import fault_point

PERIOD_S = 1.0
"""Seconds between looks at the directory, if nothing else is asked for."""
UNREADABLE = "control/{name}.json is damaged, or no request that this version of perdure understands."


class Driver(Protocol):
    """What a desk needs of whoever drives the experiment."""

    state: State

    def emit(self, event: AnyEvent) -> None:
        """Add an event to what is written next, and fold it into the state."""
        ...

    def after_commit(self, effect: Callable[[], None]) -> None:
        """Do something once what was emitted so far is written."""
        ...

    def knock(self) -> None:
        """Have the desk looked at soon. Called from any thread."""
        ...

    @property
    def emitted(self) -> int:
        """Sequence number of what was emitted last."""
        ...

    @property
    def synced(self) -> int:
        """Sequence number of the last record that is known to have reached the disk."""
        ...


class Desk:
    """Answers requests.

    Args:
        driver: Whose experiment it is.
        door: Where requests of other processes lie; None where there is no directory.
        saves: The trainable saves when it is told to.
        wall_clock: Unix seconds.
        period_s: Seconds between looks at the door.
    """

    def __init__(
        self,
        driver: Driver,
        door: Door | None,
        *,
        saves: bool,
        wall_clock: Callable[[], float],
        period_s: float = PERIOD_S,
    ) -> None:
        self._driver = driver
        self._door = door
        self._saves = saves
        self._wall_clock = wall_clock
        self._period_s = period_s
        self._look_at = float("-inf")
        self._answered_by: int | None = None
        """The files of answered requests may go once this record is on the disk."""
        self._handed: queue.SimpleQueue[tuple[AnyRequest, Future[AnyEvent]]] = queue.SimpleQueue()
        """Requests of other threads of this process, which wait for their answers."""
        self._thread = threading.get_ident()
        self._closed = False

    @contextlib.contextmanager
    def open(self, path: str) -> Iterator[None]:
        """While inside, requests of this very process to the experiment at `path` come here without a file."""
        self._thread = threading.get_ident()
        try:
            with route.through(path, self.take):
                yield
        finally:
            self._closed = True

    def attend(self, now: float) -> None:
        """Answer what other threads have handed over, and, now and then, what other processes have."""
        while not self._handed.empty():
            request, waiting = self._handed.get()
            if not waiting.set_running_or_notify_cancel():
                continue  # whoever asked has given up
            self._driver.after_commit(_settling(waiting, self.answer(request)))
        if self._door is not None and now >= self._look_at:
            self._look_at = now + self._period_s
            self._attend_door(self._door)

    def answer(self, request: AnyRequest, name: str = "") -> AnyEvent:
        """Do what is asked, or refuse it; return the event that does, which is not yet written."""
        event = answer(self._driver.state, request, name=name, at=self._wall_clock(), saves=self._saves)
        if name or not isinstance(event, RequestRefused):
            self._driver.emit(event)
        return event

    def take(self, request: AnyRequest, patience_s: float) -> None:
        """Answer a request of this process: at once in the thread of the loop, else as soon as it is written.

        Raises:
            RequestRefusedError: it cannot be met.
            CancelledError: the session ended before it was taken up.
            concurrent.futures.TimeoutError: it was not taken up within `patience_s` seconds, and never will be.
        """
        inside = threading.get_ident() == self._thread
        event = self.answer(request) if inside else self._hand_over(request, patience_s)
        if isinstance(event, RequestRefused):
            raise RequestRefusedError(f"Nothing was changed: {event.reason}")

    def _hand_over(self, request: AnyRequest, patience_s: float) -> AnyEvent:
        waiting: Future[AnyEvent] = Future()
        self._handed.put((request, waiting))
        self._driver.knock()
        until = time.monotonic() + patience_s
        while True:
            try:
                left = PERIOD_S if waiting.running() else max(0.0, until - time.monotonic())
                return waiting.result(timeout=min(PERIOD_S, left))
            except NotYet:
                if self._closed and not waiting.done():
                    waiting.cancel()
                    raise CancelledError from None
                if time.monotonic() >= until and waiting.cancel():
                    raise

    def _attend_door(self, door: Door) -> None:
        driver, state = self._driver, self._driver.state
        for name, request in door.read(state.answered):
            fault_point("request.read")
            if request is None:
                driver.emit(RequestRefused(at=self._wall_clock(), request=name, reason=UNREADABLE.format(name=name)))
            else:
                self.answer(request, name)
            self._answered_by = driver.emitted
        self.clear()

    def clear(self) -> None:
        """Remove the files of requests whose answers have reached the disk, and forget these."""
        driver, door, state = self._driver, self._door, self._driver.state
        if door is None or not state.answered:
            return
        if self._answered_by is None:  # answered by a driver before
            self._answered_by = driver.emitted
        if driver.synced >= self._answered_by and door.remove(state.answered):
            fault_point("request.removed")
            driver.emit(RequestsCleared(at=self._wall_clock(), requests=tuple(state.answered)))


def _settling(waiting: Future[AnyEvent], event: AnyEvent) -> Callable[[], None]:
    return lambda: waiting.set_result(event)
