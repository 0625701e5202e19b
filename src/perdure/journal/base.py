"""The port to an experiment's history. One conformance suite, `perdure.testing.JournalTests`, holds for all.

A journal is written by one driver at a time and read by anybody at any time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from perdure.core.events import AnyEvent
from perdure.journal.codec import Record


class Position(NamedTuple):
    """Where a record stands: its driver's epoch, its sequence number, and the byte after it in its epoch's file.

    The first record of an experiment is (1, 1); sequence numbers go on over epochs.
    """

    epoch: int
    sequence: int
    offset: int = 0


START = Position(0, 0, 0)


class Batch(NamedTuple):
    """Records of one epoch that follow each other."""

    epoch: int
    begin: int
    """The byte at which the first one begins."""
    records: Sequence[Record]
    ends: Sequence[int]
    """For each, the byte after it."""

    def position(self, index: int) -> Position:
        """Return where a record stands."""
        return Position(self.epoch, self.records[index].q, self.ends[index])


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

    def read_many(self, after: Position = START) -> Iterator[Batch]:
        """Yield what `read` yields, many records at a time."""
        ...

    def reread(self, until: Position) -> Iterator[Sequence[Record]]:
        """Yield the records up to `until`, where a `read` has got to, once more: many at a time, and faster."""
        ...
