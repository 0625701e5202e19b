"""Makes the fixtures of a format, `tests/journals/v<format>/<name>`.

    python -m tests.journals.make_fixture NEW_DIRECTORY [NAME ...]

- `interrupted`: the Function API in two epochs, the second of whose drivers was killed, too.
- `population`: the Class API in three epochs: population-based training with clones that is paused, resumed and stopped
  by requests; a process that pins a checkpoint while nobody drives; and a driver that adds a trial, retries one that
  fails, and is killed. A request that nobody has taken up yet, to unpin that checkpoint, lies there.

Run it once for each format that is released, on any machine: host, boot and processes are made up. A fixture that is
committed is never made again.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.tune import Tuner

INTERRUPTED, POPULATION = "interrupted", "population"
SESSIONS = {
    INTERRUPTED: {"7": -signal.SIGKILL, "8": -signal.SIGKILL},
    POPULATION: {"begin": 0, "pin": 0, "grow": -signal.SIGKILL, "unpin": 0},
}
"""What each session, a process of its own, is told, and how it ends. `interrupted`: after how many reports it dies."""


def make(name: str, directory: Path) -> None:
    """Make the fixture of that name in `directory`."""
    for told, code in SESSIONS[name].items():
        command = [sys.executable, "-m", __spec__.name, "session", name, told]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *filter(None, sys.path)])}
        done = subprocess.run(command, cwd=directory, env=environment, check=False)
        assert done.returncode == code, done.returncode


def be_elsewhere() -> None:
    """Make this process one of a machine that does not exist, long ago. Before anything takes these by name."""
    from perdure.storage import processes
    from perdure.trainable import importing

    socket.gethostname = lambda: "fixture-host"
    real_time, early = time.time, time.time() - 1_700_000_000
    time.time = lambda: real_time() - early  # its lease is over, whatever the clock of the machine that opens it
    processes.hostname = lambda: "fixture-host"  # type: ignore[assignment]
    processes.node_ip = lambda: "192.0.2.1"  # type: ignore[assignment]
    processes.boot_id = lambda: "00000000-0000-4000-8000-000000000001"  # type: ignore[assignment]
    processes.pid_namespace = lambda: "pid:[1]"  # type: ignore[assignment]
    importing.own_directories = lambda: ("/fixture",)

    from perdure import assembly
    from perdure.checkpoints import transfer
    from perdure.journal.file import FileJournal

    os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "0.3"
    transfer.SMALL = 100
    assembly.FileJournal = functools.partial(FileJournal, sync_interval_s=0.02)  # type: ignore[assignment,misc]


def die() -> None:
    """End this process when what it has written has reached the disk."""
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)


def interrupted(kill_after: str) -> None:
    """Be one driver, in the current directory, that dies after so many reports."""
    from perdure import tune
    from tests.journals import workload

    workload.reports_left = int(kill_after)
    workload.die = die
    tune.Tuner(
        workload.train,
        param_space={
            "factor": tune.grid_search(list(workload.FACTORS)),
            "steps": workload.STEPS,
            "rule": workload.Rule(1009),
        },
        tune_config=tune.TuneConfig(metric="value", mode="max", seed=1),
        run_config=tune.RunConfig(
            name=INTERRUPTED,
            storage_path=".",
            resume="auto",
            verbose=0,
            executor="inline",
            checkpoint_config=tune.CheckpointConfig(num_to_keep=2),
        ),
    ).fit()


def population(session: str) -> None:
    """Be one process of the experiment of that name, in the current directory."""
    from perdure import tune
    from perdure.control.asking import ask
    from perdure.control.door import Door
    from perdure.core.requests import Pin
    from perdure.history import read_experiment
    from tests.journals import population as its

    path = Path(POPULATION).absolute()
    its.Making.step_s = 0.1
    # A traceback names the file, and that would be a path of this machine.
    its.Grow.step.__code__ = its.Grow.step.__code__.replace(co_filename="/fixture/population.py")
    if session == "begin":
        its.Making.experiment = path
        _begun().fit()
    elif session == "grow":
        its.Making.die = staticmethod(die)  # type: ignore[method-assign]
        its.Making.fails_at, its.Making.steps_left = 6, its.KILLED_AFTER
        _again(tune.Tuner.restore(path, num_samples=its.GROWN)).fit()
    else:
        trial = list(read_experiment(path).trials)[its.UNPINNED]
        if session == "pin":
            ask(path, Pin(trial=trial, number=0))
        else:
            Door(path).post(Pin(trial=trial, number=0, pinned=False))


def _begun() -> Tuner:
    from perdure import tune
    from perdure.tune.schedulers import PopulationBasedTraining
    from tests.journals import population as its

    return tune.Tuner(
        its.Grow,
        param_space={"rate": tune.choice(its.RATES)},
        tune_config=tune.TuneConfig(
            metric="value",
            mode="max",
            seed=1,
            num_samples=its.TRIALS,
            max_concurrent_trials=1,
            scheduler=PopulationBasedTraining(
                time_attr="training_iteration",
                perturbation_interval=2,
                quantile_fraction=0.5,
                hyperparam_mutations={"rate": its.RATES},
            ),
        ),
        run_config=tune.RunConfig(
            name=POPULATION,
            storage_path=".",
            verbose=0,
            executor="inline",
            callbacks=[its.Meddles()],
            checkpoint_config=tune.CheckpointConfig(num_to_keep=2, checkpoint_frequency=2),
            failure_config=tune.FailureConfig(max_failures=1),
        ),
    )


def _again(tuner: Tuner) -> Tuner:
    """Name its storage as it was named when it was begun: what is stored of it would have this machine's path."""
    from perdure.config import ResumeConfig
    from perdure.tune import Tuner

    run_config = dataclasses.replace(tuner.definition.run_config, storage_path=".")
    return Tuner(_restored=(dataclasses.replace(tuner.definition, run_config=run_config), ResumeConfig()))


DRIVERS: dict[str, Callable[[str], None]] = {INTERRUPTED: interrupted, POPULATION: population}


def main(target: str, *names: str) -> None:
    """Make the fixtures in a directory that only they are in, and put them into `target`."""
    for name in names or SESSIONS:
        with tempfile.TemporaryDirectory() as scratch:
            make(name, Path(scratch))
            shutil.copytree(Path(scratch, name), Path(target, name))


if __name__ == "__main__":
    if sys.argv[1] == "session":
        be_elsewhere()
        DRIVERS[sys.argv[2]](sys.argv[3])
    else:
        main(*sys.argv[1:])
