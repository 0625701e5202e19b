"""Machines that this one plays: namespaces give a process another host name, boot and process table."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.crash.harness import ROOT, output_of

SETUP = """
hostname "$1" && mount --bind "$2" /proc/sys/kernel/random/boot_id && shift 2 && exec "$@"
"""
UNSHARE = ["unshare", "--mount", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child"]


@functools.lru_cache(maxsize=1)
def why_no_other_host() -> str:
    """Say why another host cannot be played here, or ""."""
    try:
        tried = subprocess.run([*UNSHARE, "hostname", "another"], capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return tried.stderr.strip()


def needs_another_host() -> None:
    """Skip a test where namespaces are not permitted."""
    if reason := why_no_other_host():
        pytest.skip(f"another host cannot be played here (it takes root and Linux namespaces): {reason}")


@contextlib.contextmanager
def driver(
    storage: Path, *options: str, lease_s: float = 30.0, host: str | None = None, api: str = "function"
) -> Iterator[psutil.Popen]:
    """Start the workload's driver here, or on a machine named `host` that has just been started.

    Whatever is left of it at the end is killed.
    """
    command = [sys.executable, "-m", "tests.faults.driver", str(lease_s), str(storage), api, *options]
    if host is not None:
        boot_id = storage.parent / f"boot-id-of-{host}"
        boot_id.write_text(f"{uuid.uuid4()}\n")
        command = [*UNSHARE, "sh", "-c", SETUP, "sh", host, str(boot_id), *command]
    with output_of(storage).open("ab") as output:
        process = psutil.Popen(command, cwd=ROOT, stdout=output, stderr=output, env=dict(os.environ))
    try:
        yield process
    finally:
        family = process.children(recursive=True) if process.is_running() else []
        for member in [process, *family]:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.send_signal(signal.SIGKILL)
        process.wait()


def python_of(process: psutil.Popen) -> psutil.Process:
    """Return the driver itself, where `unshare` stands between."""
    for member in [process, *process.children(recursive=True)]:
        if "tests.faults.driver" in member.cmdline() and Path(member.cmdline()[0]).name.startswith("python"):
            return member
    raise AssertionError(f"no driver below {process}")
