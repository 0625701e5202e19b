"""Makes `tests/journals/v<format>/interrupted`: an experiment of two epochs, whose second driver was killed.

    python -m tests.journals.make_fixture NEW_DIRECTORY

Run it once for each format that is released, on any machine: host, boot and processes are made up. A fixture that is
committed is never made again.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NAME = "interrupted"
EPOCHS = (7, 8)
"""Reports after which each driver is killed."""


def make(target: Path) -> None:
    """Make the fixture in `target`, which does not exist."""
    target.mkdir(parents=True)
    for kill_after in EPOCHS:
        command = [sys.executable, "-m", __spec__.name, "session", str(kill_after)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *filter(None, sys.path)])}
        done = subprocess.run(command, cwd=target, env=environment, check=False)
        assert done.returncode == -signal.SIGKILL, done.returncode


def run_session(kill_after: int) -> None:
    """Be one driver, of a machine that does not exist, in the current directory."""
    from perdure.storage import processes

    # Before anything takes these by name.
    socket.gethostname = lambda: "fixture-host"
    real_time, early = time.time, time.time() - 1_700_000_000
    time.time = lambda: real_time() - early  # its lease is over, whatever the clock of the machine that opens it
    processes.hostname = lambda: "fixture-host"  # type: ignore[assignment]
    processes.node_ip = lambda: "192.0.2.1"  # type: ignore[assignment]
    processes.boot_id = lambda: "00000000-0000-4000-8000-000000000001"  # type: ignore[assignment]
    processes.pid_namespace = lambda: "pid:[1]"  # type: ignore[assignment]

    from perdure import assembly, tune
    from perdure.checkpoints import transfer
    from perdure.journal.file import FileJournal
    from tests.journals import workload

    os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "0.3"
    transfer.SMALL = 100
    assembly.FileJournal = functools.partial(FileJournal, sync_interval_s=0.02)  # type: ignore[assignment,misc]
    workload.reports_left = kill_after
    workload.die = lambda: (time.sleep(0.5), os.kill(os.getpid(), signal.SIGKILL))  # type: ignore[assignment]
    tune.Tuner(
        workload.train,
        param_space={
            "factor": tune.grid_search(list(workload.FACTORS)),
            "steps": workload.STEPS,
            "rule": workload.Rule(1009),
        },
        tune_config=tune.TuneConfig(metric="value", mode="max", seed=1),
        run_config=tune.RunConfig(
            name=NAME,
            storage_path=".",
            resume="auto",
            verbose=0,
            executor="inline",
            checkpoint_config=tune.CheckpointConfig(num_to_keep=2),
        ),
    ).fit()


if __name__ == "__main__":
    if sys.argv[1] == "session":
        run_session(int(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            make(Path(scratch) / "made")
            shutil.copytree(Path(scratch) / "made" / NAME, Path(sys.argv[1]) / NAME)
