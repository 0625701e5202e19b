"""A worker that the kernel kills for want of memory is named as such, and the others go on."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.core.state import Status
from perdure.history import read_experiment
from tests.crash.harness import ROOT

PROGRAM = """
import os, sys
open(sys.argv[2], "w").write(str(os.getpid()))  # from here on its memory, and its children's, is limited
from perdure import tune

def train(config):
    hoard = []
    for step in range(1, 4):
        while config["greedy"] and step == 2:
            hoard.append(b"x" * (8 << 20))
        tune.report({"step": step})

tune.Tuner(
    train,
    param_space={"greedy": tune.grid_search([True, False])},
    run_config=tune.RunConfig(name="memory", storage_path=sys.argv[1], verbose=0),
).fit()
"""
LIMIT = 400 << 20


@contextlib.contextmanager
def limited_group() -> Iterator[Path]:
    """Make a control group below our own with little memory, or skip the test where that is not permitted."""
    group, limit = below_our_own()
    name = group / f"perdure-test-{os.getpid()}"
    try:
        name.mkdir()
        (name / limit).write_text(str(LIMIT))
    except OSError as error:
        with contextlib.suppress(OSError):
            name.rmdir()
        pytest.skip(f"no control group that limits memory can be made here (root, cgroups): {error}")
    try:
        yield name
    finally:
        for _ in range(100):  # its last process may still be on its way out
            with contextlib.suppress(OSError):
                name.rmdir()
                break
            time.sleep(0.05)


def below_our_own() -> tuple[Path, str]:
    """Return our control group, and the name of the file that holds a group's limit."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return Path("/sys/fs/cgroup/memory") / path.lstrip("/"), "memory.limit_in_bytes"
        if controllers == "" and Path("/sys/fs/cgroup/cgroup.controllers").exists():
            return Path("/sys/fs/cgroup") / path.lstrip("/"), "memory.max"
    pytest.skip("there are no memory control groups here")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="control groups are Linux's")
def test_a_worker_that_the_kernel_killed_for_want_of_memory_is_named_as_such(tmp_path: Path) -> None:
    with limited_group() as group:
        command = [sys.executable, "-c", PROGRAM, str(tmp_path), str(group / "cgroup.procs")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    greedy, modest = read_experiment(tmp_path / "memory").trials.values()
    assert modest.status is Status.TERMINATED
    assert [row.iteration for row in modest.rows()] == [1, 2, 3]
    assert greedy.status is Status.ERROR
    assert [row.iteration for row in greedy.rows()] == [1]
    assert greedy.error is not None
    assert greedy.error.kind == "WorkerDiedError"
    assert "killed by the kernel: out of memory (SIGKILL)" in greedy.error.message
