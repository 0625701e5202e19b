"""Starting the workload as a process of its own, killing it and what belongs to it, and reading what is left."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from perdure.core.events import Data, Reported
from perdure.history import ExperimentHistory, TrialHistory, read_experiment
from perdure.journal.file import FileJournalReader
from perdure.journal.values import from_data
from tests import gate
from tests.crash.results import scalars_of
from tests.crash.workload import NAME, expected_rows

ROOT = Path(__file__).parents[2]


def start(
    storage: Path, api: str, *, environment: Mapping[str, str] | None = None, **options: object
) -> subprocess.Popen[bytes]:
    """Start the workload's driver; what it prints goes to a file beside the storage."""
    command = [sys.executable, "-m", "tests.crash.workload", str(storage), api]
    command += [f"{name}={value}" for name, value in options.items()]
    log_of(storage).touch()
    with output_of(storage).open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**environment_of(storage), **(environment or {})},
        )


def environment_of(storage: Path) -> dict[str, str]:
    """Return what a driver of this storage is told by its environment."""
    environment = {**os.environ, "WORKLOAD_LOG": str(log_of(storage)), gate.VARIABLE: str(gate_of(storage))}
    # Hundreds of processes start here, and without byte code each takes half as long again.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment.setdefault("PYTHONPYCACHEPREFIX", str(ROOT / ".pytest_cache" / "byte-code"))
    return environment


def output_of(storage: Path) -> Path:
    """Return the file that the drivers of this storage print to."""
    return storage.parent / f"{storage.name}.log"


def log_of(storage: Path) -> Path:
    """Return the file in which the workers write down their steps; see `workload.note`."""
    return storage.parent / f"{storage.name}.steps"


def gate_of(storage: Path) -> Path:
    """Return the gate before the steps of this storage's workers; see `tests.gate`."""
    return storage.parent / f"{storage.name}.gate"


def run_until(
    storage: Path, rows: int, api: str, *, begin: int = 0, samples: int = 4, steps: int = 12, **options: object
) -> subprocess.Popen[bytes]:
    """Start the workload and wait until so many rows are journaled.

    It is not over before `wait_for_end`, or whoever opens the gate: so many steps may `begin`, all but one if not said.
    """
    gate.shut(gate_of(storage), begin or samples * steps - 1)
    driver = start(storage, api, samples=samples, steps=steps, **options)
    wait_until(lambda: driver.poll() is not None or rows_reported(storage) >= rows)
    assert driver.poll() is None, output_of(storage).read_text()
    return driver


def wait_for_end(driver: subprocess.Popen[bytes], storage: Path) -> ExperimentHistory:
    """Let the driver come to its end, and return the history."""
    gate.open_(gate_of(storage))
    assert driver.wait(timeout=120) == 0, output_of(storage).read_text()
    return read_experiment(storage / NAME)


def finish(storage: Path, api: str, **options: object) -> ExperimentHistory:
    """Run the workload to its end and return its history."""
    return wait_for_end(start(storage, api, **options), storage)


def rows_reported(storage: Path) -> int:
    """Return how many rows are in the journal now; 0 while there is none."""
    try:
        history = read_experiment(storage / NAME)
    except FileNotFoundError:
        return 0
    return sum(trial.row_count for trial in history.trials.values())


def wait_until(condition: Callable[[], bool], *, timeout_s: float = 120.0) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def workers(storage: Path) -> list[int]:
    """Return the pids of the live attempts, as the journal names them."""
    history = read_experiment(storage / NAME)
    live = [trial.live for trial in history.state.trials.values() if trial.live is not None]
    return [attempt.pid for attempt in live if attempt.pid]


def family(driver: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return every process that the driver started, directly or not."""
    return psutil.Process(driver.pid).children(recursive=True)


def kill(pid: int) -> None:
    """SIGKILL a process that may be gone."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def assert_gone(processes: list[psutil.Process]) -> None:
    """Every one of these processes ends, long before it would by itself."""
    _, alive = psutil.wait_procs(processes, timeout=30)
    left = [process for process in alive if _runs(process)]
    assert not left, f"left behind: {left}"


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def values(trial: TrialHistory) -> list[tuple[int, int]]:
    """Return (step, value) of each row of the trial's view."""
    return [(int(str(row.metrics["step"])), int(str(row.metrics["value"]))) for row in trial.rows()]


def assert_whole(history: ExperimentHistory, *, samples: int = 4, steps: int = 12) -> None:
    """Every trial ended, with every row once, in order and right, in the journal and in the files made from it."""
    assert len(history.trials) == samples
    for trial in history.trials.values():
        assert trial.status.value == "TERMINATED", (trial.id, trial.status, trial.error)
        expected = expected_rows(_factor(trial.config), steps)
        assert values(trial) == expected, trial.id
        directory = Path(history.path, trial.directory)
        lines = [json.loads(line) for line in (directory / "result.json").read_text().splitlines()]
        assert [(line["step"], line["value"]) for line in lines] == expected, trial.id
        with (directory / "progress.csv").open(newline="") as file:
            table = [(int(line["step"]), int(line["value"])) for line in csv.DictReader(file)]
        assert table == expected, trial.id
        assert scalars_of(directory)["value"] == expected, trial.id
        assert [line["training_iteration"] for line in lines] == list(range(1, steps + 1))
        assert not list(directory.glob(".staging-*"))


def assert_kept(storage: Path) -> None:
    """Every row that `report` said is kept is in the journal now, superseded or not."""
    notes = _notes(storage)
    events = (event for _, event in FileJournalReader(storage / NAME).read())
    journaled = {(event.trial, event.metrics["step"]) for event in events if isinstance(event, Reported)}
    kept = {(trial, step) for trial, what, step in notes if what == "kept"}
    assert kept <= journaled, f"said to be kept, and not in the journal: {sorted(kept - journaled)}"
    begun = {(trial, step) for trial, what, step in notes if what == "begins"}
    assert journaled <= begun, f"the log is not of the workers that reported these: {journaled - begun}"


def assert_nothing_kept_was_done_again(storage: Path) -> None:
    """With a checkpoint at each report: no step began again after its row was said to be kept, none was left out."""
    kept: dict[str, int] = {}
    begun: dict[str, int] = {}
    for trial, what, step in _notes(storage):
        if what == "kept":
            kept[trial] = step
        else:
            assert kept.get(trial, 0) < step <= begun.get(trial, 0) + 1, (trial, step, kept, begun)
            begun[trial] = step
    assert kept, f"nobody has written into {log_of(storage)}"


def steps_begun(storage: Path) -> int:
    """Return how many steps the workers have begun, over all drivers."""
    path = log_of(storage)
    return path.read_bytes().count(b" begins ") if path.exists() else 0


def _notes(storage: Path) -> list[tuple[str, str, int]]:
    """Return (trial, what, step) of each line in the log, which is there even if no step has begun yet."""
    lines = [line.split() for line in log_of(storage).read_text().splitlines()]
    return [(trial, what, int(step)) for trial, what, step in lines]


def _factor(config: Data) -> int:
    plain = from_data(config)
    assert isinstance(plain, dict)
    return int(plain["factor"])
