from __future__ import annotations

import json

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import InternalError, JournalCorruptError, JournalVersionError
from perdure.journal import codec
from perdure.testing.journal import report, some_events


def test_events_come_back() -> None:
    lines = codec.encode(some_events(), 3, 40).splitlines(keepends=True)
    assert [codec.decode(line) for line in lines] == [(3, 40 + i, event) for i, event in enumerate(some_events())]


def test_a_line_is_json_with_the_checksum_of_what_is_before_it() -> None:
    line = codec.encode_event(report(1), 1, 12)
    fields = json.loads(line)
    assert list(fields) == ["e", "q", "v", "d", "c"]
    assert (fields["e"], fields["q"], fields["v"], fields["d"]["type"]) == (1, 12, codec.VERSION, "reported")
    assert int(fields["c"], 16) == crc32c(line[: line.rindex(b',"c"')])


def test_the_newline_is_not_needed() -> None:
    line = codec.encode_event(report(1), 1, 12)
    assert codec.decode(line[:-1]) == codec.decode(line)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_any_changed_byte_is_noticed(where: int, change: int) -> None:
    line = bytearray(codec.encode_event(report(1), 1, 12)[:-1])
    line[where % len(line)] ^= change
    with pytest.raises(JournalCorruptError):
        codec.decode(bytes(line))


@given(st.integers(0, 10_000))
def test_any_part_of_a_line_is_no_record(size: int) -> None:
    line = codec.encode_event(report(1), 1, 12)[:-1]
    with pytest.raises(JournalCorruptError):
        codec.decode(line[: size % len(line)])


@given(st.binary())
def test_garbage_is_no_record(line: bytes) -> None:
    with pytest.raises(JournalCorruptError):
        codec.decode(line)


@pytest.mark.parametrize("body", [b"[1", b'{"e":1,"q":1', b'{"e":1,"q":1,"v":1,"d":{"type":"unheard_of"}', b"\xff"])
def test_a_sealed_line_that_is_no_event_is_damage(body: bytes) -> None:
    with pytest.raises(JournalCorruptError):
        codec.decode(codec.seal(body))


@pytest.mark.parametrize("data", [b'{"type":"noticed","at":1.0,"text":"known"}', b'{"type":"unheard_of"}', b"[]"])
def test_a_newer_version_is_refused_whatever_it_holds(data: bytes) -> None:
    with pytest.raises(JournalVersionError, match="newer perdure"):
        codec.decode(codec.seal(b'{"e":1,"q":1,"v":%d,"d":%b' % (codec.VERSION + 1, data)))


def test_older_versions_are_upcast_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    old = codec.seal(b'{"e":1,"q":1,"v":%d,"d":{"type":"said","words":["a","b"],"at":2.0}' % codec.VERSION)
    monkeypatch.setattr(codec, "VERSION", codec.VERSION + 2)
    monkeypatch.setattr(codec, "_UPCASTS", {})
    with pytest.raises(JournalVersionError, match="no longer reads"):
        codec.decode(old)
    codec.upcast(codec.VERSION - 2)(lambda data: {**data, "type": "noticed"})
    codec.upcast(codec.VERSION - 1)(
        lambda data: {"type": data["type"], "at": data["at"], "text": "".join(data["words"])}
    )  # type: ignore[arg-type]
    epoch, number, event = codec.decode(old)
    assert (epoch, number, event.text) == (1, 1, "ab")  # type: ignore[union-attr]


def test_what_cannot_be_encoded_is_named() -> None:
    with pytest.raises(InternalError, match="object"):
        codec.encode_event(
            report(1).__class__(at=1.0, trial="t", attempt=1, iteration=1, metrics={"x": object()}), 1, 1
        )
