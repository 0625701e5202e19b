"""How a request is made, and its answer waited for, from anywhere: a command, a notebook, the driver itself."""

from __future__ import annotations

import time
from concurrent.futures import CancelledError
from pathlib import Path

from perdure.control.door import Door
from perdure.control.route import taker_of
from perdure.control.stand_in import stand_in
from perdure.core.events import AnyEvent, RequestRefused
from perdure.core.requests import AnyRequest
from perdure.errors import DriverSilentError, ExperimentLockedError, RequestRefusedError
from perdure.journal.base import START, Position
from perdure.journal.claim import read_claim
from perdure.journal.epochs import read_head
from perdure.journal.file import FileJournalReader

PATIENCE_S = 30.0
"""A driver looks once a second, between two turns of its loop."""
_PAUSE_S = 0.05


def ask(experiment: Path, request: AnyRequest, *, patience_s: float = PATIENCE_S) -> AnyEvent | None:
    """Have `request` met by whoever drives the experiment, or by this process where nobody does.

    When it returns, that it is met is journaled; the event says so. None: it was handed over within this process.

    Raises:
        RequestRefusedError: it cannot be met.
        DriverSilentError: a driver is alive and did not answer in time. The request stays.
        StorageError: the experiment cannot be read or written.
    """
    taker = taker_of(str(experiment))
    if taker is not None:
        try:
            taker(request)
        except CancelledError:
            pass  # the session has ended meanwhile
        else:
            return None
    after = _near_the_end(experiment)
    name = Door(experiment).post(request)
    until = time.monotonic() + patience_s
    journal = FileJournalReader(experiment)
    while True:
        for position, event in journal.read(after):
            after = position
            if getattr(event, "request", None) == name:
                return _met(event)
        if _is_driven(experiment):
            if time.monotonic() > until:
                raise DriverSilentError(_silence(experiment, patience_s))
            time.sleep(_PAUSE_S)
            continue
        try:
            stand_in(experiment)
        except ExperimentLockedError:  # a driver has just started
            time.sleep(_PAUSE_S)


def _met(event: AnyEvent) -> AnyEvent:
    if isinstance(event, RequestRefused):
        raise RequestRefusedError(f"Nothing was changed: {event.reason}")
    return event


def _is_driven(experiment: Path) -> bool:
    claim = read_claim(experiment)
    return claim is not None and claim.alive


def _near_the_end(experiment: Path) -> Position:
    """Return a position close before the journal's end: a request cannot be answered before it was made."""
    head = read_head(experiment)
    return START if head is None else Position(head.epoch, head.sequence, head.offset)


def _silence(experiment: Path, patience_s: float) -> str:
    return (
        f"The driver of {experiment} ({read_claim(experiment)}) is alive and has not answered within {patience_s:g} s. "
        "The request stays, and is taken up when the driver's loop turns again; a callback, a searcher or a storage "
        "may be holding it up."
    )
