"""The port to an experiment's history. One conformance suite, `perdure.testing.JournalTests`, holds for all.

A journal is written by one driver at a time and read by anybody at any time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from perdure.core.events import AnyEvent
from perdure.journal.codec import Record, decode_sealed
from perdure.journal.outlines import Outlined, RowOutline


class Position(NamedTuple):
    """Where a record stands: its driver's epoch, its sequence number, and the byte after it in its epoch's file.

    The first record of an experiment is (1, 1); sequence numbers go on over epochs.
    """

    epoch: int
    sequence: int
    offset: int = 0


START = Position(0, 0, 0)

R_co = TypeVar("R_co", bound=Outlined, covariant=True)


class Batch(Generic[R_co]):
    """Records of one epoch that follow each other.

    Args:
        epoch: Theirs.
        begin: The byte at which the first one begins.
        records: At least one.
        block: Their lines; empty where there are no bytes.
    """

    def __init__(self, epoch: int, begin: int, records: Sequence[R_co], block: bytes = b"") -> None:
        self.epoch = epoch
        self.begin = begin
        self.records = records
        self._block = block
        self._tail: list[bytes] = []  # the last lines, as many as have been asked for

    def event(self, index: int) -> AnyEvent:
        """Return the event of a record in full, where it was read in outline."""
        event = self.records[index].d
        if not isinstance(event, RowOutline):
            return event
        count = len(self.records) - index if index >= 0 else -index
        if count > len(self._tail):
            wanted = max(count, 2 * len(self._tail))
            self._tail = self._block[:-1].rsplit(b"\n", wanted)[-wanted:]
        return decode_sealed(self._tail[-count])[2]

    @property
    def ends(self) -> Sequence[int]:
        """For each record, the byte after it; 0 where there are no bytes."""
        if not self._block:
            return [0] * len(self.records)
        lines = self._block.split(b"\n")[:-1]
        return list(itertools.accumulate((len(line) + 1 for line in lines), initial=self.begin))[1:]

    @property
    def end(self) -> int:
        """The byte after the last record."""
        return self.begin + len(self._block)

    @property
    def before(self) -> Position:
        """Where the record before the first one stands, or the epoch's header."""
        return Position(self.epoch, self.records[0].q - 1, self.begin)

    @property
    def last(self) -> Position:
        """Where the last record stands."""
        return Position(self.epoch, self.records[-1].q, self.end)


class JournalWriter(Protocol):
    """The one writer. Making one takes the experiment's claim and starts a new epoch."""

    @property
    def epoch(self) -> int: ...

    @property
    def position(self) -> Position:
        """Of the record appended last."""
        ...

    @property
    def synced(self) -> int:
        """Sequence number of the last record that is known to have reached the disk."""
        ...

    def stage(self, event: AnyEvent) -> AnyEvent:
        """Add `event` to the batch that `commit` will write, and return it as decoded from what will be written."""
        ...

    def commit(self) -> None:
        """Write all that was staged with one write. When it returns it survives the death of any process.

        What was staged stays so where this raises, so that it can be tried again.

        Raises:
            ClaimLostError: another driver has taken over. Nothing of the batch counts.
            StorageFullError: no space; nothing of the batch stays in the file.
        """
        ...

    def append(self, events: Sequence[AnyEvent]) -> list[AnyEvent]:
        """Stage and commit at once: write `events` with one write, and return them as decoded from what was written.

        When it returns they survive the death of any process. The state is folded from the returned events, so
        that a replay cannot differ from it. Where it raises, `events` are not staged either.

        Raises:
            ClaimLostError: another driver has taken over. Nothing that was passed counts.
            StorageFullError: no space; nothing of the batch stays in the file.
        """
        ...

    def sync(self) -> None:
        """Return when everything appended so far has reached the disk."""
        ...

    def close(self) -> None:
        """Sync, and give the claim back. What was staged and not committed is dropped."""
        ...


class JournalReader(Protocol):
    """A reader. Never truncates, never locks, and may run while the writer writes."""

    def read(self, after: Position = START) -> Iterator[tuple[Position, AnyEvent]]:
        """Yield the valid records that follow `after`, up to what has been written by now.

        A torn last line is not there yet: it is not yielded, and a later call may yield it whole.
        """
        ...

    def read_many(self, after: Position = START) -> Iterator[Batch[Outlined]]:
        """Yield what `read` yields, many records at a time; rows may be in outline."""
        ...

    def reread(self, until: Position) -> Iterator[Sequence[Record]]:
        """Yield the records up to `until`, where a `read` has got to, once more: many at a time, and faster."""
        ...
