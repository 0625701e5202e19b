"""A worker that the kernel kills for want of memory is named as such, and the others go on; or it is retried with less.

The kernel really kills here, in a control group with little memory.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.core.events import Outcome
from perdure.core.state import Status
from perdure.history import ExperimentHistory, read_experiment
from tests.crash.harness import ROOT

BEGINS = """
import os, sys
open(sys.argv[2], "w").write(str(os.getpid()))  # from here on its memory, and its children's, is limited
from perdure import tune
"""
NAMED = """
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
RETRIED = """
from pathlib import Path
from perdure.executors.local import LocalExecutor

def train(config):
    cpus = int(tune.get_context().get_trial_resources()["CPU"])
    latest = tune.get_checkpoint()
    first = 1 if latest is None else int(Path(latest.path, "step").read_text()) + 1
    for step in range(first, 4):
        if step > 1:
            loaders = [b"x" * (150 << 20) for _ in range(cpus)]
        with tune.checkpoint_dir() as path:
            Path(path, "step").write_text(str(step))
            tune.report({"cpus": cpus}, checkpoint=tune.Checkpoint.from_directory(path))

tune.Tuner(
    tune.with_resources(train, {"CPU": 3}),
    run_config=tune.RunConfig(
        name="memory",
        storage_path=sys.argv[1],
        verbose=0,
        executor=LocalExecutor(cpus=3),
        failure_config=tune.FailureConfig(max_failures=1, resources_after_oom=lambda had: {**had, "CPU": 1}),
    ),
).fit()
"""
LIMIT = 400 << 20


@contextlib.contextmanager
def limited_group() -> Iterator[Path]:
    """Make a control group below our own with little memory, or skip the test where that is not permitted."""
    group, limit = below_our_own()
    name = group / f"perdure-test-{secrets.token_hex(8)}"
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


def run(program: str, storage: Path) -> ExperimentHistory:
    """Run an experiment with little memory."""
    with limited_group() as group:
        command = [sys.executable, "-c", BEGINS + program, str(storage), str(group / "cgroup.procs")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return read_experiment(storage / "memory")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="control groups are Linux's")
def test_a_worker_that_the_kernel_killed_for_want_of_memory_is_named_as_such(tmp_path: Path) -> None:
    greedy, modest = run(NAMED, tmp_path).trials.values()
    assert modest.status is Status.TERMINATED
    assert [row.iteration for row in modest.rows()] == [1, 2, 3]
    assert greedy.status is Status.ERROR
    assert [row.iteration for row in greedy.rows()] == [1]
    assert greedy.error is not None
    assert greedy.error.kind == "WorkerDiedError"
    assert "killed by the kernel: out of memory (SIGKILL)" in greedy.error.message


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="control groups are Linux's")
def test_a_worker_that_the_kernel_killed_for_want_of_memory_is_retried_with_other_resources(tmp_path: Path) -> None:
    """With fewer CPUs, for each of which it needs memory: it goes on from its checkpoint, and comes to its end."""
    (trial,) = run(RETRIED, tmp_path).trials.values()
    killed, again = trial.attempts
    assert killed.outcome is Outcome.LOST
    assert killed.error is not None
    assert killed.error.out_of_memory
    assert "killed by the kernel: out of memory (SIGKILL)" in killed.error.message
    assert (again.outcome, again.iteration) == (Outcome.FINISHED, 1)
    assert (trial.status, trial.failures, trial.resources["CPU"]) == (Status.TERMINATED, 1, 1)
    assert [(row.iteration, row.metrics["cpus"]) for row in trial.rows()] == [(1, 3), (2, 1), (3, 1)]
