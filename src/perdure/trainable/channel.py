"""How a worker talks to its driver: the port, and its one real implementation over a stream socket.

A frame is a four-byte little-endian length and a msgpack map, as `messages` says. Driver and worker use the same
encoder and the same frames; what differs is that a worker waits and a driver never does.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import msgspec

from perdure.storage.children import wait_to_read
from perdure.trainable.messages import Asked, Ended, FromWorker, Message, Report, Saved, Stop, ToWorker, Verdict

T = TypeVar("T")

HEADER = struct.Struct("<I")
LONGEST_FRAME = 1 << 30
"""Bytes; a longer length can only be garbage."""

_CHUNK = 1 << 16
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)  # 1 ms to make: before any fork


class Channel(Protocol):
    """A worker's end of the conversation about one attempt."""

    @property
    def stopping(self) -> bool:
        """Whether the driver has said `Stop`: after the verdict in hand, the attempt ends as INTERRUPTED."""
        ...

    def send(self, message: FromWorker) -> None:
        """Say something that needs no answer.

        Raises:
            DriverGone: there is nobody to say it to.
        """
        ...

    def ask(self, message: Report | Saved | Asked, meanwhile: Callable[[], None] | None = None) -> Verdict:
        """Say something and wait for the verdict; where there is a wait, `meanwhile` is called first.

        Raises:
            DriverGone: there is nobody to answer.
        """
        ...


class DriverGone(BaseException):
    """The driver is gone, so nothing this worker does counts any longer.

    A BaseException, so that `except Exception` in user code does not keep an orphan working.
    """


class MalformedFrameError(ValueError):
    """Bytes that are no message of ours."""


def frame(message: Message) -> bytes:
    """Return the bytes that carry one message."""
    body = _encoder.encode(message)
    return HEADER.pack(len(body)) + body


class FrameReader(Generic[T]):
    """Cuts a stream of bytes into messages.

    It keeps what is left of an unfinished frame between calls, and copies nothing of a frame that arrived whole.
    """

    __slots__ = ("_decode", "_rest")

    def __init__(self, decoder: msgspec.msgpack.Decoder[T]) -> None:
        self._decode = decoder.decode
        self._rest = bytearray()

    def feed(self, data: memoryview | bytes, into: list[T]) -> None:
        """Append the messages that `data` completes to `into`.

        Raises:
            MalformedFrameError: a length or a body makes no sense. The messages before it have been appended.
        """
        if self._rest:
            self._rest += data
            taken = self._cut(self._rest, into)
            del self._rest[:taken]
        else:
            taken = self._cut(data, into)
            if taken < len(data):
                self._rest += data[taken:]

    def _cut(self, data: memoryview | bytes | bytearray, into: list[T]) -> int:
        position, end = 0, len(data)
        with memoryview(data) as view:
            while end - position >= HEADER.size:
                (length,) = HEADER.unpack_from(view, position)
                if length > LONGEST_FRAME:
                    raise MalformedFrameError(f"a frame says that it is {length} bytes long")
                stop = position + HEADER.size + length
                if stop > end:
                    break
                into.append(self._message(view[position + HEADER.size : stop]))
                position = stop
        return position

    def _message(self, body: memoryview) -> T:
        try:
            return self._decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedFrameError(f"{len(body)} bytes are no message: {error}") from error
        finally:
            body.release()


class SocketChannel:
    """A worker's end of a socket pair; blocking.

    `send` may be called from any thread, `ask` and `next_assignment` from one.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._poller = select.poll()
        self._poller.register(sock, select.POLLIN)
        self._lock = threading.Lock()
        self._reader = FrameReader(_decoder)
        self._inbox: list[ToWorker] = []
        self._stopping = False
        self.ended = False
        """Whether an `Ended` was sent for the attempt in hand."""

    @property
    def stopping(self) -> bool:
        """Whether the driver has said `Stop`, as far as can be told without waiting."""
        if not self._stopping and self._poller.poll(0):
            self._receive()
        return self._stopping or any(isinstance(said, Stop) for said in self._inbox)

    def send(self, message: FromWorker) -> None:
        """Say something that needs no answer. What was printed goes out before an `Ended` does."""
        if isinstance(message, Ended):
            flush_output()
            self.ended = True
        data = frame(message)
        try:
            with self._lock:
                self._sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            raise DriverGone from None

    def ask(self, message: Report | Saved | Asked, meanwhile: Callable[[], None] | None = None) -> Verdict:
        """Say something and wait for the verdict; a `Stop` that arrives before it is remembered."""
        self.send(message)
        if meanwhile is not None:
            meanwhile()
        while True:
            said = self.receive()
            if isinstance(said, Verdict):
                return said
            self._stopping = self._stopping or isinstance(said, Stop)

    def receive(self) -> ToWorker:
        """Wait for the next message, whatever it is."""
        while not self._inbox:
            self._receive()
        return self._inbox.pop(0)

    def renew(self) -> None:
        """Forget that the attempt before was to stop; this process is about to run another one."""
        self._stopping = False
        self.ended = False

    def _receive(self) -> None:
        if not wait_to_read(self._sock):
            raise DriverGone
        try:
            data = self._sock.recv(_CHUNK)
        except ConnectionResetError:
            data = b""
        if not data:
            raise DriverGone
        self._reader.feed(data, self._inbox)


def flush_output() -> None:
    """Write out what is buffered in stdout and stderr; a closed or full one is nobody's concern here."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):  # None, gone, or closed by user code
            continue
