"""When something goes wrong: who dies at which step, which operation fails, who gets a turn in between."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable

from perdure.testing.simulation.disk import Disk
from perdure.testing.simulation.faults import Faults

NEVER = 1 << 60
ERRORS = 4
"""Operations that fail in one experiment at most, or it would not end."""
LINGERS = 12
"""Steps that a driver does at most after an operation of which it dies."""
CALL = "call"
"""A step of the driver that is no operation on the disk."""


class Crash(BaseException):
    """The driver dies here."""


class WorkerDeath(BaseException):
    """The worker dies here."""


class _Actor:
    """Somebody who does steps; counted are his own."""

    def __init__(self, death: type[BaseException]) -> None:
        self.death = death
        self.crash_at = self.error_at = self.meddle_at = NEVER
        self.done = 0
        self.gap = 1
        self.left = 1

    def plan(self) -> None:
        """Set how many steps there are until something is due."""
        self.gap = self.left = max(1, min(self.crash_at, self.error_at, self.meddle_at) - self.done)


class Fate:
    """Draws all that goes wrong on a disk.

    Args:
        faults: How often.
        rng: What draws.
        meddle: Gives the driver's other threads a turn.
    """

    def __init__(self, faults: Faults, rng: random.Random, meddle: Callable[[], None]) -> None:
        self.faults = faults
        self.rng = rng
        self.meddle = meddle
        self.disk = Disk(self._trouble)
        if faults.lies:
            self.disk.lies = lambda: self.chance(faults.lies)
        self.errors_left = ERRORS
        self._spared = faults.spares | {CALL}
        self.failed = False
        """Whether any operation has failed, or there was no space."""
        self._actor = _Actor(Crash)

    def chance(self, probability: float) -> bool:
        """Whether something happens that happens so often."""
        return probability > 0 and self.rng.random() < probability

    def begin_session(self, crash_after: int | None) -> None:
        """Let a driver live, for so many steps."""
        self.disk.full = False
        self._actor = self._make(Crash, crash_after)
        self.disk.until_trouble = self._actor.left

    def rest(self) -> None:
        """Let nothing go wrong from here on."""
        self.errors_left = 0
        self.begin_session(None)

    def worker(self, dies_after: int | None) -> _AsWorker:
        """What is done in the context is done by a worker, who lives for so many steps."""
        return _AsWorker(self, dies_after)

    def call(self) -> None:
        """Count a step of the driver that is not one of the disk's."""
        disk = self.disk
        disk.until_trouble -= 1
        if disk.until_trouble <= 0:
            self._trouble(CALL, "")

    def take_turns(self, actor: _Actor) -> _Actor:
        """Have another one do the next steps; return who did them so far."""
        before = self._actor
        before.left = self.disk.until_trouble
        self._actor = actor
        self.disk.until_trouble = actor.left
        return before

    def make_worker(self, dies_after: int | None) -> _Actor:
        """Return one who lives for so many steps, and whom no thread of the driver's interrupts."""
        worker = self._make(WorkerDeath, dies_after)
        worker.meddle_at = NEVER
        worker.plan()
        return worker

    def _make(self, death: type[BaseException], dies_after: int | None) -> _Actor:
        actor = _Actor(death)
        actor.crash_at = NEVER if dies_after is None else dies_after
        actor.error_at = self._gap(self.faults.errors)
        actor.meddle_at = self._gap(self.faults.meddles)
        actor.plan()
        return actor

    def _gap(self, probability: float) -> int:
        return 1 + int(self.rng.expovariate(probability)) if probability else NEVER

    def _trouble(self, operation: str, path: str) -> None:
        actor = self._actor
        actor.done += actor.gap
        if actor.done >= actor.crash_at:
            actor.gap = 0  # and so at each further step: the dead do nothing
            raise actor.death
        meddle, error = actor.done >= actor.meddle_at, actor.done >= actor.error_at and operation not in self._spared
        if meddle:
            actor.meddle_at = actor.done + self._gap(self.faults.meddles)
        if error:
            actor.error_at = actor.done + self._gap(self.faults.errors)
        actor.plan()
        if actor.error_at <= actor.done:  # not yet at an operation that can fail
            actor.gap = actor.left = 1
        self.disk.until_trouble = actor.left
        if meddle:
            self.meddle()
        if error and self.errors_left > 0:
            self._fail(path)

    def _fail(self, path: str) -> None:
        self.errors_left -= 1
        self.failed = True
        actor = self._actor
        if actor.death is Crash and self.chance(self.faults.dies_of_errors):
            actor.crash_at = min(actor.crash_at, actor.done + self.rng.randint(1, LINGERS))
            actor.plan()
            self.disk.until_trouble = actor.left
        if self.chance(self.faults.fills):
            self.disk.full = True
        else:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)


class _AsWorker:
    """The context in which a worker does the steps; one of `contextlib` costs three times as much."""

    __slots__ = ("_driver", "_fate", "_worker")

    def __init__(self, fate: Fate, dies_after: int | None) -> None:
        self._fate = fate
        self._worker = fate.make_worker(dies_after)

    def __enter__(self) -> None:
        self._driver = self._fate.take_turns(self._worker)

    def __exit__(self, *_: object) -> None:
        self._fate.take_turns(self._driver)
