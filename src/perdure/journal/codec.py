"""One record, one line of JSON: how events become lines, and lines events.

    {"e":1,"q":12,"v":1,"d":{"type":"reported",...},"c":"83742b67"}

`e` epoch, `q` sequence number, `v` schema version of `d`, `c` crc32c of everything before `,"c"`. A line of another
kind (an epoch's header, the head) has the same seal at its end, so that one function checks them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

import msgspec
from crc32c import crc32c

from perdure.core.events import AnyEvent, Data
from perdure.errors import InternalError, JournalCorruptError, JournalVersionError

VERSION = 1
"""Schema version of the events that this perdure writes."""

Upcast = Callable[[Data], Data]

_UPCASTS: dict[int, Upcast] = {}

_SEAL = len(',"c":"00000000"}')
_SEAL_OPENS = b',"c":"'
_SEAL_CLOSES = b'"}'


class Record(msgspec.Struct, frozen=True, gc=False):
    """A line, decoded: epoch, sequence number, schema version and event."""

    e: int
    q: int
    v: int
    d: AnyEvent


class Versioned(Protocol):
    """What says of which schema version it is."""

    @property
    def v(self) -> int: ...


R = TypeVar("R", bound=Versioned)


class _Versioned(msgspec.Struct, frozen=True):
    """A line whose event may be of any version."""

    e: int
    q: int
    v: int
    d: msgspec.Raw


_encode_event = msgspec.json.Encoder().encode
_record_decoder = msgspec.json.Decoder(Record)
_decode_record = _record_decoder.decode
_decode_versioned = msgspec.json.Decoder(_Versioned).decode
_decode_data = msgspec.json.Decoder(Data).decode


def decode_records(block: bytes) -> list[Record]:
    """Return what the lines of `block` hold, unchecked."""
    return _record_decoder.decode_lines(block)


def upcast(version: int) -> Callable[[Upcast], Upcast]:
    """Register the function that turns an event's data of `version` into that of `version + 1`."""

    def register(function: Upcast) -> Upcast:
        _UPCASTS[version] = function
        return function

    return register


# --- lines ----------------------------------------------------------------------------------------------------------


def seal(body: bytes) -> bytes:
    """Return the line whose JSON object begins with `body` (which lacks its closing brace)."""
    return b'%b,"c":"%08x"}\n' % (body, crc32c(body))


def is_sealed(line: bytes) -> bool:
    """Say whether a line, with or without its newline, is whole and as it was written."""
    end = len(line) - 1 if line[-1:] == b"\n" else len(line)
    opens = end - _SEAL
    # Compared as text: int() would also take "+3742B67", which nobody wrote.
    return line[opens:end] == b',"c":"%08x"}' % crc32c(memoryview(line)[: max(opens, 0)])


# --- events ---------------------------------------------------------------------------------------------------------


def encode_event(event: AnyEvent, epoch: int, sequence: int) -> bytes:
    """Return the line, newline included, of one event.

    Raises:
        InternalError: the event holds something that is not data.
    """
    try:
        data = _encode_event(event)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InternalError(f"This event cannot be journaled: {error}\n{event!r:.2000}") from error
    return seal(b'{"e":%d,"q":%d,"v":%d,"d":%b' % (epoch, sequence, VERSION, data))


def encode(events: Iterable[AnyEvent], epoch: int, sequence: int) -> bytes:
    """Return the lines of `events`, the first of which has number `sequence`."""
    return b"".join(encode_event(event, epoch, sequence + index) for index, event in enumerate(events))


def encode_and_decode(event: AnyEvent, epoch: int, sequence: int) -> tuple[bytes, AnyEvent]:
    """Return the line of an event, and the event as that line will be read. Takes 3 us for a small one.

    Raises:
        InternalError: the event cannot be encoded, or not be read back.
    """
    line = encode_event(event, epoch, sequence)
    try:
        return line, decode_sealed(line)[2]
    except JournalCorruptError as error:
        raise InternalError(f"This event would not be read back, so it was not written: {event!r:.2000}") from error


def decode(line: bytes) -> tuple[int, int, AnyEvent]:
    """Return (epoch, sequence number, event) of a line, with or without its newline.

    Raises:
        JournalCorruptError: it is not whole, or not what was written. The message says why, not where.
        JournalVersionError: its event is of a newer version, or of an older one that cannot be up-cast.
    """
    if not is_sealed(line):
        raise JournalCorruptError(_why_unsealed(line))
    return decode_sealed(line)


def decode_lines(block: bytes, decoder: Callable[[bytes], list[R]], *, known: bool = False) -> list[R] | None:
    """Return the records of many lines, several times as fast as one by one; None if `decode` must look at each.

    Args:
        block: The lines, each with its newline.
        decoder: `decode_records`, or another reading of the same lines.
        known: They are as they were written: their seals need not be checked.
    """
    if not known and not _are_sealed(block.split(b"\n")):
        return None
    try:
        records = decoder(block)
    except msgspec.DecodeError:
        return None
    if {record.v for record in records} != {VERSION} or not (known or len(records) == block.count(b"\n")):
        return None
    return records


def _are_sealed(lines: list[bytes]) -> bool:
    """Whether these lines, without their newlines and followed by an empty one, are whole and as they were written."""
    seals = [line[-_SEAL:] for line in lines]
    return seals.pop() == b"" and seals == [b',"c":"%08x"}' % crc32c(line[:-_SEAL]) for line in lines[:-1]]


def decode_sealed(line: bytes) -> tuple[int, int, AnyEvent]:
    """Return what `decode` does of a line that is known to be as it was written."""
    try:
        record = _decode_record(line)
    except msgspec.DecodeError as error:
        return _decode_other_version(line, error)
    if record.v != VERSION:  # it happens to have a shape that we know
        return _decode_other_version(line, None)
    return record.e, record.q, record.d


def _why_unsealed(line: bytes) -> str:
    if line[-_SEAL - 1 :].rstrip(b"\n")[-2:] != _SEAL_CLOSES or _SEAL_OPENS not in line:
        return "it is not a whole record"
    return "its checksum does not match its bytes"


def _decode_other_version(line: bytes, cause: msgspec.DecodeError | None) -> tuple[int, int, AnyEvent]:
    try:
        raw = _decode_versioned(line)
    except msgspec.DecodeError as error:
        raise JournalCorruptError(f"it is not a record ({error})") from error
    check_version(raw.v)
    if raw.v == VERSION:
        raise JournalCorruptError(f"it is not an event that this version knows ({cause})") from cause
    data = _decode_data(raw.d)
    for version in range(raw.v, VERSION):
        if version not in _UPCASTS:
            raise JournalVersionError(
                f"The record is of schema version {raw.v}, and this perdure no longer reads version {version} "
                f"(it writes {VERSION}). Read the experiment with an older perdure."
            )
        data = _UPCASTS[version](data)
    try:
        return raw.e, raw.q, msgspec.convert(data, AnyEvent)
    except msgspec.ValidationError as error:
        raise JournalCorruptError(f"its event of version {raw.v} is not one of version {VERSION} ({error})") from error


def check_version(version: int) -> None:
    """Raise JournalVersionError if `version` is newer than this perdure writes."""
    if version > VERSION:
        raise JournalVersionError(
            f"It is of schema version {version}, and this perdure knows versions up to {VERSION}: it was written by a "
            "newer perdure. Upgrade to read it. Nothing was changed."
        )
