"""An epoch's file, read many records at a time.

What a hash vouches for is not looked at line by line: the successor's header, or `journal.head`, says what the bytes
before some place were, and one hash of them all takes a twentieth of the time of a checksum per line. Where it does not
match, or nothing is vouched for, each line's seal is checked, which tells at which byte the damage is.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from perdure.errors import JournalCorruptError
from perdure.journal import codec, epochs
from perdure.journal.base import Batch
from perdure.journal.codec import Record
from perdure.journal.epochs import Segment
from perdure.journal.outlines import Outlined
from perdure.journal.reading import reading

_BLOCK = 1 << 16  # about 200 records, decoded at once in a quarter of a millisecond; larger ones fall out of the cache
_WORTH_HASHING = 1 << 20  # who reads a few rows does not wait for the hash of the whole file

R = TypeVar("R", bound=Outlined)
Vouched = Callable[[], tuple[int, str]]
"""Says that the first so many bytes of an epoch's file have this hash; (0, "") where nobody knows."""


def read_records(
    segment: Segment, offset: int, sequence: int, decoder: Callable[[bytes], list[R]], vouched: Vouched
) -> Generator[Batch[R | Record], None, tuple[int, int, str]]:
    """Yield valid records up to the end or the first bad one; return (byte, number) reached and what is bad there."""
    with reading(segment.path):
        limit = segment.limit if segment.limit is not None else 2**63
        look_at = offset + _WORTH_HASHING if offset == segment.start else limit
        known_until = 0
        for found in _whole_lines(segment.path, offset, limit):
            block = found
            if block[-1:] != b"\n":
                return offset, sequence, "it is not a whole record"
            if offset >= look_at:
                look_at, known_until = limit, _vouched_bytes(segment.path, vouched)
            known = offset + len(block) <= known_until
            decoded = codec.decode_lines(block, decoder, known=known)
            records: Sequence[R | Record] = decoded or ()
            problem = ""
            if decoded is None or not _are_in_order(decoded, segment.epoch, sequence, known=known):
                lines = _lines(block)
                records, problem = _up_to_the_bad_one(lines, segment.epoch, sequence)
                block = block[: sum(len(line) + 1 for line in lines[: len(records)])]
            if records:
                batch = Batch(segment.epoch, offset, records, block)
                yield batch
                offset, sequence = batch.end, records[-1].q
            if problem:
                return offset, sequence, problem
        return offset, sequence, ""


def reread_records(segment: Segment, end: int) -> Iterator[Sequence[Record]]:
    """Yield the records of an epoch up to byte `end`, all of which have been read before."""
    for block in _whole_lines(segment.path, segment.start, end):
        records = codec.decode_lines(block, codec.decode_records, known=True)
        yield list(map(_record, _lines(block))) if records is None else records


def _vouched_bytes(path: Path, vouched: Vouched) -> int:
    """Return how many bytes of a file are known to be as they were written."""
    length, digest = vouched()
    return length if length and epochs.hash_file(path, length) == (digest, length) else 0


def _whole_lines(path: Path, start: int, end: int) -> Iterator[bytes]:
    """Yield the lines between two bytes, many at a time, and at last what is no whole line."""
    size = _BLOCK
    with reading(path), path.open("rb", buffering=0) as file:
        file.seek(start)
        while start < end and (block := file.read(min(size, end - start))):
            whole = block.rfind(b"\n") + 1
            if whole:
                yield block[:whole]
                start += whole
            elif len(block) < size:
                yield block
                return
            else:
                size *= 2  # a line that is longer than that
            file.seek(start)


def _lines(block: bytes) -> list[bytes]:
    return block.split(b"\n")[:-1]


def _record(line: bytes) -> Record:
    epoch, sequence, event = codec.decode(line)
    return Record(epoch, sequence, codec.VERSION, event)


def _up_to_the_bad_one(lines: Sequence[bytes], epoch: int, sequence: int) -> tuple[list[Record], str]:
    """Return the records of lines before the first that is not as it was written, and what is wrong with that one."""
    records: list[Record] = []
    for line in lines:
        try:
            record = _record(line)
        except JournalCorruptError as error:
            return records, str(error)
        due = sequence + len(records) + 1
        if record.q != due or record.e != epoch:
            return records, f"it is record {record.q} of epoch {record.e} where record {due} of epoch {epoch} was due"
        records.append(record)
    return records, ""


def _are_in_order(records: Sequence[Outlined], epoch: int, sequence: int, *, known: bool) -> bool:
    """Whether these are the records of the epoch that follow number `sequence`."""
    looked_at = (records[0], records[-1]) if known else records
    due = (sequence + 1, sequence + len(records)) if known else range(sequence + 1, sequence + 1 + len(records))
    return all(record.e == epoch and record.q == number for record, number in zip(looked_at, due, strict=True))
