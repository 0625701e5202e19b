"""What should be done now: the answers of `planner.plan`.

Commands are imperative and never journaled. A command that was carried out shows as an event; one that was lost in a
crash is planned again, because the goal it serves is still in the state.
"""

from __future__ import annotations

from typing import Union

import msgspec

from perdure.core.events import Source


class Suggest(msgspec.Struct, frozen=True):
    """There is room for a trial and none waits: ask the searcher for one."""


class Wake(msgspec.Struct, frozen=True):
    """There is room, and none but paused trials to use it: ask the scheduler which of them go on.

    `early`: a new trial could be had instead, so ask only for those that are to go on before one.
    """

    early: bool = False


class Launch(msgspec.Struct, frozen=True):
    """Start the next attempt of a trial that waits."""

    trial: str


class StopAttempt(msgspec.Struct, frozen=True):
    """The running attempt of this trial is to end at its next report."""

    trial: str


class Retire(msgspec.Struct, frozen=True):
    """These checkpoints are no longer needed by anything."""

    items: tuple[Source, ...]


class MakeDurable(msgspec.Struct, frozen=True):
    """Bring these checkpoints to the disk."""

    items: tuple[Source, ...]


class Delete(msgspec.Struct, frozen=True):
    """Remove the bytes of these checkpoints; they were retired."""

    items: tuple[Source, ...]


class Await(msgspec.Struct, frozen=True):
    """Nothing is left to do but what people hold back: wait for them to let trials go on.

    It names not all of them, as it is planned over and over while they are waited for.
    """

    held: int
    newest: str
    """The one held back last."""


class Finish(msgspec.Struct, frozen=True):
    """Nothing runs and nothing is left to start: the session is over."""

    finished: bool
    """Whether the experiment is, too, as far as its trials tell: False where a stop left some for a restore."""


Command = Union[Suggest, Wake, Launch, StopAttempt, Retire, MakeDurable, Delete, Await, Finish]
