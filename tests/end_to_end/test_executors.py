"""Where trials run: in this very process to debug them, in processes of their own, and nothing left of these."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from perdure import tune
from perdure.errors import ConfigurationError
from perdure.executors.local import LocalExecutor
from tests.crash.harness import assert_gone
from tests.end_to_end.conftest import Start


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """Whatever process a test has started is gone once its experiment is over."""
    before = psutil.Process().children(recursive=True)
    yield
    assert_gone([child for child in psutil.Process().children(recursive=True) if child not in before])


def tells_where(config: dict[str, Any]) -> None:
    tune.report({"process": os.getpid(), "main": threading.current_thread() is threading.main_thread()})


def breaks(config: dict[str, Any]) -> None:
    tune.report({"step": 1})
    inner_of_the_user()


def inner_of_the_user() -> None:
    raise ZeroDivisionError("the user's own")


# --- inline -----------------------------------------------------------------------------------------------------------


def test_inline_runs_here_one_after_the_other(tuner: Start) -> None:
    grid = tuner(tells_where, num_samples=3, executor="inline").fit()
    assert [result.metrics["process"] for result in grid] == [os.getpid()] * 3
    assert all(result.metrics["main"] for result in grid)


def test_breakpoints_work_inline(tuner: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_in: list[tuple[str, bool]] = []

    def hook() -> None:
        frame = sys._getframe(1)
        stopped_in.append((frame.f_code.co_name, threading.current_thread() is threading.main_thread()))

    def stops(config: dict[str, Any]) -> None:
        breakpoint()  # noqa: T100 - this is what is tested
        tune.report({"step": 1})

    monkeypatch.setattr(sys, "breakpointhook", hook)
    tuner(stops, executor="inline").fit()
    assert stopped_in == [("stops", True)]


@pytest.mark.parametrize("executor", ["inline", "local"])
def test_an_error_is_the_users_traceback(tuner: Start, executor: str) -> None:
    grid = tuner(breaks, executor=executor).fit()
    text = str(grid.errors[0])
    assert "inner_of_the_user()" in text
    assert "ZeroDivisionError: the user's own" in text
    assert "perdure/trainable" not in text
    assert "perdure/executors" not in text
    assert isinstance(grid.errors[0].__cause__, ZeroDivisionError)
    assert Path(grid[0].path, "error.txt").read_text().count("ZeroDivisionError") >= 1


def test_inline_leaves_this_process_as_it_was(tuner: Start) -> None:
    def changes(config: dict[str, Any]) -> None:
        os.environ["LEFT_BEHIND"] = "1"
        tune.report({"working_in": os.getcwd()})

    before = os.getcwd()
    grid = tuner(changes, executor="inline").fit()
    assert grid[0].metrics["working_in"] == grid[0].path
    assert os.getcwd() == before
    assert "LEFT_BEHIND" not in os.environ
    assert tune.get_context().get_trial_id() is None


def test_inline_stops_retries_and_saves_like_the_others(tuner: Start) -> None:
    class Counts(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.count = 0

        def step(self) -> dict[str, Any]:
            self.count += 1
            marker = Path(self.logdir, "failed")
            if self.count == 3 and not marker.exists():
                marker.touch()
                raise RuntimeError("once")
            return {"count": self.count}

        def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
            return {"count": self.count}

        def load_checkpoint(self, checkpoint: Any) -> None:
            self.count = checkpoint["count"]

    grid = tuner(
        Counts,
        executor="inline",
        stop={"training_iteration": 5},
        failure_config=tune.FailureConfig(max_failures=1),
        checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
    ).fit()
    assert list(grid[0].metrics_dataframe["count"]) == [1, 2, 3, 4, 5]


# --- processes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start_method", ["template", "spawn"])
def test_each_trial_has_a_process_of_its_own(tuner: Start, start_method: Any) -> None:
    executor = LocalExecutor(cpus=2, start_method=start_method)
    grid = tuner(tells_where, num_samples=3, executor=executor).fit()
    assert len({result.metrics["process"] for result in grid} | {os.getpid()}) == 4
    assert all(result.metrics["main"] for result in grid)


def test_an_executor_runs_one_experiment_at_a_time_and_any_number_in_turn(tuner: Start, storage: Path) -> None:
    executor = LocalExecutor(cpus=2)

    class StartsAnother(tune.Callback):
        def on_trial_result(self, **info: Any) -> None:
            with pytest.raises(ConfigurationError, match="running an experiment already"):
                tuner(tells_where, name="other", executor=executor).fit()

    grid = tuner(tells_where, callbacks=[StartsAnother()], executor=executor).fit()
    assert grid.num_terminated == 1
    assert not (storage / "other").exists()
    assert tuner(tells_where, name="other", executor=executor).fit().num_terminated == 1


def test_reused_processes_run_one_trial_after_another(tuner: Start) -> None:
    grid = tuner(tells_where, num_samples=6, reuse_actors=True, executor=LocalExecutor(cpus=2)).fit()
    assert len({result.metrics["process"] for result in grid}) <= 2


def starts_others(config: dict[str, Any]) -> None:
    """Leave a grandchild in the trial's process group, as a data loader would."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    tune.report({"child": child.pid})
    if config["dies"]:
        os.kill(os.getpid(), 9)
    time.sleep(config["sleeps"])


@pytest.mark.parametrize("dies", [True, False])
def test_what_a_trial_started_goes_with_it(tuner: Start, dies: bool) -> None:
    grid = tuner(starts_others, {"dies": dies, "sleeps": 0}).fit()
    assert grid.num_errors == int(dies)
    pid = grid[0].metrics["child"]
    with contextlib.suppress(psutil.NoSuchProcess):
        assert_gone([psutil.Process(pid)])
    if dies:
        assert "SIGKILL" in str(grid.errors[0])


@pytest.mark.parametrize(("code", "named"), [("os._exit(3)", "3"), ("os.abort()", "SIGABRT"), ("sys.exit(4)", "4")])
def test_a_death_is_named(tuner: Start, code: str, named: str) -> None:
    def dies(config: dict[str, Any]) -> None:
        tune.report({"step": 1})
        exec(config["code"], {"os": os, "sys": sys})

    grid = tuner(dies, {"code": code}).fit()
    assert grid.num_errors == 1
    assert named in str(grid.errors[0])


SPAWNED = """
import multiprocessing, sys
from perdure import tune

class Model:
    rate = 2

def train(config):
    tune.report({"rate": config["model"]().rate * config["x"]})

def start(storage):
    space = {"x": tune.grid_search([1, 2]), "model": Model}
    results = tune.Tuner(train, param_space=space, run_config=tune.RunConfig(storage_path=storage, verbose=0)).fit()
    print(sorted(result.metrics["rate"] for result in results))

if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=start, args=(sys.argv[1],))
    child.start()
    child.join()
"""


def test_a_script_may_start_an_experiment_in_a_process_that_it_spawns(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SPAWNED)
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=100)
    assert done.stdout == "[2, 4]\n", done.stderr


def test_a_module_that_cannot_be_loaded_there_is_an_error_that_says_so(tuner: Start) -> None:
    class Explodes:
        def __reduce__(self) -> Any:
            return (_explode, ())

    thing = Explodes()

    def uses(config: dict[str, Any]) -> None:
        tune.report({"thing": str(thing)})

    grid = tuner(uses).fit()
    assert grid.num_errors == 1
    assert "cannot be made here" in str(grid.errors[0])


def _explode() -> None:
    raise RuntimeError("cannot be made here")
