"""Processes that perdure starts beside a driver: they find what it finds, survive interrupts, and die with it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_LETTERS = {
    "O": "optimize",
    "B": "dont_write_bytecode",
    "E": "ignore_environment",
    "s": "no_user_site",
    "S": "no_site",
    "I": "isolated",
}
"""Options of the interpreter that are flags of `sys.flags`."""
LOOK_S = 1.0
"""Where the kernel does not say that a parent has died, whoever waits looks so often."""
_PR_SET_PDEATHSIG = 1
_prctl: Callable[..., int] | None = ctypes.CDLL(None).prctl if sys.platform == "linux" else None  # before any fork


# --- before it is there


def command(main: str, text: str, *, path: Sequence[str] | None = None) -> list[str]:
    """Return the command line of a fresh interpreter like this one that calls a function of perdure with a text.

    Args:
        main: The function, as "module:name".
        text: Its argument.
        path: `sys.path` of the new interpreter; None for this one's.
    """
    module, _, name = main.partition(":")
    found = absolute_path() if path is None else list(path)
    source = f"import sys; sys.path[:] = {found!r}; from {module} import {name}; {name}(sys.argv[1])"
    return [sys.executable, *_interpreter_flags(), "-c", source, text]


def absolute_path() -> list[str]:
    """Return `sys.path` with every entry absolute: trials change directory. What is no text, imports pass over."""
    texts = [entry for entry in sys.path if isinstance(entry, str)]
    return [entry if os.path.isabs(entry) else os.path.abspath(entry) for entry in texts]


def launch(main: str, text: str, *, fd: int, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a fresh interpreter that calls a function of perdure with a text, and has one of our file descriptors.

    Its environment is ours unless another is given.

    Interrupts wait until it calls `ignore_interrupts`: Ctrl-C may come while it starts, and reaches it, too.

    Raises:
        OSError: The system refused.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    try:
        return subprocess.Popen(command(main, text), stdin=subprocess.DEVNULL, pass_fds=[fd], env=environment)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _interpreter_flags() -> list[str]:
    flags = [f"-W{option}" for option in sys.warnoptions]
    flags += [f"-X{name}" if value is True else f"-X{name}={value}" for name, value in sys._xoptions.items()]  # noqa: SLF001
    letters = [letter * getattr(sys.flags, name) for letter, name in _LETTERS.items()]
    return [*flags, *(f"-{letter}" for letter in letters if letter)]


# --- in it

_parent = 0


def die_with(parent: int, number: int = signal.SIGKILL) -> None:
    """Have the kernel kill this process when `parent` dies; leave at once if it already has.

    Linux only. Elsewhere a process goes by the end of its socket, and, since a fork of the driver may hold that open,
    by who its parent is: see `wait_to_read`.
    """
    global _parent  # noqa: PLW0603 - a process has one
    _parent = parent
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def outlive_parent() -> None:
    """Take `die_with` back."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0)


def orphaned() -> bool:
    """Whether the process that this one is to die with is dead."""
    return _parent != 0 and os.getppid() != _parent


def wait_to_read(sock: socket.socket) -> bool:
    """Where the kernel does not kill this process with its parent, wait until there is something to read.

    False: the parent is dead, and nothing will come. Costs nothing where the kernel does it.
    """
    if _prctl is not None:
        return True
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    while not poller.poll(LOOK_S * 1000):
        if orphaned():
            return False
    return True


def lead_group() -> None:
    """Lead a process group, out of reach of the terminal's Ctrl-C and killed as one."""
    with contextlib.suppress(PermissionError):  # it already leads a session
        os.setpgid(0, 0)


def ignore_interrupts() -> None:
    """Survive what stops an experiment: clusters send it to every process, and the driver decides what ends.

    Handlers that do nothing, not SIG_IGN: the programs that user code starts then have the default again.
    """
    for number in INTERRUPTS:
        signal.signal(number, do_nothing)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)


def do_nothing(_number: int, _frame: object) -> None:
    """Be the handler that `ignore_interrupts` installs."""
