"""The driver's end of the conversation with one worker process."""

from __future__ import annotations

import socket

import msgspec

from perdure.core.events import ErrorInfo
from perdure.executors.output import OutputPipe
from perdure.trainable.channel import FrameReader, MalformedFrameError
from perdure.trainable.messages import Assignment, AttemptKey, Ended, FromWorker

_decoder: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)
_chunk = bytearray(1 << 17)
_view = memoryview(_chunk)
"""One for all workers: a driver reads with one thread, and a whole frame is decoded where it lies."""


class WorkerLink:
    """One worker process, and what the driver knows of it."""

    __slots__ = (
        "assignment",
        "closed",
        "devices",
        "end",
        "ended",
        "gone",
        "grace_s",
        "key",
        "killed",
        "output",
        "pid",
        "reader",
        "serial",
        "sock",
        "unsent",
    )

    def __init__(self, serial: int, assignment: Assignment) -> None:
        self.serial = serial
        self.sock, self.end = socket.socketpair()
        self.sock.setblocking(False)
        self.reader = FrameReader(_decoder)
        self.output: OutputPipe | None = None
        self.unsent = bytearray()
        self.pid = 0
        self.assignment = assignment
        self.key: AttemptKey | None = AttemptKey(assignment.trial, assignment.attempt)
        """The attempt in hand; None for a worker that is idle."""
        self.devices = (assignment.devices, assignment.hide_devices)
        """What it can see; a process cannot be given others."""
        self.ended: Ended | None = None
        """Said, but the process is still there."""
        self.killed: ErrorInfo | None = None
        """Why the driver killed it."""
        self.grace_s: float | None = None
        """How long it was given when it was told to stop."""
        self.gone = False
        """The stream has ended."""
        self.closed = False

    def assign(self, assignment: Assignment) -> None:
        """Note that an idle worker has a new attempt in hand."""
        self.assignment = assignment
        self.key = AttemptKey(assignment.trial, assignment.attempt)
        self.grace_s = None

    def hand_over(self) -> list[int]:
        """Return the worker's own ends of its socket and pipe; whoever sends them closes them."""
        fds = [self.end.detach()]
        if self.output is not None:
            fds.append(self.output.far_end)
            self.output.far_end = -1
        return fds

    def send(self, data: bytes) -> bool:
        """Send a frame, or keep it for `flush`; False if some of it is kept."""
        if not self.unsent:
            try:
                sent = self.sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:  # dead; the end of the stream will tell
                return True
            if sent == len(data):
                return True
            data = data[sent:]
        self.unsent += data
        return False

    def flush(self) -> bool:
        """Send more of what was kept; True when nothing is left."""
        try:
            sent = self.sock.send(self.unsent)
        except BlockingIOError:
            return False
        except OSError:
            sent = len(self.unsent)
        del self.unsent[:sent]
        return not self.unsent

    def read(self, into: list[FromWorker]) -> bool:
        """Append what has been said to `into`; False where there was nothing to read (for now, or ever).

        Raises:
            MalformedFrameError: it said something that is no message.
        """
        try:
            count = self.sock.recv_into(_chunk)
        except BlockingIOError:
            return False
        except OSError:
            count = 0
        if not count:
            self.gone = True
            return False
        self.reader.feed(_view[:count], into)
        return True

    def read_all(self, into: list[FromWorker]) -> None:
        """Append everything that is still to be read, up to what makes no sense."""
        try:
            while self.read(into):
                pass
        except MalformedFrameError:
            self.gone = True

    def close(self) -> None:
        """Close this end, and the other if it was never handed over."""
        self.closed = True
        self.sock.close()
        self.end.close()
        if self.output is not None:
            self.output.close()
