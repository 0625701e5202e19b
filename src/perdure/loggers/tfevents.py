"""TensorBoard's event files, written by hand: protobuf messages in TFRecord frames, without TensorFlow or torch.

A frame is the length (8 bytes), its masked CRC-32C, the data and its masked CRC-32C. The messages and their field
numbers are those of TensorFlow's event.proto and summary.proto, and of the hparams plugin's plugin_data.proto.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Mapping

import crc32c

_MASK = 0xA282EAD8
_MAX_LAYOUTS = 1000
_FIXED64, _BYTES, _FIXED32 = 1, 2, 5
_BYTE = [bytes((value,)) for value in range(128)]

_pack_double = struct.Struct("<d").pack
_pack_float = struct.Struct("<f").pack
_pack_length = struct.Struct("<Q").pack
_pack_crc = struct.Struct("<I").pack

SESSION_START = 1
"""SessionLog.START: what was logged at this step and after it is void."""
SUCCESS, FAILURE = 1, 2
"""How a session of the hparams plugin ended."""


def record(data: bytes) -> bytes:
    """Return a message in its frame."""
    return b"".join((_frame_head(len(data)), data, _masked_crc(data)))


@functools.lru_cache(maxsize=1024)
def _frame_head(size: int) -> bytes:
    length = _pack_length(size)
    return length + _masked_crc(length)


def _masked_crc(data: bytes) -> bytes:
    crc = crc32c.crc32c(data)
    return _pack_crc((((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF)


def _varint(value: int) -> bytes:
    if 0 <= value < 0x80:
        return _BYTE[value]
    out = bytearray()
    value &= 0xFFFFFFFFFFFFFFFF
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, data: bytes) -> bytes:
    return _BYTE[number << 3 | _BYTES] + _varint(len(data)) + data


def _text(number: int, text: str) -> bytes:
    return _field(number, text.encode(errors="backslashreplace"))  # a path may hold lone surrogates


def _double(number: int, value: float) -> bytes:
    return _BYTE[number << 3 | _FIXED64] + _pack_double(value)


def _number(number: int, value: int) -> bytes:
    return _BYTE[number << 3] + _varint(value)


_VERSION = _text(3, "brain.Event:2")


@functools.lru_cache(maxsize=16)  # the trials that begin in one second have the same
def version_event(wall_time: float) -> bytes:
    """Return the record every file begins with."""
    return record(_double(1, wall_time) + _VERSION)


def session_start(wall_time: float, step: int) -> bytes:
    """Return the record that voids everything logged at `step` and after it, in this file and the ones before."""
    return record(_double(1, wall_time) + _number(2, step) + _field(7, _number(1, SESSION_START)))


class ScalarEncoder:
    """Encodes rows of scalars. Remembers the encoded tags, which are the same in most rows.

    Args:
        leave_out: Names that are not written.
    """

    def __init__(self, leave_out: frozenset[str] = frozenset()) -> None:
        self._leave_out = leave_out
        self._tags: dict[tuple[str, ...], list[bytes | None]] = {}

    def event(self, wall_time: float, step: int, row: Mapping[str, object]) -> bytes:
        """Return one record with all numbers of a flat row; one beyond 32 bits of float becomes an infinity."""
        names = tuple(row)
        tags = self._tags.get(names)
        if tags is None:
            if len(self._tags) > _MAX_LAYOUTS:
                self._tags.clear()
            tags = self._tags[names] = [None if name in self._leave_out else _value_prefix(name) for name in names]
        parts: list[bytes] = []
        add = parts.append
        for tag, value in zip(tags, row.values(), strict=True):
            if tag is not None and (type(value) is float or type(value) is int):
                add(tag)
                try:
                    add(_pack_float(value))
                except OverflowError:
                    add(_pack_float(float("inf") if value > 0 else float("-inf")))
        summary = b"".join(parts)
        head = b"\x09" + _pack_double(wall_time) + b"\x10" + _varint(step) + b"\x2a" + _varint(len(summary))
        return record(head + summary)


def _value_prefix(name: str) -> bytes:
    """Return Summary.value up to the four bytes of simple_value."""
    tag = _text(1, name) + bytes((2 << 3 | _FIXED32,))
    return bytes((1 << 3 | _BYTES,)) + _varint(len(tag) + 4) + tag


def hparams_start(wall_time: float, params: Mapping[str, float | bool | str]) -> bytes:
    """Return the record that names a run's hyperparameters."""
    entries = b"".join([_entry(name, value) for name, value in params.items()])
    return record(_hparams(wall_time, _SESSION_START_INFO, _field(3, entries + _double(5, wall_time))))


def hparams_end(wall_time: float, *, failed: bool) -> bytes:
    """Return the record that says how a run ended."""
    time = _pack_double(wall_time)
    return record(b"\x09" + time + _hparams_end_but_times(failed) + time)


@functools.cache
def _hparams_end_but_times(failed: bool) -> bytes:
    """Return the message without the two times: the one after its first byte, and the one that it ends with."""
    info = _number(1, FAILURE if failed else SUCCESS) + _double(2, 0.0)
    return _hparams(0.0, _SESSION_END_INFO, _field(4, info))[9:-8]


_SESSION_START_INFO = _text(1, "_hparams_/session_start_info")
_SESSION_END_INFO = _text(1, "_hparams_/session_end_info")
_PLUGIN = _text(1, "hparams")


def _entry(name: str, value: float | bool | str) -> bytes:
    """Return one hyperparameter."""
    if type(value) is float:
        return _entry_but_number(name) + _pack_double(value)
    if isinstance(value, bool):
        hparam = _number(4, int(value))
    elif isinstance(value, (int, float)):
        hparam = _double(2, float(value))
    else:
        hparam = _text(3, value)
    return _field(1, _text(1, name) + _field(2, hparam))


@functools.lru_cache(maxsize=1024)
def _entry_but_number(name: str) -> bytes:
    """Return what precedes the eight bytes of a number, which are the last."""
    return _field(1, _text(1, name) + _field(2, _double(2, 0.0)))[:-8]


def _hparams(wall_time: float, tag: bytes, content: bytes) -> bytes:
    plugin = _field(1, _PLUGIN + _field(2, content))
    return _double(1, wall_time) + _field(5, _field(1, tag + _field(9, plugin)))
