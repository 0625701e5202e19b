"""A follower in a process of its own, for an experiment that has much to log.

A driver's loop and its threads share one interpreter: while loggers compute, the loop waits. Here they compute in an
interpreter of theirs. The driver tells the process to do one thing at a time and hears when it is done; the process
reads the journal itself and knows from the watermark how far the files are right, so nothing else passes between them.

It does nothing that it was not told to, and a portion of records at a time. So a driver that was stopped for a while,
and has lost its experiment meanwhile, writes no more through it than it had told it to; and one that is killed takes
it along.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

import msgspec

from perdure.journal.file import FileJournalReader
from perdure.loggers.base import LoggerCallback
from perdure.loggers.follower import Follower
from perdure.loggers.replay import DEFAULT_LOGGERS
from perdure.storage import children

_KINDS = {kind.__name__: kind for kind in DEFAULT_LOGGERS}
_LEAVE_S = 5.0
"""How long the process may take to leave once its files are closed."""


class _Settings(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    loggers: list[str]
    watermark: str
    keeps_errors: bool
    exact: bool
    parent: int
    fd: int


class _Said(msgspec.Struct, omit_defaults=True):
    """A line of what the process says: a problem, or that it has done what it was told to."""

    problem: str = ""
    count: int = 0


_said_by = msgspec.json.Decoder(_Said).decode


class FollowerGoneError(Exception):
    """A follower's process has ended by itself. The files are right as far as the watermark says."""


class FollowerProcess:
    """Does what a `Follower` does, in a process that is there when this is made. See there for the arguments.

    Made, used and closed by one thread: the kernel ends the process with the thread that made it.

    Args:
        kinds: Of which classes its loggers are, each one of `DEFAULT_LOGGERS`.

    Raises:
        OSError: No process could be started.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        kinds: Sequence[type[LoggerCallback]],
        *,
        on_problem: Callable[[str], None],
        watermark: str,
        keeps_errors: bool,
        exact: bool,
    ) -> None:
        self._on_problem = on_problem
        self.telling: tuple[str, float] | None = None
        """The order that the process is at, and since when by the monotonic clock."""
        self._sock, theirs = socket.socketpair()
        with theirs:
            settings = _Settings(
                path=os.path.abspath(path),
                loggers=[kind.__name__ for kind in kinds],
                watermark=watermark,
                keeps_errors=keeps_errors,
                exact=exact,
                parent=os.getpid(),
                fd=theirs.fileno(),
            )
            text = msgspec.json.encode(settings).decode()
            try:
                self._process = children.launch("perdure.loggers.apart:main", text, fd=theirs.fileno())
            except BaseException:
                self._sock.close()
                raise
        self._lines = self._sock.makefile("rb")

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def follow(self) -> int:
        """See `Follower.follow`: one order is a portion of records at most, once it has caught up.

        Raises:
            FollowerGoneError: The process is gone. So for the others.
        """
        return self._have(b"follow\n")

    def flush(self) -> None:
        """See `Follower.flush`."""
        self._have(b"flush\n")

    def end_experiment(self) -> None:
        """See `Follower.end_experiment`."""
        self._have(b"end_experiment\n")

    def close(self) -> None:
        """See `Follower.close`. The process leaves."""
        self._have(b"close\n")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LEAVE_S)
        self.end()

    def kill(self) -> None:
        """Kill the process, whatever it is doing. May be called from any thread, and more than once.

        Does not wait for its end: one that a disk holds up dies only when the disk answers.
        """
        self._process.kill()

    def end(self) -> None:
        """Kill the process, if it is there still, see it end, and hold nothing of it."""
        self.kill()
        self._process.wait()
        self._lines.close()
        self._sock.close()

    def _have(self, order: bytes) -> int:
        self.telling = (f"the loggers' process: {order.decode().strip()}", time.monotonic())
        try:
            self._sock.sendall(order)
            for line in self._lines:
                if not line.endswith(b"\n"):
                    break
                said = _said_by(line)
                if not said.problem:
                    return said.count
                self._on_problem(said.problem)
        except OSError:  # the stream broke
            pass
        finally:
            self.telling = None
        self.end()
        raise FollowerGoneError(f"exit code {self._process.returncode}")


def main(text: str) -> NoReturn:
    """Be the process; `text` is its settings as JSON."""
    settings = msgspec.json.decode(text, type=_Settings)
    children.die_with(settings.parent)
    children.ignore_interrupts()
    os.set_inheritable(settings.fd, False)
    with socket.socket(fileno=settings.fd) as sock:
        _serve(settings, sock)
    os._exit(0)  # all files are closed, and `fit()` would wait 20 ms for the interpreter to be taken down


def _serve(settings: _Settings, sock: socket.socket) -> None:
    """Do what the driver says, until it says nothing more."""

    def say(said: _Said) -> None:
        sock.sendall(msgspec.json.encode(said) + b"\n")

    follower = Follower(
        settings.path,
        FileJournalReader(settings.path),
        [_KINDS[name]() for name in settings.loggers],
        on_problem=lambda text: say(_Said(problem=text)),
        watermark=settings.watermark,
        keeps_errors=settings.keeps_errors,
        exact=settings.exact,
    )
    orders = sock.makefile("rb")
    while children.wait_to_read(sock) and (order := orders.readline()):  # they come one at a time
        try:
            count = getattr(follower, order.decode().strip())()
        except Exception:
            say(_Said(problem=f"The loggers' process fails.\n{traceback.format_exc()}"))
            sys.exit(1)
        say(_Said(count=int(count or 0)))
        if order == b"close\n":
            return
