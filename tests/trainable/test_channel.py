import socket
import struct
import threading

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.core.events import Decision, Outcome
from perdure.trainable.channel import DriverGone, FrameReader, MalformedFrameError, SocketChannel, frame
from perdure.trainable.messages import Assignment, Ended, Exit, FromWorker, Notice, Report, Stop, Verdict


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, SocketChannel(theirs)


def reader():
    return FrameReader(msgspec.msgpack.Decoder(FromWorker))


def report(iteration=1, **metrics):
    return Report(iteration=iteration, metrics=metrics, at=0.0)


@given(st.lists(st.text(max_size=300), max_size=8), st.integers(1, 50))
def test_messages_survive_any_cutting_of_the_stream(texts, size):
    messages = [Notice(text=text) for text in texts]
    stream = b"".join(map(frame, messages))
    told, one = [], reader()
    for start in range(0, len(stream), size):
        one.feed(stream[start : start + size], told)
    assert told == messages


@pytest.mark.parametrize(
    "garbage", [b"\xff\xff\xff\xff", b"\x03\0\0\0abc", struct.pack("<I", 1) + b"\x80", struct.pack("<I", 0)]
)
def test_garbage_is_refused_after_what_came_before_it(garbage):
    told = []
    with pytest.raises(MalformedFrameError):
        reader().feed(frame(Notice(text="before")) + garbage, told)
    assert told == [Notice(text="before")]


def test_an_answer_reaches_the_one_who_asked(pair):
    ours, channel = pair
    ours.sendall(frame(Verdict(decision=Decision.STOP, save=True)))
    assert channel.ask(report(loss=1.0)) == Verdict(decision=Decision.STOP, save=True)
    told = []
    reader().feed(ours.recv(1000), told)
    assert told == [report(loss=1.0)]
    assert not channel.stopping


def test_a_stop_is_noticed_with_the_verdict_after_it(pair):
    ours, channel = pair
    ours.sendall(frame(Stop()) + frame(Verdict()))
    assert channel.ask(report()) == Verdict()
    assert channel.stopping


def test_a_stop_behind_the_verdict_is_noticed_without_waiting(pair):
    ours, channel = pair
    ours.sendall(frame(Verdict()))
    channel.ask(report())
    assert not channel.stopping
    ours.sendall(frame(Stop()))
    assert channel.stopping


def test_a_new_attempt_does_not_inherit_a_stop(pair):
    ours, channel = pair
    ours.sendall(frame(Stop()) + frame(Verdict()))
    channel.ask(report())
    channel.renew()
    assert not channel.stopping


def test_a_driver_that_is_gone_is_no_ordinary_exception(pair):
    ours, channel = pair
    ours.close()
    with pytest.raises(DriverGone):
        channel.receive()
    with pytest.raises(DriverGone):
        channel.send(Notice(text="anybody?"))
    assert not issubclass(DriverGone, Exception)


def test_large_messages_both_ways(pair):
    ours, channel = pair
    big = Assignment(
        trial="t",
        attempt=1,
        name="t",
        experiment="e",
        experiment_path="/e",
        path="/e/t",
        config={"blob": "x" * 5_000_000},
    )
    sender = threading.Thread(target=ours.sendall, args=(frame(big),))
    sender.start()
    assert channel.receive() == big
    sender.join()


def test_what_was_printed_goes_out_before_the_end(pair, capsys, monkeypatch):
    import sys

    _, channel = pair
    flushed = []
    monkeypatch.setattr(sys.stdout, "flush", lambda: flushed.append(channel.ended), raising=False)
    channel.send(Ended(outcome=Outcome.FINISHED))
    assert flushed == [False]
    assert channel.ended


def test_exit(pair):
    ours, channel = pair
    ours.sendall(frame(Exit()))
    assert channel.receive() == Exit()
