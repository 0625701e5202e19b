"""Ctrl-C and preemption: once in good order, twice at once; nothing counts as a failure, and everything goes on."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from perdure.history import ExperimentHistory
from tests import gate
from tests.crash.harness import (
    NAME,
    assert_gone,
    assert_whole,
    family,
    finish,
    gate_of,
    output_of,
    read_experiment,
    run_until,
    start,
    wait_until,
)

APIS = ["function", "class"]
ENDED_BY_SIGTERM = 143
"""As a shell calls it; nothing that follows `fit()` in the script was run."""


def assert_nothing_failed(history: ExperimentHistory) -> None:
    for trial in history.trials.values():
        assert trial.failures == 0
        assert trial.error is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1], ids=lambda number: number.name)
@pytest.mark.parametrize("api", APIS)
def test_a_first_signal_ends_in_good_order(tmp_path: Path, api: str, number: signal.Signals) -> None:
    driver = run_until(tmp_path, 6, api, begin=40, pause=0.05, keep=1)
    others = family(driver)
    driver.send_signal(number)
    open_once_it_stops(driver, tmp_path)
    expected = ENDED_BY_SIGTERM if number is signal.SIGTERM else 0
    assert driver.wait(timeout=120) == expected, output_of(tmp_path).read_text()
    assert_gone(others)
    stopped = read_experiment(tmp_path / NAME)
    assert_nothing_failed(stopped)
    assert not stopped.state.finished
    for trial in stopped.trials.values():
        if trial.row_count:
            latest = trial.latest_checkpoint
            assert latest is not None
            assert latest.iteration == trial.row_count, "it saved all it had reported"
    history = finish(tmp_path, api, pause=0.05, keep=1)
    assert_whole(history)
    assert_nothing_failed(history)


@pytest.mark.parametrize("api", APIS)
def test_a_class_saves_before_it_goes_although_it_rarely_does(tmp_path: Path, api: str) -> None:
    """A function that saves every tenth time goes back to that; a class is asked to save when it is stopped."""
    driver = run_until(tmp_path, 4, api, begin=8, pause=0.05, every=10)
    driver.send_signal(signal.SIGTERM)
    open_once_it_stops(driver, tmp_path)
    assert driver.wait(timeout=120) == ENDED_BY_SIGTERM
    stopped = {trial.id: trial.row_count for trial in read_experiment(tmp_path / NAME).trials.values()}
    history = finish(tmp_path, api, pause=0.05, every=10)
    assert_whole(history)
    for trial, iteration in stopped.items():
        went_on_from = history.trials[trial].attempts[-1].iteration
        assert went_on_from == (iteration if api == "class" else 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1], ids=lambda number: number.name)
@pytest.mark.parametrize("api", APIS)
def test_a_cluster_that_signals_every_process_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api: str, number: signal.Signals
) -> None:
    monkeypatch.setenv("PERDURE_LOGGERS_BUSY", "0")  # the loggers have a process of their own
    driver = run_until(tmp_path, 6, api, begin=40, pause=0.05)
    others = family(driver)
    for process in [*others, driver]:
        with contextlib.suppress(psutil.NoSuchProcess):  # a worker whose trial has just ended
            process.send_signal(number)
    open_once_it_stops(driver, tmp_path)
    expected = ENDED_BY_SIGTERM if number is signal.SIGTERM else 0
    assert driver.wait(timeout=120) == expected, output_of(tmp_path).read_text()
    assert_gone(others)
    assert_nothing_failed(read_experiment(tmp_path / NAME))
    history = finish(tmp_path, api, pause=0.05)
    assert_whole(history)
    assert_nothing_failed(history)


@pytest.mark.parametrize("api", APIS)
def test_a_second_signal_ends_at_once(tmp_path: Path, api: str) -> None:
    """In the middle of steps that take a minute."""
    driver = start(tmp_path, api, pause=60, samples=2)
    wait_until(lambda: len(workers_of(tmp_path)) == 2)
    others = family(driver)
    driver.send_signal(signal.SIGINT)
    wait_until(lambda: has_stopping(tmp_path))
    assert driver.poll() is None, "the first one lets the steps come to their end"
    driver.send_signal(signal.SIGINT)
    assert driver.wait(timeout=120) != 0
    assert_gone(others)
    assert "KeyboardInterrupt" in output_of(tmp_path).read_text()
    assert_nothing_failed(read_experiment(tmp_path / NAME))
    driver = start(tmp_path, api, pause=60, samples=2)
    wait_until(lambda: driver.poll() is not None or len(workers_of(tmp_path, epoch=2)) == 2)
    assert driver.poll() is None, "nothing keeps the next one out"
    driver.kill()
    driver.wait()


def workers_of(storage: Path, epoch: int = 1) -> list[int]:
    try:
        history = read_experiment(storage / NAME)
    except FileNotFoundError:
        return []
    attempts = [trial.attempts[-1] for trial in history.trials.values() if len(trial.attempts) == epoch]
    return [attempt.pid for attempt in attempts if attempt.pid]


def open_once_it_stops(driver: subprocess.Popen[bytes], storage: Path) -> None:
    """Let the steps that wait come to their end, once the driver has taken up what it was told."""
    wait_until(lambda: driver.poll() is not None or has_stopping(storage))
    gate.open_(gate_of(storage))


def has_stopping(storage: Path) -> bool:
    return read_experiment(storage / NAME).state.stopping is not None
