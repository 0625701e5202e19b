"""Ctrl-C, SIGTERM and SIGKILL of a real program: what is left goes on, and the user's plugins know what they knew."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from perdure.core.state import Status
from perdure.history import ExperimentHistory, read_experiment
from tests import gate
from tests.crash.harness import ROOT, assert_gone, family, wait_until
from tests.end_to_end.program import STEPS, TRIALS

Program = subprocess.Popen[bytes]


@pytest.fixture
def programs() -> Iterator[list[Program]]:
    """Programs that are made sure to be gone."""
    started: list[Program] = []
    yield started
    for program in started:
        if program.poll() is None:
            program.kill()
            program.wait()


def start(programs: list[Program], storage: Path, *options: str, **environment: str) -> Program:
    storage.mkdir(parents=True, exist_ok=True)
    with (storage / "output.txt").open("ab") as output:
        program = subprocess.Popen(
            [sys.executable, "-m", "tests.end_to_end.program", str(storage), *options],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(sys.path),
                gate.VARIABLE: str(gate_of(storage)),
                **environment,
            },
        )
    programs.append(program)
    return program


def gate_of(storage: Path) -> Path:
    return storage / "gate"


def start_held(programs: list[Program], storage: Path, *options: str, begin: int, **environment: str) -> Program:
    """Start a program of which so many steps begin, and the others wait until `finish`, or whoever opens the gate."""
    gate.shut(gate_of(storage), begin)
    return start(programs, storage, *options, **environment)


def history_of(storage: Path) -> ExperimentHistory:
    return read_experiment(storage / "exp")


def rows_in(storage: Path) -> int:
    try:
        return sum(trial.row_count for trial in history_of(storage).trials.values())
    except FileNotFoundError:
        return 0


def until(program: Program, storage: Path, rows: int) -> list[psutil.Process]:
    """Wait until so many rows are kept; return the processes that the program has started."""
    wait_until(lambda: program.poll() is not None or rows_in(storage) >= rows)
    assert program.poll() is None, output_of(storage)
    return family(program)


def output_of(storage: Path) -> str:
    return (storage / "output.txt").read_text()


def finish(programs: list[Program], storage: Path, *options: str, **environment: str) -> dict[str, Any]:
    gate.open_(gate_of(storage))
    program = start(programs, storage, *options, **environment)
    assert program.wait(timeout=120) == 0, output_of(storage)
    told: dict[str, Any] = json.loads((storage / "told.json").read_text())
    return told


def assert_whole(storage: Path, trials: int = TRIALS) -> None:
    history = history_of(storage)
    assert len(history.trials) == trials
    for trial in history.trials.values():
        assert trial.status is Status.TERMINATED
        assert [row.metrics["step"] for row in trial.rows()] == list(range(1, STEPS + 1))


ALL_BUT_ONE = TRIALS * STEPS - 1
EVERYTHING = sorted([number, step] for number in range(TRIALS) for step in [*range(1, STEPS + 1)])


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_first_signal_stops_in_good_order(tmp_path: Path, programs: list[Program], number: int) -> None:
    program = start_held(programs, tmp_path, "pause=0.1", "verbose=1", begin=14)
    until(program, tmp_path, 14)
    wait_until(lambda: running(tmp_path) == 2)
    workers = family(program)
    program.send_signal(number)
    wait_until(lambda: program.poll() is not None or history_of(tmp_path).state.stopping is not None)
    gate.open_(gate_of(tmp_path))
    assert program.wait(timeout=120) == (143 if number == signal.SIGTERM else 0), output_of(tmp_path)
    assert_gone(workers)
    history = history_of(tmp_path)
    assert history.state.stopping == signal.Signals(number).name
    assert all(trial.live is None for trial in history.state.trials.values())
    assert f"trials left: perdure resume {tmp_path / 'exp'}, or run this script again" in output_of(tmp_path)
    assert "Traceback" not in output_of(tmp_path)
    stopping = f"Stopping ({signal.Signals(number).name}) at the next report of 2 trials."
    assert stopping in output_of(tmp_path)
    assert "Going on with" not in output_of(tmp_path)
    told = finish(programs, tmp_path)
    assert_whole(tmp_path)
    assert set(told["rows"].values()) == {STEPS}
    assert len(told["ended"]) == len(set(told["ended"])) == TRIALS


def test_a_second_signal_stops_at_once(tmp_path: Path, programs: list[Program]) -> None:
    program = start_held(programs, tmp_path, "trials=2", "verbose=1", begin=0)
    wait_until(lambda: running(tmp_path) > 0)
    workers = family(program)
    program.send_signal(signal.SIGINT)
    wait_until(lambda: history_of(tmp_path).state.stopping is not None)
    with pytest.raises(subprocess.TimeoutExpired):
        program.wait(timeout=0.3)  # it waits for the next reports
    program.send_signal(signal.SIGINT)
    assert program.wait(timeout=120) != 0
    assert "KeyboardInterrupt" in output_of(tmp_path)
    assert "interrupted" in output_of(tmp_path)
    assert "running\n" not in output_of(tmp_path)
    assert_gone(workers)
    finish(programs, tmp_path, "trials=2")
    assert_whole(tmp_path, trials=2)


def running(storage: Path) -> int:
    """Return how many trials have a process, and steps to come: one that has taken its last is about to end."""
    try:
        history = history_of(storage)
    except FileNotFoundError:
        return 0
    trials = history.state.trials.values()
    live = [trial.id for trial in trials if trial.live is not None and trial.live.pid > 0]
    return sum(history.trials[trial].row_count < STEPS for trial in live)


# --- kills ------------------------------------------------------------------------------------------------------------


def kill(program: Program, workers: list[psutil.Process]) -> None:
    program.kill()
    program.wait()
    assert_gone(workers)


def test_random_search_goes_on_with_the_very_same_variants(tmp_path: Path, programs: list[Program]) -> None:
    alone = finish(programs, tmp_path / "alone", "pause=0")
    broken = tmp_path / "broken"
    for rows in (3, 14):
        program = start_held(programs, broken, begin=ALL_BUT_ONE)
        kill(program, until(program, broken, rows))
    told = finish(programs, broken, "pause=0")
    assert [config["lr"] for config in told["configs"]] == [config["lr"] for config in alone["configs"]]
    assert_whole(broken)


@pytest.mark.parametrize("period", ["0", "1000"])
@pytest.mark.parametrize("searcher", ["remembering", "reminded"])
def test_plugins_know_what_they_knew(tmp_path: Path, programs: list[Program], searcher: str, period: str) -> None:
    environment = {"TUNE_GLOBAL_CHECKPOINT_S": period}
    for rows in (3, 14):
        program = start_held(programs, tmp_path, f"searcher={searcher}", begin=ALL_BUT_ONE, **environment)
        kill(program, until(program, tmp_path, rows))
    told = finish(programs, tmp_path, f"searcher={searcher}", "pause=0", **environment)
    assert_whole(tmp_path)
    assert sorted(config["x"] for config in told["configs"]) == list(range(TRIALS))
    assert set(told["rows"].values()) == {STEPS}
    results = sorted(pair for pair in told["searcher"] if pair[1] != "end")
    ends = sorted(pair[0] for pair in told["searcher"] if pair[1] == "end")
    assert results == EVERYTHING
    assert ends == list(range(TRIALS))
    if period == "0":
        assert len(told["ended"]) == len(set(told["ended"])) == TRIALS


def test_no_snapshot_is_needed(tmp_path: Path, programs: list[Program]) -> None:
    program = start_held(programs, tmp_path, begin=ALL_BUT_ONE, TUNE_GLOBAL_CHECKPOINT_S="0")
    kill(program, until(program, tmp_path, 9))
    snapshots = list((tmp_path / "exp").glob("snapshot-*"))
    assert snapshots
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "exp", copy / "exp")
    for snapshot in (copy / "exp").glob("snapshot-*"):
        shutil.rmtree(snapshot)
    with_them, without = finish(programs, tmp_path, "pause=0"), finish(programs, copy, "pause=0")
    assert with_them["configs"] == without["configs"]
    assert with_them["rows"] == without["rows"]
    assert_whole(tmp_path)
    assert_whole(copy)


# --- one driver -------------------------------------------------------------------------------------------------------


def test_a_second_driver_is_refused(tmp_path: Path, programs: list[Program]) -> None:
    program = start_held(programs, tmp_path, begin=ALL_BUT_ONE)
    until(program, tmp_path, 1)
    other = start(programs, tmp_path)
    assert other.wait(timeout=120) != 0
    assert "ExperimentLockedError" in output_of(tmp_path)
    assert str(program.pid) in output_of(tmp_path)
    gate.open_(gate_of(tmp_path))
    assert program.wait(timeout=120) == 0, output_of(tmp_path)
    assert_whole(tmp_path)


def test_nobody_waits_for_a_dead_driver(tmp_path: Path, programs: list[Program]) -> None:
    program = start_held(programs, tmp_path, begin=ALL_BUT_ONE)
    workers = until(program, tmp_path, 3)
    kill(program, workers)
    shutil.move(tmp_path / "exp", tmp_path / "moved")
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "moved", tmp_path / "elsewhere" / "exp")
    finish(programs, tmp_path / "elsewhere", "pause=0")
    assert_whole(tmp_path / "elsewhere")
    assert not (tmp_path / "exp").exists()
