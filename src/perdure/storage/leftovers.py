"""Ends what an earlier driver left running, before a new one starts anything.

A driver that is killed takes its workers with it. This is for the cases in which it could not: the template killed at
the same moment, a program started by user code that left its process group, a stopped process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from perdure.storage.processes import is_alive

ATTEMPT_VARIABLE = "PERDURE_ATTEMPT"
"""Environment variable of a worker, and so of all that it starts: which attempt of which experiment it is."""

_PAUSE_S = 0.005


def attempt_token(experiment_path: str) -> str:
    """Return what every process of an experiment's attempts carries at the start of `ATTEMPT_VARIABLE`."""
    return f"{experiment_path}::"


def kill_leftovers(attempts: Sequence[tuple[int, float]], token: str, *, timeout_s: float = 10.0) -> list[int]:
    """Kill what is left of an earlier driver's attempts on this machine and this boot of it; wait until it is gone.

    Args:
        attempts: Process id and the kernel's start time of each, as their `AttemptStarted` records say.
        token: What the experiment's processes carry in their environment, see `attempt_token`; "" looks for none.
        timeout_s: How long to wait for killed processes to be gone.

    Returns:
        The processes that are still there (in an uninterruptible wait, or another user's); empty if all went well.
    """
    until = time.monotonic() + timeout_s
    while True:
        found = set(_alive(attempts)) | set(_carrying(token))
        for pid in found:
            _kill(pid)
        if not found or time.monotonic() >= until:
            return sorted(found)
        time.sleep(_PAUSE_S)


def _alive(attempts: Sequence[tuple[int, float]]) -> Iterator[int]:
    return (pid for pid, start in attempts if pid != os.getpid() and is_alive(pid, start))


def _carrying(token: str) -> Iterator[int]:
    """Yield the living processes whose environment names an attempt of the experiment."""
    if not token:
        return
    mark = f"{ATTEMPT_VARIABLE}={token}".encode()
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return
    for pid in pids:
        if pid != os.getpid() and _carries(pid, mark) and is_alive(pid):
            yield pid


def _carries(pid: int, mark: bytes) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # gone, or another user's
        return False
    return environment.startswith(mark) or b"\0" + mark in environment


def _kill(pid: int) -> None:
    """Kill a process, and its group if it leads one."""
    with contextlib.suppress(OSError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)
