"""Where the rows of an experiment are: which records are the rows of a trial's view, and how they are read again.

Rows are not held in memory. Of each the history keeps its key and its number in the journal (16 bytes), of every few
hundred records where they stand, and reads a row again when it is asked for. A history without a reader, made from a
list of events, keeps the events themselves.
"""

from __future__ import annotations

import operator
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

from perdure.core.events import Reported
from perdure.errors import StorageError
from perdure.journal.base import START, JournalReader, Position
from perdure.journal.outlines import RowOutline

_SEGMENT = 40  # bits of a row's key that hold the iteration
_MARK_EVERY = 256  # records, of which the place of one is held
_FAR = 1024  # rows of a trial with more records than this between them are looked for apart


class RowIndex:
    """Which records the rows of one trial's view are, in the order of their keys."""

    __slots__ = ("_gone", "_kept", "_keys", "_sequences", "superseded")

    def __init__(self, *, keep: bool, gone: set[int]) -> None:
        self._keys = array("q")
        self._sequences = array("q")
        self._kept: list[Reported] | None = [] if keep else None
        self._gone = gone  # sequence numbers of superseded rows, of all trials
        self.superseded = 0
        """Rows that were in the view once and no longer are."""

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, sequence: int, event: Reported) -> int:
        """Put a row at the end; rows at or after its key are superseded. Returns how many were."""
        key = (event.segment << _SEGMENT) + event.iteration
        keys = self._keys
        dropped = self.cut(event.segment, event.iteration - 1) if keys and keys[-1] >= key else 0
        keys.append(key)
        self._sequences.append(sequence)
        if self._kept is not None:
            self._kept.append(event)
        return dropped

    def extend(self, sequences: Sequence[int], rows: Sequence[RowOutline]) -> bool:
        """Put many rows at the end; False, with nothing done, where they do not just follow what is there."""
        more = [(row.segment << _SEGMENT) + row.iteration for row in rows]
        keys = self._keys
        if (keys and keys[-1] >= more[0]) or any(map(operator.ge, more, more[1:])):
            return False
        layout = f"{len(more)}q"
        keys.frombytes(struct.pack(layout, *more))
        self._sequences.frombytes(struct.pack(layout, *sequences))
        return True

    def cut(self, segment: int, iteration: int) -> int:
        """Supersede every row after the key (segment, iteration). Returns how many there were."""
        first = bisect_left(self._keys, (segment << _SEGMENT) + iteration + 1)
        dropped = len(self) - first
        if dropped:
            self._gone.update(self._sequences[first:])
            del self._keys[first:]
            del self._sequences[first:]
            if self._kept is not None:
                del self._kept[first:]
            self.superseded += dropped
        return dropped

    def clear(self) -> int:
        """Supersede every row. Returns how many there were."""
        return self.cut(-1, 0)

    def find(self, segment: int, iteration: int) -> int | None:
        """Return the index of the row with that key, or None."""
        key = (segment << _SEGMENT) + iteration
        index = bisect_left(self._keys, key)
        return index if index < len(self) and self._keys[index] == key else None

    def kept(self, index: int) -> Reported | None:
        """Return the row itself, where rows are kept."""
        return None if self._kept is None else self._kept[index]

    def sequence(self, index: int) -> int:
        """Return the sequence number of the row's record."""
        return self._sequences[index]


class RowSource:
    """Gives the rows of an experiment: read from the journal again, or kept.

    Args:
        reader: Reads the journal; None keeps the rows in memory.
        path: The experiment's directory, for messages.
    """

    def __init__(self, reader: JournalReader | None, path: str) -> None:
        self._reader = reader
        self._path = path
        self._superseded: set[int] = set()
        self._marks: list[Position] = [START]  # of every few hundred records the one before them

    def new_index(self) -> RowIndex:
        """Return the index of a trial that has no rows yet."""
        return RowIndex(keep=self._reader is None, gone=self._superseded)

    def mark(self, before: Position) -> None:
        """Take note of where a record stands, by the one before it, if none near it is known."""
        if before.sequence - self._marks[-1].sequence >= _MARK_EVERY:
            self._marks.append(before)

    def rows(self, index: RowIndex) -> Iterator[Reported]:
        """Yield the rows of a trial's view in order."""
        count = len(index)
        if self._reader is None:
            yield from (row for row in map(index.kept, range(count)) if row is not None)
            return
        i = 0
        while i < min(count, len(index)):
            for row in self._near(index, i):
                yield row
                i += 1
                if i >= min(count, len(index)):
                    return

    def row(self, index: RowIndex, i: int) -> Reported:
        """Return the row number `i` of a trial's view."""
        kept = index.kept(i)
        return next(self._near(index, i)) if kept is None else kept

    def _near(self, index: RowIndex, i: int) -> Iterator[Reported]:
        """Yield the row number `i` and those after it that are in the journal not far from each other."""
        assert self._reader is not None
        due = index.sequence(i)
        mark = self._marks[bisect_right(self._marks, due - 1, key=_sequence_of) - 1]
        for position, event in self._reader.read(mark):
            if position.sequence == due:
                assert isinstance(event, Reported)
                yield event
                i += 1
                if i >= len(index) or index.sequence(i) - due > _FAR:
                    return
                due = index.sequence(i)
        raise StorageError(f"Record {due} of the experiment at {self._path}, which was read before, is gone.")

    def every_row(self, until: Position) -> Iterator[list[Reported]]:
        """Yield the rows of all views, each trial's in order, in one pass over the journal up to `until`."""
        assert self._reader is not None
        gone = self._superseded
        for records in self._reader.reread(until):
            found = [record for record in records if type(record.d) is Reported]
            if gone and not gone.isdisjoint(record.q for record in found):
                found = [record for record in found if record.q not in gone]
            rows: list[Any] = [record.d for record in found]
            yield rows


_sequence_of = operator.attrgetter("sequence")
