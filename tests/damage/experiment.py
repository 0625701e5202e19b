"""A small experiment with one of everything that perdure writes, made by a driver that is killed and started again.

    python -c "from tests.damage.experiment import main; main('STORAGE', KILL_AFTER)"

runs it, or goes on with it, in one process (trials inline), and sends itself SIGKILL after KILL_AFTER reports; 0 runs
to the end. As in `tests.crash.workload`, a row is right only if every step before it was taken exactly once.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from perdure import assembly, tune
from perdure.checkpoints import transfer
from perdure.config import ResumeConfig
from perdure.control.door import Door
from perdure.core.requests import Pin
from perdure.history import ExperimentHistory, read_experiment
from perdure.journal import epochs
from perdure.journal.file import FileJournal
from perdure.journal.values import from_data
from perdure.tune import Checkpoint
from tests.crash.workload import advance, expected_rows

ROOT = Path(__file__).parents[2]
NAME = "damaged"
STEPS = 5
FACTORS = (3, 5, 7)
PADDING = {3: 40, 5: 200, 7: 40}
"""Bytes; of what lies above `DIGESTED_BYTES` the digests are in a file of their own, taken in the background."""
DIGESTED_BYTES = 100
KEPT = 2
SYNC_S = 0.02
PAUSE_S = 3 * SYNC_S

_reports_left = 0


class Rule:
    """A part of the configuration that is no data, so that it lies in `params.pkl`."""

    def __call__(self, value: int, step: int, factor: int) -> int:
        return advance(value, step, factor)


class Watcher(tune.Stopper):
    """A user's own stopper, whose state has to be pickled."""

    def __init__(self) -> None:
        self.rows = 0

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self.rows += 1
        return False

    def stop_all(self) -> bool:
        return False


def train(config: dict[str, Any], table: list[int]) -> None:
    """Steps through the workload's values. `table`, from `with_parameters`, adds nothing until a bit of it flips."""
    global _reports_left
    step, value = 0, 1
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as directory:
            step = int(Path(directory, "step.txt").read_text())
            step = checkpoint.get_metadata().get("step", step)
            value = int(Path(directory, "weights", "value.txt").read_text())
    while step < config["steps"]:
        if step == 1 and config["factor"] == FACTORS[0] and not Path(workplace(), "error.pkl").exists():
            raise RuntimeError("this trial fails once, which leaves an error.pkl")
        step += 1
        value = config["rule"](value, step, config["factor"]) + sum(table)
        with tune.checkpoint_dir() as directory:
            Path(directory, "weights").mkdir()
            Path(directory, "step.txt").write_text(str(step))
            Path(directory, "weights", "value.txt").write_text(str(value))
            Path(directory, "weights", "padding.bin").write_bytes(bytes(PADDING[config["factor"]]))
            saved = Checkpoint.from_directory(directory)
            saved.set_metadata({"step": step})
            tune.report({"step": step, "value": value}, checkpoint=saved)
        _reports_left -= 1
        if _reports_left >= 0:
            time.sleep(PAUSE_S)  # for another snapshot
            while not journal_is_synced():
                time.sleep(0.005)
        if _reports_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def workplace() -> str:
    """Return the directory of the trial that runs here."""
    return str(tune.get_context().get_trial_dir())


def journal_is_synced() -> bool:
    """Whether damage to any of its records is damage to what had reached the disk."""
    journal = max(Path(tune.get_context().get_storage().experiment_path).glob("journal-*.jsonl"))
    head = epochs.read_head(journal.parent)
    return head is not None and (head.epoch, head.offset) == (int(journal.stem[-6:]), journal.stat().st_size)


def new_tuner(storage: Path) -> tune.Tuner:
    """Return the tuner that starts the experiment or goes on with it."""
    return tune.Tuner(
        tune.with_parameters(train, table=[0] * 50),
        param_space={"factor": tune.grid_search(list(FACTORS)), "steps": STEPS, "rule": Rule()},
        tune_config=tune.TuneConfig(seed=1),
        run_config=tune.RunConfig(
            name=NAME,
            storage_path=str(storage),
            resume="auto",
            verbose=0,
            executor="inline",
            stop=Watcher(),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=KEPT),
            failure_config=tune.FailureConfig(max_failures=1),
        ),
    )


def main(storage: str, kill_after: int) -> None:
    """Run a session."""
    global _reports_left
    _reports_left = kill_after or -1
    os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = str(PAUSE_S)
    transfer.SMALL = DIGESTED_BYTES
    assembly.FileJournal = functools.partial(FileJournal, sync_interval_s=SYNC_S)  # type: ignore[assignment,misc]
    new_tuner(Path(storage)).fit()


def run_session(storage: Path, kill_after: int) -> None:
    """Run a session in a process of its own."""
    program = f"from tests.damage.experiment import main; main({str(storage)!r}, {kill_after})"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, timeout=120)
    assert done.returncode == (-signal.SIGKILL if kill_after else 0), done.stderr.decode()


def make(storage: Path, *, finished: bool) -> Path:
    """Make the experiment: three epochs, killed in the middle of the third one or not. Return its directory.

    Somebody has asked, last of all, to pin the newest checkpoint of the trial `asked_for`, and was not answered.
    """
    for kill_after in (4, 4, 0 if finished else 4):
        run_session(storage, kill_after)
    path = storage / NAME
    Door(path).post(Pin(trial=asked_for(read_experiment(path))))
    return path


def asked_for(history: ExperimentHistory) -> str:
    """Return the id of the trial of which a checkpoint is to be pinned."""
    return min(trial.id for trial in history.trials.values())


def go_on(path: Path) -> ExperimentHistory:
    """Restore the experiment as a user would, but with trials in this process, and run it to its end."""
    definition = tune.Tuner.restore(path).definition
    run_config = dataclasses.replace(definition.run_config, executor="inline", verbose=0)
    definition = dataclasses.replace(definition, run_config=run_config)
    tune.Tuner(_restored=(definition, ResumeConfig())).fit()
    return read_experiment(path)


def rows_of(history: ExperimentHistory) -> dict[int, list[tuple[int, int]]]:
    """Return (step, value) of every row by the trial's factor."""
    return {
        factor_of(trial.config): [(int(str(r.metrics["step"])), int(str(r.metrics["value"]))) for r in trial.rows()]
        for trial in history.trials.values()
    }


def factor_of(config: object) -> int:
    """Return the factor in a trial's configuration."""
    plain = from_data(config)  # type: ignore[arg-type]
    assert isinstance(plain, dict)
    return int(plain["factor"])


def expected() -> dict[int, list[tuple[int, int]]]:
    """Return what `rows_of` is when nothing went wrong."""
    return {factor: expected_rows(factor, STEPS) for factor in FACTORS}
