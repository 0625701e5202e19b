"""A journal without a disk: for tests, simulation and inline runs that nobody wants to keep."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from perdure.core.events import AnyEvent
from perdure.errors import ClaimLostError, ExperimentLockedError
from perdure.journal import codec
from perdure.journal.base import START, Batch, Position


class MemoryStore:
    """What outlives a `MemoryJournal`: the lines, and who may write them. Two drivers of one experiment share one."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.epoch = 0
        self.claimed = False

    def abandon(self) -> None:
        """Do as if the driver had died."""
        self.claimed = False


class MemoryJournal:
    """Writer and reader in one. Events go through the same lines as on a disk, so the same is refused and returned.

    Args:
        store: Of an experiment to go on with; a new one if None.

    Raises:
        ExperimentLockedError: another journal on this store has not been closed.
    """

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store = MemoryStore() if store is None else store
        if self.store.claimed:
            raise ExperimentLockedError("The experiment in memory has another driver. Close its journal first.")
        self.store.claimed = True
        self.store.epoch += 1
        self._epoch = self.store.epoch
        self._closed = False
        self._staged: list[bytes] = []
        self._position = Position(self._epoch, len(self.store.lines), 0)

    @property
    def epoch(self) -> int:
        """The number of this driver."""
        return self._epoch

    @property
    def position(self) -> Position:
        """Of the record appended last."""
        return self._position

    @property
    def synced(self) -> int:
        """Sequence number of the last record: memory has no disk to wait for."""
        return self._position.sequence

    def stage(self, event: AnyEvent) -> AnyEvent:
        """Add `event` to the batch that `commit` will keep, and return it as decoded from what will be kept.

        Raises:
            InternalError: the event is not data.
        """
        number = self._position.sequence + len(self._staged) + 1
        line, decoded = codec.encode_and_decode(event, self._epoch, number)
        self._staged.append(line)
        return decoded

    def commit(self) -> None:
        """Keep all that was staged.

        Raises:
            ClaimLostError: another driver has taken over, or the journal is closed.
        """
        if self._closed or self.store.epoch != self._epoch:
            raise ClaimLostError("This driver no longer owns the experiment in memory; nothing was kept.")
        self.store.lines.extend(self._staged)
        self._position = Position(self._epoch, len(self.store.lines), 0)
        self._staged = []

    def append(self, events: Sequence[AnyEvent]) -> list[AnyEvent]:
        """Stage and commit at once: keep all of `events`, and return them as decoded from what is kept.

        Raises:
            ClaimLostError: another driver has taken over, or the journal is closed.
            InternalError: an event is not data.
        """
        before = len(self._staged)
        try:
            decoded = [self.stage(event) for event in events]
            self.commit()
        except BaseException:
            del self._staged[before:]
            raise
        return decoded

    def sync(self) -> None:
        """Do nothing: there is no disk."""

    def close(self) -> None:
        """Give the claim back. What was kept can still be read."""
        if not self._closed and self.store.epoch == self._epoch:
            self.store.claimed = False
        self._closed = True

    def read(self, after: Position = START) -> Iterator[tuple[Position, AnyEvent]]:
        """Yield the records that follow `after`, up to what has been kept by now."""
        for line in self.store.lines[after.sequence :]:
            epoch, sequence, event = codec.decode(line)
            yield Position(epoch, sequence, 0), event

    def read_many(self, after: Position = START) -> Iterator[Batch[codec.Record]]:
        """Yield the records that follow `after`, those of an epoch at a time."""
        for epoch, found in itertools.groupby(self.read(after), key=lambda item: item[0].epoch):
            records = [codec.Record(epoch, at.sequence, codec.VERSION, event) for at, event in found]
            yield Batch(epoch, 0, records)

    def reread(self, until: Position) -> Iterator[Sequence[codec.Record]]:
        """Yield the records up to `until` once more."""
        lines = self.store.lines[: until.sequence]
        records = codec.decode_lines(b"".join(lines), codec.decode_records, known=True)
        if records is None:
            decoded = map(codec.decode, lines)
            records = [codec.Record(epoch, sequence, codec.VERSION, event) for epoch, sequence, event in decoded]
        yield records
