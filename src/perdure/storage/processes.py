"""Who this process is, and whether another one is still alive.

A pid alone names nobody: it is reused. Here a process is a pid and the kernel's start time of it, on one boot of one
machine.
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

_STATE = 0  # fields of /proc/<pid>/stat, counted after the command's closing parenthesis
_START_TIME = 19
_DEAD_STATES = frozenset("ZXx")


def hostname() -> str:
    """Return this machine's name."""
    if hasattr(os, "uname"):
        return os.uname().nodename
    return os.environ.get("COMPUTERNAME", "localhost")


@functools.lru_cache(maxsize=1)
def boot_id() -> str:
    """Return the id of this boot of this machine, or "" where the system has none."""
    if sys.platform == "darwin":
        return _sysctl("kern.bootsessionuuid")
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def pid_namespace() -> str:
    """Return the id of the pid namespace, or "": a pid says nothing about a process in another one."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


@functools.lru_cache(maxsize=1)
def node_ip() -> str:
    """Return the address under which other machines would reach this one, "127.0.0.1" if there is no network.

    Nothing is sent: connecting a datagram socket only looks up the route.
    """
    import socket  # 3 ms, needed by few

    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("10.255.255.255", 1))
            return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"


def process_start(pid: int) -> float | None:
    """Return when the process started, in seconds since boot as the kernel counts them.

    None if there is no such process, or where the system does not tell.
    """
    fields = _stat(pid)
    return None if fields is None else int(fields[_START_TIME]) / os.sysconf("SC_CLK_TCK")


def is_alive(pid: int, start: float | None = None) -> bool:
    """Say whether the process that was `pid` and started at `start` is alive on this machine.

    A stopped process is alive, a zombie is not. Without `start`, or where the system does not tell it, any process
    of that pid counts.
    """
    if pid <= 0:
        return False
    fields = _stat(pid)
    if fields is None:
        return not _has_proc() and _takes_signals(pid)
    if fields[_STATE] in _DEAD_STATES:
        return False
    tick = 1 / os.sysconf("SC_CLK_TCK")
    return start is None or abs(int(fields[_START_TIME]) * tick - start) < tick / 2


def _stat(pid: int) -> list[str] | None:
    try:
        content = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The command may hold spaces and parentheses: the fields begin after the last one.
    return content[content.rindex(b")") + 2 :].decode("ascii").split()


def _has_proc() -> bool:
    return os.path.exists("/proc/self/stat")


def _takes_signals(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sysctl(name: str) -> str:
    import subprocess

    try:
        return subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""
