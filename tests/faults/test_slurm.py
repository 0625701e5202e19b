"""Preemption by a real Slurm: the example's job is requeued in the middle, and the second run ends the experiment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from perdure.core.events import AttemptEnded, DriverStopped, StopRequested
from perdure.journal.file import FileJournalReader
from tests import gate
from tests.crash.harness import (
    NAME,
    ROOT,
    assert_kept,
    assert_nothing_kept_was_done_again,
    assert_whole,
    gate_of,
    log_of,
    output_of,
    read_experiment,
    rows_reported,
    wait_until,
)
from tests.faults.slurm import Cluster, cluster

EXAMPLE = ROOT / "examples" / "slurm"
PAGE = ROOT / "docs" / "how-to" / "slurm.md"


def processes_of(storage: Path) -> list[psutil.Process]:
    """Return the live processes whose environment names the workload's log: the job's, on whatever node they are."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("WORKLOAD_LOG") == str(log_of(storage)):
                found.append(process)
        except psutil.Error:
            continue
    return found


def submit(slurm: Cluster, storage: Path, api: str) -> int:
    """Submit the example's job, with the workload as its script."""
    return slurm.submit(
        f"--chdir={ROOT}",
        f"--output={output_of(storage)}",
        str(EXAMPLE / "tune.sbatch"),
        *["-m", "tests.crash.workload", str(storage), api, "pause=0.1"],
        environment={
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), slurm.environment["PATH"]]),
            "PYTHONPATH": str(ROOT / "src"),
            "WORKLOAD_LOG": str(log_of(storage)),
            gate.VARIABLE: str(gate_of(storage)),
        },
    )


def wait_for_rows(slurm: Cluster, storage: Path, job: int) -> None:
    """Wait until the job is in the middle of the experiment."""
    wait_until(lambda: rows_reported(storage) >= 6 or slurm.state(job) not in {"PENDING", "RUNNING"})
    assert slurm.state(job) == "RUNNING", output_of(storage).read_text()


def open_once_it_stops(storage: Path) -> None:
    """Let the steps that wait come to their end, once the signal has reached the driver: Slurm takes its time."""
    wait_until(lambda: read_experiment(storage / NAME).state.stopping is not None)
    gate.open_(gate_of(storage))


def assert_ended_by_sigterm(slurm: Cluster, storage: Path, job: int) -> None:
    """The job ends by itself, its exit status says how, and it leaves no process behind."""
    assert slurm.wait_for_end(job) == "FAILED", (output_of(storage).read_text(), slurm.story())
    assert slurm.field(job, "ExitCode") == "143:0"
    wait_until(lambda: processes_of(storage) == [])


def assert_completed(slurm: Cluster, storage: Path, job: int) -> None:
    """The job ends by itself, with exit status 0, and leaves no process behind."""
    assert slurm.wait_for_end(job) == "COMPLETED", (output_of(storage).read_text(), slurm.story())
    wait_until(lambda: processes_of(storage) == [])


@pytest.mark.slow
@pytest.mark.parametrize("api", ["function", "class"])
def test_a_requeued_job_goes_on(tmp_path: Path, api: str) -> None:
    storage = tmp_path / "storage"
    with cluster() as slurm:
        gate.shut(gate_of(storage), 40)
        job = submit(slurm, storage, api)
        wait_for_rows(slurm, storage, job)
        slurm.requeue(job)
        open_once_it_stops(storage)
        wait_until(lambda: slurm.field(job, "Restarts") == "1")
        assert_completed(slurm, storage, job)
    assert_nothing_was_lost(storage)


@pytest.mark.slow
def test_a_job_that_comes_to_its_time_limit_is_gone_on_with_by_the_next(tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    with cluster() as slurm:
        gate.shut(gate_of(storage), 40)
        job = submit(slurm, storage, "function")
        wait_for_rows(slurm, storage, job)
        slurm.signal_batch(job)
        open_once_it_stops(storage)
        assert_ended_by_sigterm(slurm, storage, job)
        assert not read_experiment(storage / NAME).state.finished
        assert_completed(slurm, storage, submit(slurm, storage, "function"))
    assert_nothing_was_lost(storage)


def assert_nothing_was_lost(storage: Path) -> None:
    """Every row is there once, nothing was done again, no trial has failed, and two drivers took part."""
    history = read_experiment(storage / NAME)
    assert history.state.finished
    assert_whole(history)
    assert_kept(storage)
    assert_nothing_kept_was_done_again(storage)
    for trial in history.trials.values():
        assert trial.failures == 0
        assert trial.error is None
    assert_stopped_in_good_order(storage)


def assert_stopped_in_good_order(storage: Path) -> None:
    """Two drivers: the first one was told by SIGTERM and came to its end by itself, the second one ended it all."""
    events = list(FileJournalReader(storage / NAME).read())
    assert {at.epoch for at, _ in events} == {1, 2}
    asked = [(at.epoch, event.reason) for at, event in events if isinstance(event, StopRequested)]
    assert asked == [(1, "SIGTERM")]
    assert [at.epoch for at, event in events if isinstance(event, DriverStopped)] == [1, 2]
    assert any(at.epoch == 1 and isinstance(event, AttemptEnded) for at, event in events)


def test_the_examples_experiment_runs(tmp_path: Path) -> None:
    text = (EXAMPLE / "tune.py").read_text()
    script = tmp_path / "tune.py"
    assert text.count("EPOCHS = 40\n") == text.count("SECONDS = 1.0 ") == 1
    script.write_text(text.replace("EPOCHS = 40\n", "EPOCHS = 3\n").replace("SECONDS = 1.0 ", "SECONDS = 0 "))
    for _ in range(2):  # run again when all is done, it says so and ends
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "SLURM_CPUS_PER_TASK": "2"}
        done = subprocess.run(
            [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stderr
        assert "8 of 8 trials have ended; best loss" in done.stdout
    assert read_experiment(tmp_path / "results" / "slurm").state.finished


def test_the_page_shows_the_example_as_it_is() -> None:
    page = PAGE.read_text()
    assert (EXAMPLE / "tune.sbatch").read_text() in page
