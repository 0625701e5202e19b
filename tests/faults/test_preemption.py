"""SIGTERM in the middle of a step that takes for ever: a trial that asks is told, and has a grace period to save in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.history import read_experiment
from tests.crash.harness import ROOT, assert_gone, family, wait_until

PROGRAM = """
import pathlib, sys, time
from perdure import tune

def train(config):
    latest = tune.get_checkpoint()
    first = int(pathlib.Path(latest.path, "step").read_text()) if latest else 0
    for step in range(first + 1, 4):
        if step == 2 and not latest:
            pathlib.Path(config["marker"]).touch()
            while not (config["asks"] and tune.should_stop()):
                time.sleep(0.01)
        with tune.checkpoint_dir() as path:
            pathlib.Path(path, "step").write_text(str(step))
            tune.report({"step": step}, checkpoint=tune.Checkpoint.from_directory(path))

tune.Tuner(
    train,
    param_space={"marker": sys.argv[2], "asks": sys.argv[3] == "asks"},
    run_config=tune.RunConfig(name="preempted", storage_path=sys.argv[1], verbose=0, resume="auto"),
).fit()
"""


@pytest.mark.parametrize(("does", "grace_s", "went_on_from"), [("asks", "600", 2), ("does not ask", "0.5", 1)])
def test_a_trial_may_save_before_it_goes_and_has_not_failed(
    tmp_path: Path, does: str, grace_s: str, went_on_from: int
) -> None:
    marker = tmp_path / "in the long step"
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), str(marker), does]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "TUNE_FORCE_TRIAL_CLEANUP_S": grace_s,
    }
    with subprocess.Popen(command, cwd=ROOT, env=environment) as driver:
        wait_until(lambda: marker.exists() or driver.poll() is not None)
        others = family(driver)
        driver.terminate()
        assert driver.wait(timeout=120) == 143
        assert_gone(others)
    (trial,) = read_experiment(tmp_path / "preempted").trials.values()
    assert [row.iteration for row in trial.rows()] == list(range(1, went_on_from + 1))
    assert (trial.failures, trial.error) == (0, None)
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=120)
    assert not list(tmp_path.glob("preempted/*/error.txt"))
    (trial,) = read_experiment(tmp_path / "preempted").trials.values()
    assert trial.status.value == "TERMINATED"
    assert [attempt.iteration for attempt in trial.attempts] == [0, went_on_from]
    assert [row.metrics["step"] for row in trial.rows()] == [1, 2, 3]
    assert trial.failures == 0
