"""What of a journal is history: torn tails told from damage, when a driver opens it and when a person asks.

Damage before what `journal.head` says had reached the disk is refused. After it, the first bad record is where a
crash tore the file, and the next driver's header cuts there. See docs/design/001-journal-format.md.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from perdure.errors import JournalCorruptError
from perdure.journal import codec, epochs
from perdure.journal.claim import Claim, read_claim
from perdure.journal.epochs import Head, Header, Link, Segment
from perdure.journal.reading import reading
from perdure.storage import processes

_CHUNK = 1 << 20
_MOST_DAMAGES = 100  # of one file that are listed one by one


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Damage:
    """One place of a journal that is not as it was written."""

    file: str
    """Name of the file in the experiment's directory."""
    line: int
    """From 1; 0 where it is the file as a whole."""
    offset: int
    """Byte at which the bad record begins."""
    nbytes: int
    """Of the bad record."""
    what: str
    refused: bool
    """The experiment cannot be opened until it is repaired. Otherwise it is what a crash may leave."""

    def __str__(self) -> str:
        where = f", line {self.line}, byte {self.offset}" if self.line else ""
        return f"{self.file}{where}: {self.what}"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CutReport:
    """What a driver found after the last whole record when it opened the journal: it counts for nothing."""

    file: str
    line: int
    offset: int
    nbytes: int
    what: str

    def __str__(self) -> str:
        return (
            f"{self.file} was cut at line {self.line}, byte {self.offset}: the last {self.nbytes} bytes were being "
            f"written when the last driver died ({self.what}). They are kept in the file, and count for nothing."
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """The end of the valid history."""

    epoch: int
    sequence: int
    offset: int


@dataclasses.dataclass(kw_only=True, slots=True)
class Inspection:
    """What was found in an experiment's directory."""

    directory: Path
    head: Head | None
    newest: int
    """Greatest epoch that has a file, or that the head names; 0 without any."""
    segments: list[Segment] = dataclasses.field(default_factory=list)
    damages: list[Damage] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    end: End | None = None
    """Of the records before the first damage."""

    @property
    def refused(self) -> Damage | None:
        """The first damage that keeps the experiment from being opened."""
        return next((damage for damage in self.damages if damage.refused), None)


@dataclasses.dataclass(slots=True)
class _Scan:
    """Where the scan of one segment has come to."""

    offset: int
    sequence: int
    bad: list[tuple[int, int, str]] = dataclasses.field(default_factory=list)
    """(offset, bytes, what) of each bad record."""
    valid_after: int = 0
    """Whole records of this epoch that follow the first bad one."""


# --- the chain ------------------------------------------------------------------------------------------------------


def walk(directory: Path) -> Inspection:
    """Follow the headers from the newest epoch backwards. Reads one line a file.

    Raises:
        JournalVersionError: an epoch was written by a newer perdure.
    """
    # The head is read before the files are listed: a driver that starts meanwhile can then only be ahead of it.
    head = epochs.read_head(directory)
    numbers = epochs.list_epochs(directory)
    newest = max([*numbers, head.epoch if head else 0], default=0)
    found = Inspection(directory=directory, head=head, newest=newest)
    if head is None and (directory / epochs.HEAD_NAME).exists():
        found.notes.append(f"{epochs.HEAD_NAME} is damaged and was ignored: it cannot tell what had reached the disk.")
    elif head is None and numbers:
        found.notes.append(f"{epochs.HEAD_NAME} is missing: nothing tells what had reached the disk.")
    if head and head.epoch not in numbers:
        found.damages.append(_missing(directory, head.epoch, f"{epochs.HEAD_NAME} names it"))
    _chain(found, numbers)
    return found


def _chain(found: Inspection, numbers: list[int]) -> None:
    number, link = (numbers[-1] if numbers else 0), None
    while number:
        path = epochs.epoch_path(found.directory, number)
        try:
            read = epochs.read_header(path)
        except FileNotFoundError:
            found.damages.append(_missing(found.directory, number, "a later epoch goes on from it"))
            read = None
        else:
            if read is None and (link is not None or not _is_void(path, number, found.head)):
                found.damages.append(_bad_header(path))
        if read is None:  # what follows it hangs in the air: history ends before it
            found.segments.clear()
            number, link = max((other for other in numbers if other < number), default=0), None
            continue
        header, sequence, start = read
        found.segments.insert(
            0,
            Segment(
                epoch=number,
                path=path,
                header=header,
                sequence=sequence,
                start=start,
                limit=link.length if link else None,
                hash=link.hash if link else "",
            ),
        )
        number, link = (header.after.epoch, header.after) if header.after else (0, None)


def _is_void(path: Path, number: int, head: Head | None) -> bool:
    """Whether a driver died before it had written the header, and so wrote nothing. Else the header is damaged."""
    if head and head.epoch == number:
        return False
    with reading(path):
        lines = path.read_bytes().split(b"\n")
    return not any(codec.is_sealed(line.removesuffix(b"\r")) for line in lines[1:])


def _missing(directory: Path, epoch: int, why: str) -> Damage:
    name = epochs.epoch_path(directory, epoch).name
    return Damage(file=name, line=0, offset=0, nbytes=0, what=f"the file is missing, and {why}", refused=True)


def _bad_header(path: Path) -> Damage:
    with reading(path), path.open("rb") as file:
        line = file.readline()
    what = "the epoch's header does not match its checksum"
    if not line:
        what = "the file is empty, and had at least a header"
    elif line.endswith(b"\r\n") and codec.is_sealed(line[:-2]):
        what = (
            "its lines end in CR and LF: an editor, Git or a transfer as text has changed the ends of lines. With a "
            "single LF again at each, the file is as it was"
        )
    return Damage(file=path.name, line=1, offset=0, nbytes=len(line), what=what, refused=True)


# --- the records ----------------------------------------------------------------------------------------------------


def inspect(directory: Path, *, deep: bool = False, tick: Callable[[], None] = lambda: None) -> Inspection:
    """Find the end of the valid history, and every damage on the way.

    Closed epochs and what lies before the head are checked by their running hash (gigabytes a second), what follows
    the head record by record. `deep` decodes every record. `tick` is called about every megabyte.

    Raises:
        JournalVersionError: something was written by a newer perdure.
    """
    found = walk(directory)
    sound = True
    for index, segment in enumerate(found.segments):
        if deep and found.end and sound and found.end.sequence != segment.sequence:
            found.damages.append(_bad_join(segment, found.end))
            sound = False
        is_last = index == len(found.segments) - 1
        if is_last:
            problems, end = _last(segment, found.head, deep=deep, tick=tick)
        else:
            problems, end = _closed(segment, deep=deep, tick=tick)
        found.damages.extend(problems)
        if sound:
            found.end = end
        sound = sound and not problems
    return found


def _bad_join(segment: Segment, end: End) -> Damage:
    return Damage(
        file=segment.path.name,
        line=1,
        offset=0,
        nbytes=segment.start,
        what=f"the epoch goes on from record {segment.sequence}, but its predecessor ends with record {end.sequence}",
        refused=True,
    )


def _closed(segment: Segment, *, deep: bool, tick: Callable[[], None]) -> tuple[list[Damage], End]:
    """Check an epoch that has a successor, whose header fixes its length and hash."""
    limit = segment.limit or 0
    digest, length = epochs.hash_file(segment.path, limit)
    tick()
    if not deep and length == limit and digest == segment.hash:
        return [], End(epoch=segment.epoch, sequence=-1, offset=limit)
    scan = _scan(segment, segment.start, segment.sequence, limit, tick)
    problems = _damages(segment, scan, refused=lambda _: True)
    if length < limit:
        what = f"the file ends here, and should have {limit} bytes"
        problems.append(_damage(segment, length, 0, what, refused=True))
    elif digest != segment.hash and not problems:
        what = "its records are whole, but not the ones that its successor's header was made for (their hash differs)"
        problems.append(_damage(segment, segment.start, limit - segment.start, what, refused=True))
        return problems, End(epoch=segment.epoch, sequence=segment.sequence, offset=segment.start)
    return problems, End(epoch=segment.epoch, sequence=scan.sequence, offset=scan.offset)


def _last(segment: Segment, head: Head | None, *, deep: bool, tick: Callable[[], None]) -> tuple[list[Damage], End]:
    """Check the epoch that has no successor: strictly up to the head, and to the first bad record after it."""
    size = segment.path.stat().st_size
    if head is None or head.epoch != segment.epoch:
        # Without any head at all nothing tells a torn record from an old one, but that others were written after it.
        scan = _scan(segment, segment.start, segment.sequence, size, tick)
        is_refused = head is None and scan.valid_after > 0
        return _damages(segment, scan, refused=lambda _: is_refused), _end(segment, scan)
    digest, length = epochs.hash_file(segment.path, head.offset)
    tick()
    as_synced = length == head.offset and digest == head.hash
    if as_synced and not deep:
        scan = _scan(segment, head.offset, head.sequence, size, tick)
    else:
        scan = _scan(segment, segment.start, segment.sequence, size, tick)
    problems = _damages(segment, scan, refused=lambda offset: offset < head.offset)
    if length < head.offset:
        what = f"the file ends here, and {head.offset} bytes of it had reached the disk"
        problems.append(_damage(segment, length, 0, what, refused=True))
    elif not as_synced and not any(problem.refused for problem in problems):
        what = f"its records are whole, but not the ones that had reached the disk (see {epochs.HEAD_NAME})"
        problems.insert(0, _damage(segment, segment.start, head.offset - segment.start, what, refused=True))
        return problems, End(epoch=segment.epoch, sequence=segment.sequence, offset=segment.start)
    return problems, _end(segment, scan)


def _end(segment: Segment, scan: _Scan) -> End:
    return End(epoch=segment.epoch, sequence=scan.sequence, offset=scan.offset)


def _scan(segment: Segment, start: int, sequence: int, end: int, tick: Callable[[], None]) -> _Scan:
    """Read the records of a segment from byte `start` to byte `end`, where `sequence` is that of the one before."""
    scan = _Scan(start, sequence)
    expected = sequence + 1
    offset = start
    with reading(segment.path), segment.path.open("rb", buffering=0) as file:
        file.seek(start)
        rest = b""
        while (left := end - offset - len(rest)) > 0 and (chunk := file.read(min(_CHUNK, left))):
            tick()
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                what, number = _check(line, segment.epoch, expected, is_after_bad=bool(scan.bad))
                if what:
                    scan.bad.append((offset, len(line) + 1, what))
                elif scan.bad:
                    scan.valid_after += 1
                offset += len(line) + 1
                expected = number + 1
                if not scan.bad:
                    scan.offset, scan.sequence = offset, number
    if rest:
        scan.bad.append((offset, len(rest), "it is not a whole record"))
    return scan


def _check(line: bytes, epoch: int, expected: int, *, is_after_bad: bool) -> tuple[str, int]:
    """Return (what is wrong with a record, its sequence number); after a bad one numbers may start anew.

    A bad record counts for none: it may stand in place of one, or have got in between, and what follows is whole then.
    """
    try:
        found_epoch, sequence, _ = codec.decode(line)
    except JournalCorruptError as error:
        return str(error), expected - 1
    if found_epoch != epoch:
        return f"it is a record of epoch {found_epoch}", expected - 1
    if sequence != expected and not (is_after_bad and sequence > expected):
        return f"its sequence number is {sequence} where {expected} was due", expected - 1
    return "", sequence


def _damages(segment: Segment, scan: _Scan, *, refused: Callable[[int], bool]) -> list[Damage]:
    return [
        _damage(segment, offset, nbytes, what, refused=refused(offset))
        for offset, nbytes, what in scan.bad[:_MOST_DAMAGES]
    ]


def _damage(segment: Segment, offset: int, nbytes: int, what: str, *, refused: bool) -> Damage:
    line = line_number(segment.path, offset)
    return Damage(file=segment.path.name, line=line, offset=offset, nbytes=nbytes, what=what, refused=refused)


def line_number(path: Path, offset: int) -> int:
    """Return the number, from 1, of the line that begins at byte `offset`."""
    lines, left = 1, offset
    with path.open("rb", buffering=0) as file:
        while left > 0 and (chunk := file.read(min(_CHUNK, left))):
            lines += chunk.count(b"\n")
            left -= len(chunk)
    return lines


# --- a driver opens it ----------------------------------------------------------------------------------------------


def raise_if_refused(found: Inspection) -> None:
    """Raise JournalCorruptError where acknowledged records are damaged."""
    damage = found.refused
    if damage is None:
        return
    raise JournalCorruptError(
        f"The journal in {found.directory} is damaged: {damage}. Acknowledged records are at stake, so nothing was "
        "changed. Put the file back from a copy; or see what is lost with `perdure verify`, and give up all from "
        "there on with `perdure repair --cut`."
    )


def cut_of(found: Inspection) -> CutReport | None:
    """Return what lies after the end of the valid history, in its file."""
    if found.end is None or not found.damages:
        return None
    first = next(damage for damage in found.damages if _is_in(found, damage))
    size = epochs.epoch_path(found.directory, found.end.epoch).stat().st_size
    return CutReport(file=first.file, line=first.line, offset=first.offset, nbytes=size - first.offset, what=first.what)


def _is_in(found: Inspection, damage: Damage) -> bool:
    return found.end is not None and damage.file == epochs.epoch_path(found.directory, found.end.epoch).name


def header_after(found: Inspection, *, repaired: bool = False) -> tuple[Header, int]:
    """Return (header of the epoch that goes on from what was found, last sequence number before it)."""
    link, sequence = None, 0
    if found.end is not None:
        path = epochs.epoch_path(found.directory, found.end.epoch)
        # The header promises these bytes, so they must be on the disk before it is. Those of which no head says so are
        # written again first: if the last driver's sync failed, the kernel takes pages that it dropped for written.
        head = found.head
        known = head.offset if head is not None and head.epoch == found.end.epoch else 0
        with path.open("r+b" if known < found.end.offset else "rb", buffering=0) as file:
            _write_again(file.fileno(), known, found.end.offset)
            epochs.fdatasync(file.fileno())
        digest, _ = epochs.hash_file(path, found.end.offset)
        cut = path.stat().st_size - found.end.offset
        link = Link(epoch=found.end.epoch, length=found.end.offset, hash=digest, cut=cut)
        sequence = found.end.sequence
    header = Header(created_at=time.time(), host=processes.hostname(), pid=os.getpid(), after=link, repaired=repaired)
    return header, sequence


def settled(found: Inspection, header: Header) -> tuple[Segment, ...]:
    """Return the epochs of the history that `header` goes on from, which fixes where the last of them ends."""
    if header.after is None:
        return ()
    *closed, last = found.segments
    return (*closed, msgspec.structs.replace(last, limit=header.after.length, hash=header.after.hash))


def _write_again(descriptor: int, start: int, end: int) -> None:
    """Write bytes `start` to `end` of a file as they are, so that the next sync has something to do."""
    while start < end and (chunk := os.pread(descriptor, min(_CHUNK, end - start), start)):
        start += os.pwrite(descriptor, chunk, start)


# --- a person asks --------------------------------------------------------------------------------------------------


def verify_journal(directory: str | os.PathLike[str]) -> list[Damage]:
    """Read every record of the journal in `directory` and return what is not as it was written; [] if all is well.

    Needs no claim, and may run while a driver writes: what that one is just writing is no damage.

    Raises:
        JournalVersionError: something was written by a newer perdure.
    """
    found = inspect(Path(directory), deep=True)
    notes = [_of_head(note) for note in found.notes]
    claim = read_claim(directory)
    # A write becomes visible page by page, so a reader may meet the first half of a record.
    is_running = claim is not None and claim.alive
    return [damage for damage in found.damages + notes if damage.refused or not is_running]


def _of_head(note: str) -> Damage:
    """Return what is known of a missing or damaged head: less can be told, and nothing is lost."""
    return Damage(file=epochs.HEAD_NAME, line=0, offset=0, nbytes=0, what=note, refused=False)


def repair_journal(directory: str | os.PathLike[str], *, cut: bool) -> list[Damage]:
    """Give up all records from the first damage on, if `cut`; return the damages that were found.

    The cut is the header of a new epoch. No file is truncated or removed, and nothing is done where the journal can
    be opened as it is.

    Raises:
        ExperimentLockedError: a driver is running.
        JournalCorruptError: there is nothing before the damage that could be kept.
    """
    place = Path(directory)
    if not cut:
        return verify_journal(place)
    claim = Claim(place, lease_s=30.0)
    try:
        found = inspect(place, deep=True, tick=claim.check)
        if found.refused is not None:
            claim.check()
            _cut(found)
        return found.damages
    finally:
        claim.release()


def _cut(found: Inspection) -> None:
    if found.end is None:
        raise JournalCorruptError(
            f"The journal in {found.directory} cannot be repaired: {found.refused}, and no record is before that. "
            "Nothing was changed. Put the file back from a copy."
        )
    header, sequence = header_after(found, repaired=True)
    epoch = found.newest + 1
    descriptor, line = epochs.create_epoch(found.directory, epoch, header, sequence)
    os.close(descriptor)
    hasher = epochs.new_hasher()
    hasher.update(line)
    epochs.write_head(found.directory, Head(epoch=epoch, sequence=sequence, offset=len(line), hash=hasher.hexdigest()))
