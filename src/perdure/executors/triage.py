"""Says why a process is gone, in words."""

from __future__ import annotations

import signal
from pathlib import Path

from perdure.core.events import ErrorInfo


def signal_name(number: int) -> str:
    """Return a signal's name, such as "SIGKILL"."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def death(exit_code: int | None, number: int | None, *, out_of_memory: bool = False) -> ErrorInfo:
    """Describe the end of a worker process that said nothing before it."""
    if number is not None and out_of_memory:
        what = "was killed by the kernel: out of memory (SIGKILL). Give trials more memory, or run fewer at a time."
    elif number is not None:
        what = f"died of {signal_name(number)}."
    elif exit_code is None:
        what = "is gone; how it ended is not known."
    else:
        what = f"left with exit code {exit_code} before its trial had ended (os._exit, or a native library's exit)."
    return ErrorInfo(
        kind="WorkerDiedError",
        message=f"The trial's process {what}",
        exit_code=exit_code,
        signal=number,
        out_of_memory=out_of_memory,
    )


class OutOfMemoryWatch:
    """Tells whether the kernel has lately killed for want of memory.

    Each kill that the kernel counted is told once. The count is that of this process's own control group where
    there is one, else the whole machine's, which may include a stranger's.
    """

    def __init__(self) -> None:
        self._sources = list(_counters())
        self._seen = self._count()

    def took_one(self) -> bool:
        """Whether a kill was counted that was not yet told of."""
        count = self._count()
        if count <= self._seen:
            return False
        self._seen += 1
        return True

    def _count(self) -> int:
        for path, word in self._sources:
            count = _read_counter(path, word)
            if count is not None:
                return count
        return 0


def _counters() -> list[tuple[Path, str]]:
    found = []
    for hierarchy, path in _control_groups():
        name = "memory.events" if hierarchy == "unified" else "memory.oom_control"
        root = Path("/sys/fs/cgroup") if hierarchy == "unified" else Path("/sys/fs/cgroup/memory")
        found += [(root / path / name, "oom_kill"), (root / name, "oom_kill")]
    return [*found, (Path("/proc/vmstat"), "oom_kill")]


def _control_groups() -> list[tuple[str, str]]:
    """Return (hierarchy, path within it) of the groups that limit this process's memory."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    groups = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "" or "memory" in controllers.split(","):
            groups.append(("memory" if controllers else "unified", path.lstrip("/")))
    return sorted(groups)


def _read_counter(path: Path, word: str) -> int | None:
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(" ")
            if name == word:
                return int(value)
    except (OSError, ValueError):
        return None
    return None
