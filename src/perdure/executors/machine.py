"""What this machine, or the part of it that we may use, has: CPUs, GPUs and memory."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def cpu_count() -> int:
    """Return how many CPUs this process may use, at least 1.

    The smallest of what the machine has, what the process is bound to, and what its control groups grant it.
    """
    try:
        bound = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        bound = os.cpu_count() or 1
    granted = [int(quota) for quota in _cpu_quotas()]
    return max(1, min([bound, *granted]))


def memory_bytes() -> int:
    """Return how much memory this process may use; 0 where that cannot be told."""
    limits = list(_memory_limits())
    with contextlib.suppress(AttributeError, OSError, ValueError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(limits, default=0)


def gpu_ids() -> tuple[str, ...]:
    """Return the ids of the NVIDIA GPUs this process may use, as CUDA_VISIBLE_DEVICES spells them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return _visible(visible)
    try:
        count = len(os.listdir("/proc/driver/nvidia/gpus"))
    except OSError:
        count = _ask_nvidia_smi()
    return tuple(str(index) for index in range(count))


def _visible(text: str) -> tuple[str, ...]:
    """Read CUDA_VISIBLE_DEVICES as CUDA does: what follows the first invalid entry does not count."""
    ids = []
    for part in text.split(","):
        entry = part.strip()
        if not entry or entry.startswith("-") or entry in ids or entry.lower() in ("none", "void", "nodevfiles"):
            break
        ids.append(entry)
    return tuple(ids)


def _ask_nvidia_smi() -> int:
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    try:
        told = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(line.startswith("GPU ") for line in told.stdout.splitlines()) if told.returncode == 0 else 0


def _cpu_quotas() -> Iterator[float]:
    for directory in _own_groups("cpu"):
        words = _words(directory / "cpu.max")
        if len(words) == 2 and words[0] != "max":
            yield float(words[0]) / float(words[1])
        quota, period = _words(directory / "cpu.cfs_quota_us"), _words(directory / "cpu.cfs_period_us")
        if quota and period and float(quota[0]) > 0:
            yield float(quota[0]) / float(period[0])


def _memory_limits() -> Iterator[int]:
    for directory in _own_groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            words = _words(directory / name)
            if words and words[0] != "max":
                yield int(words[0])


def _own_groups(controller: str) -> Iterator[Path]:
    """Yield the directories of the control groups this process is in, each with all those above it."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = _CGROUPS / controller if controllers else _CGROUPS
        inner = root / path.lstrip("/")
        yield from (group for group in (inner, *inner.parents) if group.is_relative_to(root))


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except OSError:
        return []
