"""Kills 01_digits.py half way, runs it again, and shows what that cost: `make run`."""

import contextlib
import importlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from perdure import tune
from perdure.core.events import Reported
from perdure.errors import ExperimentNotFoundError
from perdure.history import read_experiment
from perdure.journal.file import FileJournalReader

HERE = Path(__file__).resolve().parent
STORAGE = HERE.parent / "build" / "digits"
EXPERIMENT = STORAGE / "digits"

digits = importlib.import_module("01_digits")
EXPECTED = digits.SAMPLES * digits.EPOCHS
console = Console(width=100)


def start():
    """Start the example as a user would, in a process of its own."""
    environment = {**os.environ, "PERDURE_STORAGE_PATH": str(STORAGE)}
    return subprocess.Popen([sys.executable, str(HERE / "01_digits.py")], env=environment)


def epochs_kept():
    """How many epochs the experiment's journal holds by now; reading it disturbs nobody."""
    with contextlib.suppress(ExperimentNotFoundError):
        return sum(trial.row_count for trial in read_experiment(EXPERIMENT).trials.values())
    return 0


def kill_half_way():
    driver = start()
    while epochs_kept() < EXPECTED / 2:
        if driver.poll() is not None:
            sys.exit(f"The example ended before it could be killed, with exit code {driver.returncode}.")
        time.sleep(0.05)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()


def show(title):
    """The trials, as they lie on the disk."""
    table = Table(title=title, title_justify="left")
    for column in ("trial", "status", "epochs", "accuracy", "checkpoints", "lr", "hidden", "batch"):
        table.add_column(column, justify="left" if column in ("trial", "status") else "right")
    for result in tune.ResultGrid(read_experiment(EXPERIMENT), path=EXPERIMENT):
        metrics, config = result.metrics or {}, result.config
        table.add_row(
            result.trial_id,
            result.status,
            str(metrics.get("training_iteration", 0)),
            f"{metrics['accuracy']:.3f}" if "accuracy" in metrics else "",
            str(len(result.best_checkpoints)),
            f"{config['lr']:.5f}",
            str(config["hidden"]),
            str(config["batch"]),
        )
    console.print(table)


def epochs_trained():
    """Epochs trained by each of the two runs. A row that the second found in a checkpoint is the first one's work."""
    rows = [(at.epoch, row) for at, row in FileJournalReader(EXPERIMENT).read() if isinstance(row, Reported)]
    after = sum(epoch == 2 and not row.adopted for epoch, row in rows)
    return len(rows) - after, after


def main():
    shutil.rmtree(STORAGE, ignore_errors=True)

    console.rule(f"Tuning {digits.SAMPLES} networks, {digits.EPOCHS} epochs each; the driver will be killed half way")
    kill_half_way()
    console.rule("Killed: SIGKILL to the driver. This is what is on the disk")
    show(str(EXPERIMENT.relative_to(HERE.parent)))

    console.rule("The same script again")
    if start().wait() != 0:
        sys.exit("The second run failed.")
    show("All trials")

    before, after = epochs_trained()
    console.print(f"Epochs trained before the kill: {before}; after it: {after}; asked for: {EXPECTED}.")
    console.print(f"Resuming saved {EXPECTED - after} epochs; {before + after - EXPECTED} were trained twice.")

    best = tune.ResultGrid(read_experiment(EXPERIMENT), path=EXPERIMENT).get_best_result("accuracy", "max", scope="all")
    checkpoint = best.get_best_checkpoint("accuracy", "max")
    model, epoch = pickle.loads(Path(checkpoint.path, "model.pkl").read_bytes())
    accuracy = model.score(*digits.load_data()["test"])
    console.print(f"Best checkpoint (epoch {epoch}): {Path(checkpoint.path).relative_to(HERE.parent)}", soft_wrap=True)
    console.print(f"Accuracy on digits that no trial has seen: {accuracy:.3f}")


if __name__ == "__main__":
    main()
