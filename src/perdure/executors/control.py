"""What a driver and its template say to each other.

The driver sends fixed records of five bytes, a start with the new worker's file descriptors beside it
(`socket.send_fds`). The template answers with frames, as workers do. Neither ever waits for the other's answer.
"""

from __future__ import annotations

import struct
from typing import Union

import msgspec

from perdure.core.events import ErrorInfo
from perdure.trainable.messages import Message

REQUEST = struct.Struct("<cI")
"""What is wanted, and the serial number of the worker it is wanted for."""

START = b"S"
"""Make a worker process. With it come its end of the socket pair and, with forwarded output, the end of a pipe."""
KILL = b"K"
"""SIGKILL the worker and its process group."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a template, and each worker process, is told when it is made."""

    trainable: str
    reuse: bool = False
    spawn: bool = False
    """Do not load the trainable here: every worker is a fresh interpreter that loads it itself."""
    parent: int
    """The process whose death ends this one."""
    fd: int
    """This process's end of its socket pair."""
    output: int | None = None
    """Where stdout and stderr go; None leaves them."""
    argv: list[str] = []
    """`sys.argv` of the driver, for code that looks at it when it is imported."""
    path: list[str] = []
    """`sys.path` of the driver."""
    tunables: str | None = None
    """`GLIBC_TUNABLES` of the driver: see `huge_pages`."""


class Ready(Message, frozen=True, kw_only=True, tag="ready"):
    """The trainable is loaded (or failed to load, which each attempt tells of), and starts are served from now on."""

    unsafe: str = ""
    """Why this process cannot be forked, so that workers are spawned instead."""


class Forked(Message, frozen=True, kw_only=True, tag="forked"):
    """The worker's process exists."""

    serial: int
    pid: int


class NotForked(Message, frozen=True, kw_only=True, tag="not_forked"):
    """There is no process for this start: it was taken back, or the system refused (`error`)."""

    serial: int
    error: ErrorInfo | None = None


class Exited(Message, frozen=True, kw_only=True, tag="exited"):
    """The worker's process is gone, and so is its process group."""

    serial: int
    exit_code: int | None = None
    signal: int | None = None


FromTemplate = Union[Ready, Forked, NotForked, Exited]
