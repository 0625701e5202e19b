"""P1, P2, P4, P7, P10 with real processes: SIGKILL of driver, workers or all at once, then the same script."""

from __future__ import annotations

import os
import random
import shutil
import signal
from pathlib import Path

import pytest

from tests.crash.harness import (
    NAME,
    assert_gone,
    assert_whole,
    family,
    finish,
    kill,
    read_experiment,
    run_until,
    wait_for_end,
    workers,
)

ROUNDS = int(os.environ.get("PERDURE_CRASH_ROUNDS", "2"))
APIS = ["function", "class"]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("victims", ["driver", "driver and workers", "everything"])
def test_a_killed_run_goes_on(tmp_path: Path, api: str, victims: str) -> None:
    rng = random.Random(f"{api} {victims}")
    rows = 0
    for _ in range(ROUNDS):
        rows += rng.randint(3, 12)
        driver = run_until(tmp_path, min(rows, 40), api)
        others = family(driver)
        os.kill(driver.pid, signal.SIGSTOP)  # it is not to see the others die
        if victims == "driver and workers":
            for pid in workers(tmp_path):
                kill(pid)
        if victims == "everything":
            for process in others:
                kill(process.pid)
        kill(driver.pid)
        driver.wait()
        assert_gone(others)
    assert_whole(finish(tmp_path, api))


@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize("api", APIS)
def test_a_killed_worker_is_retried_from_its_latest_checkpoint(tmp_path: Path, api: str, every: int) -> None:
    # No trial can have come to its end: so those whose workers are killed have not.
    driver = run_until(tmp_path, 8, api, begin=11, failures=1, every=every)
    for pid in workers(tmp_path):
        kill(pid)
    history = wait_for_end(driver, tmp_path)
    assert_whole(history)
    assert any(trial.failures == 1 for trial in history.trials.values())


@pytest.mark.parametrize("reuse", ["yes", "no"])
def test_rows_between_checkpoints_are_replaced_not_doubled(tmp_path: Path, reuse: str) -> None:
    driver = run_until(tmp_path, 9, "function", every=5, reuse=reuse)
    others = family(driver)
    kill(driver.pid)
    driver.wait()
    assert_gone(others)
    assert_whole(finish(tmp_path, "function", every=5, reuse=reuse))


def test_nothing_that_finished_is_run_again(tmp_path: Path) -> None:
    # Two at a time: a third one has begun, so another one has come to its end.
    driver = run_until(tmp_path, 26, "function", concurrent=2)
    assert any(t.status.finished for t in read_experiment(tmp_path / NAME).trials.values())
    kill(driver.pid)
    driver.wait()
    before = {t.id: len(t.attempts) for t in read_experiment(tmp_path / NAME).trials.values() if t.status.finished}
    assert before
    history = finish(tmp_path, "function", concurrent=2)
    assert {trial: len(history.trials[trial].attempts) for trial in before} == before
    assert_whole(history)


def test_a_moved_directory_goes_on(tmp_path: Path) -> None:
    driver = run_until(tmp_path / "here", 10, "function")
    others = family(driver)
    kill(driver.pid)
    driver.wait()
    assert_gone(others)
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert_whole(finish(tmp_path / "there", "function"))
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize("keep", [1, 2])
def test_retention_keeps_to_its_policy_over_kills(tmp_path: Path, keep: int) -> None:
    for rows in (6, 14):
        driver = run_until(tmp_path, rows, "function", keep=keep)
        others = family(driver)
        kill(driver.pid)
        driver.wait()
        assert_gone(others)
    history = finish(tmp_path, "function", keep=keep)
    assert_whole(history)
    for trial in history.trials.values():
        left = sorted(path.name for path in Path(history.path, trial.directory).glob("checkpoint_*"))
        assert len(left) == keep, left
