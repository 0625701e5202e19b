"""How a request is made, and its answer waited for, from anywhere: a command, a notebook, the driver itself."""

from __future__ import annotations

import time
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as NotYet
from pathlib import Path

from perdure.control.door import CONTROL, Door
from perdure.control.route import PATIENCE_S, taker_of
from perdure.control.stand_in import stand_in
from perdure.core.events import AnyEvent, RequestRefused
from perdure.core.requests import AnyRequest
from perdure.errors import DriverSilentError, ExperimentLockedError, RequestRefusedError, StorageError
from perdure.journal.base import START, Position
from perdure.journal.claim import read_claim
from perdure.journal.epochs import read_head
from perdure.journal.file import FileJournalReader

_PAUSE_S = 0.05


def ask(experiment: Path, request: AnyRequest, *, patience_s: float = PATIENCE_S) -> AnyEvent | None:
    """Have `request` met by whoever drives the experiment, or by this process where nobody does.

    When it returns, that it is met is journaled; the event says so. None: it was handed over within this process.

    Raises:
        RequestRefusedError: it cannot be met.
        DriverSilentError: a driver is alive and did not answer in time. The request stays, but for one that was
            handed over within this process.
        StorageError: the experiment, or the request, cannot be read or written.
    """
    taker = taker_of(str(experiment))
    if taker is not None:
        try:
            taker(request, patience_s)
        except CancelledError:
            pass  # the session has ended meanwhile
        except NotYet:
            raise DriverSilentError(_silence(experiment, patience_s, left=False)) from None
        else:
            return None
    after = _near_the_end(experiment)
    name = Door(experiment).post(request)
    until = time.monotonic() + patience_s
    journal = FileJournalReader(experiment)
    stood_in = False
    while True:
        for position, event in journal.read(after):
            after = position
            if getattr(event, "request", None) == name:
                return _met(event)
        if stood_in:
            raise StorageError(
                f"The request in {experiment / CONTROL / name}.json was not answered: the file is gone or cannot be "
                "read. Nothing was changed; ask again once that directory can be read."
            )
        try:
            if not _is_driven(experiment):
                stand_in(experiment)
                stood_in = True
                continue
        except ExperimentLockedError:
            pass  # a driver has just started
        if time.monotonic() > until:
            raise DriverSilentError(_silence(experiment, patience_s))
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


def _silence(experiment: Path, patience_s: float, *, left: bool = True) -> str:
    what = (
        "The request stays, and is taken up when the driver's loop turns again"
        if left
        else "The request was withdrawn: do not wait, in the driver's own loop, for a thread that asks for something"
    )
    return (
        f"The driver of {experiment} ({read_claim(experiment)}) is alive and has not answered within {patience_s:g} s. "
        f"{what}; a callback, a searcher or a storage may be holding it up."
    )
