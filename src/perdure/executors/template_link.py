"""The driver's end of the conversation with its template process."""

from __future__ import annotations

import collections
import contextlib
import os
import socket
import subprocess
import sys

import msgspec

from perdure.executors import huge_pages
from perdure.executors.base import Program
from perdure.executors.control import KILL, REQUEST, START, FromTemplate, Ready, Settings
from perdure.executors.triage import signal_name
from perdure.storage import children
from perdure.trainable.channel import FrameReader

_MOST_UNANSWERED = 64
"""Starts sent ahead of their answers: the system limits how many file descriptors may be under way."""

_decoder: msgspec.msgpack.Decoder[FromTemplate] = msgspec.msgpack.Decoder(FromTemplate)


class TemplateLink:
    """One template process: launched when this is made, gone when `closed`.

    Nothing here waits, except `close`.
    """

    def __init__(self, program: Program, *, spawn: bool) -> None:
        self._sock, theirs = socket.socketpair()
        self._sock.setblocking(False)
        self._reader = FrameReader(_decoder)
        self._queue: collections.deque[tuple[bytes, int, list[int]]] = collections.deque()
        self._unanswered = 0
        self.ready: Ready | None = None
        with theirs:
            self._process = _launch(program, theirs.fileno(), spawn=spawn)

    def fileno(self) -> int:
        """The control socket's."""
        return self._sock.fileno()

    def start(self, serial: int, fds: list[int]) -> None:
        """Ask for a worker; the file descriptors are closed here once they are sent."""
        self._queue.append((START, serial, fds))
        self.flush()

    def kill(self, serial: int) -> None:
        """Ask for a worker's death."""
        self._queue.append((KILL, serial, []))
        self.flush()

    def flush(self) -> None:
        """Send what can be sent now."""
        while self._queue:
            what, serial, fds = self._queue[0]
            if what == START and self._unanswered >= _MOST_UNANSWERED:
                return
            try:
                if fds:
                    socket.send_fds(self._sock, [REQUEST.pack(what, serial)], fds)
                else:
                    self._sock.send(REQUEST.pack(what, serial))
            except OSError:  # full, or dead: the next answer, or the end of the stream, comes back to it
                return
            self._unanswered += what == START
            self._queue.popleft()
            _close_all(fds)

    def read(self) -> list[FromTemplate] | None:
        """Return what the template has said; None once it is gone."""
        said: list[FromTemplate] = []
        while True:
            try:
                data = self._sock.recv(65536)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                return said or None
            self._reader.feed(data, said)
        for message in said:
            if isinstance(message, Ready):
                self.ready = message
            elif type(message).__name__ in ("Forked", "NotForked"):
                self._unanswered -= 1
        return said

    def how_it_ended(self) -> str:
        """Say how the template died; to be called once it has."""
        code = self._reap(timeout=2)
        return f"died of {signal_name(-code)}" if code < 0 else f"left with exit code {code}"

    def close(self) -> None:
        """Have the template kill its workers and leave, and wait for that."""
        self.read()
        self._sock.close()
        for _, _, fds in self._queue:
            _close_all(fds)
        self._queue.clear()
        if self.ready is None:  # importing, which may take long; it has no workers yet
            self._process.kill()
        self._reap(timeout=5)

    def _reap(self, timeout: float) -> int:
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def _launch(program: Program, fd: int, *, spawn: bool) -> subprocess.Popen[bytes]:
    settings = Settings(
        trainable=os.fspath(program.trainable),
        reuse=program.reuse,
        spawn=spawn,
        parent=os.getpid(),
        fd=fd,
        argv=list(sys.argv),
        path=children.absolute_path(),
        tunables=os.environ.get(huge_pages.VARIABLE),
    )
    text = msgspec.json.encode(settings).decode()
    return children.launch("perdure.executors.template:main", text, fd=fd, environment=huge_pages.asked_for(os.environ))


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
