"""Experiments on the disk, written by hand through the journal and the saver, as a driver and its workers would."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from perdure.checkpoints.digests import digest_file
from perdure.checkpoints.transfer import Saver
from perdure.cli.main import main
from perdure.core.events import (
    AttemptEnded,
    AttemptPlanned,
    AttemptStarted,
    CheckpointsDurable,
    DriverStarted,
    DriverStopped,
    ErrorInfo,
    ExperimentCreated,
    Outcome,
    Reported,
    SearchEnded,
    Source,
    Spec,
    TrialCreated,
)
from perdure.journal.file import FileJournal
from perdure.storage.processes import boot_id

AT = 1_700_000_000.0
TRACEBACK = (
    "Traceback (most recent call last):\n"
    '  File "train.py", line 31, in train\n'
    "    loss = step(model)\n"
    "ValueError: learning rate too large\n"
)


class Experiment:
    """Writes one."""

    def __init__(self, path, *, metric="accuracy", mode="max", num_samples=1, definition=None):
        self.path = path
        path.mkdir(parents=True)
        (path / "trainable.pkl").write_bytes(b"a pickle that nobody may load")
        self.journal = FileJournal(path)
        self.tell(
            ExperimentCreated(
                at=AT,
                name=path.name,
                trainable="train",
                spec=Spec(metric=metric, mode=mode, num_samples=num_samples),
                definition=definition or {},
                version="0.1.0",
                pickles={"trainable.pkl": digest_file(str(path / "trainable.pkl"))},
            ),
            DriverStarted(at=AT, epoch=1, host="node", pid=4711, process_start=0, capacity={"CPU": 4}),
        )

    def tell(self, *events):
        self.journal.append(events)

    def start(self, n, *, prefix="ab12c", **searched):
        searched = searched or {"lr": 0.1 / (n + 1)}
        trial, directory = f"{prefix}_{n:05d}", f"train_{prefix}_{n:05d}"
        (self.path / directory).mkdir()
        self.tell(
            TrialCreated(
                at=AT + n,
                trial=trial,
                number=n,
                name=directory,
                directory=directory,
                config={**searched, "epochs": 3},
                searched=searched,
                resources={"CPU": 1.0},
            ),
            AttemptPlanned(at=AT + n, trial=trial, attempt=1),
            AttemptStarted(at=AT + n, trial=trial, attempt=1, host="node", pid=100 + n, process_start=0),
        )

    def report(self, n, iteration, *, save=False, attempt=1, segment=0, prefix="ab12c", **metrics):
        trial = f"{prefix}_{n:05d}"
        checkpoint = None
        if save:
            source = self.path.parent / "weights"
            source.mkdir(exist_ok=True)
            (source / "model.bin").write_bytes(bytes([n, iteration]) * 500)
            saver = Saver(
                self.path / f"train_{trial}", trial=trial, attempt=1, next_number=iteration - 1, boot_id=boot_id()
            )
            checkpoint = saver.commit(source, row=metrics, iteration=iteration, time_total_s=0.5 * iteration)
        self.tell(
            Reported(
                at=AT + 10 * n + iteration,
                trial=trial,
                attempt=attempt,
                segment=segment,
                iteration=iteration,
                metrics=metrics,
                time_total_s=0.5 * iteration,
                checkpoint=checkpoint,
            )
        )
        if checkpoint is not None:
            self.tell(CheckpointsDurable(at=AT, items=(Source(trial=trial, number=checkpoint.number),)))

    def end(self, n, outcome=Outcome.FINISHED, error=None):
        self.tell(AttemptEnded(at=AT + 500, trial=f"ab12c_{n:05d}", attempt=1, outcome=outcome, error=error))

    def fail(self, n):
        self.end(
            n, Outcome.FAILED, ErrorInfo(kind="ValueError", message="learning rate too large", traceback=TRACEBACK)
        )

    def finish(self):
        self.tell(SearchEnded(at=AT + 600), DriverStopped(at=AT + 600, finished=True, ran_s=600.0))
        self.journal.close()


@pytest.fixture
def new_experiment(tmp_path):
    made = []

    def make(name="digits", **kwargs):
        experiment = Experiment(tmp_path / "results" / name, **kwargs)
        made.append(experiment)
        return experiment

    yield make
    for experiment in made:
        experiment.journal.close()


@pytest.fixture
def finished(new_experiment):
    """Three trials: two ended, one failed; five checkpoints."""
    experiment = new_experiment()
    experiment.start(0)
    for iteration in (1, 2, 3):
        experiment.report(0, iteration, save=True, accuracy=iteration / 10, loss=1.5)
    experiment.end(0)
    experiment.start(1)
    experiment.report(1, 1, save=True, accuracy=0.75, loss=0.25)
    experiment.report(1, 2, save=True, accuracy=0.5, loss=0.5)
    experiment.end(1)
    experiment.start(2)
    experiment.fail(2)
    experiment.finish()
    return experiment.path


@pytest.fixture
def interrupted(new_experiment):
    """One trial was running when the driver went away; it gave its claim back, but is not finished."""
    experiment = new_experiment("cut_short")
    experiment.start(0)
    experiment.report(0, 1, save=True, accuracy=0.5)
    experiment.journal.close()
    return experiment.path


class Ran:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err
        self.lines = out.splitlines()

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def perdure(capsys, monkeypatch):
    """Run a command in this process."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()

    def run(*argv):
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in argv])
        except SystemExit as left:
            code = left.code
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    yield run
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def perdure_process():
    """Run a command in a process of its own."""

    def run(*argv, **kwargs):
        command = [sys.executable, "-m", "perdure", *map(str, argv)]
        environment = {"PYTHONPATH": ":".join(sys.path), "PATH": "", "NO_COLOR": "1"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, **kwargs)

    return run
