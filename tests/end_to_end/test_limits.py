"""What bounds an experiment: failures, time, stop rules, resources, and how many trials run at a time."""

from __future__ import annotations

import datetime as dt
import os
import random
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from perdure import tune
from perdure.errors import TrialFailedError, WorkerDiedError
from perdure.executors.local import LocalExecutor
from perdure.executors.triage import OutOfMemoryWatch
from perdure.history import read_experiment
from tests.end_to_end.conftest import Hurried, Overslept, Start


def fails_often(config: dict[str, Any]) -> None:
    """Fail so many times as the config says, then report."""
    tries = Path(tune.get_context().get_trial_dir(), "tries")
    with tries.open("a") as file:
        file.write("x")
    if len(tries.read_text()) <= config["times"]:
        raise ValueError(f"failure {len(tries.read_text())}")
    tune.report({"tries": len(tries.read_text())})


def tries_of(result: tune.Result) -> int:
    return len(Path(result.path, "tries").read_text())


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "max_failures", "errors", "tries"), [(1, 0, 1, 1), (2, 2, 0, 3), (3, 2, 1, 3), (4, -1, 0, 5)]
)
def test_a_trial_is_retried_so_often(tuner: Start, times: int, max_failures: int, errors: int, tries: int) -> None:
    grid = tuner(fails_often, {"times": times}, failure_config=tune.FailureConfig(max_failures=max_failures)).fit()
    assert grid.num_errors == errors
    assert tries_of(grid[0]) == tries


def first_fails(config: dict[str, Any]) -> None:
    if config["number"] == 0:
        tune.report({"step": 0})
        raise ValueError("the first one fails")
    for step in range(400):
        tune.report({"step": step})
        time.sleep(0.05)


SPACE = {"number": tune.grid_search([0, 1, 2, 3])}


def test_other_trials_go_on_after_a_failure(tuner: Start) -> None:
    grid = tuner(first_fails, SPACE, stop={"step": 2}).fit()
    assert (grid.num_errors, grid.num_terminated) == (1, 3)


def test_fail_fast_ends_the_experiment(tuner: Start, storage: Path) -> None:
    grid = tuner(first_fails, SPACE, failure_config=tune.FailureConfig(fail_fast=True)).fit()
    assert grid.num_errors == 1
    assert grid.num_terminated == 0
    assert "the first one fails" in str(grid.errors[0])
    statuses = {trial.status.value for trial in read_experiment(storage / "exp").trials.values()}
    assert statuses <= {"ERROR", "PENDING", "PAUSED"}


def test_fail_fast_may_raise_the_users_own_exception(tuner: Start) -> None:
    with pytest.raises(ValueError, match=r"^the first one fails$") as caught:
        tuner(first_fails, SPACE, failure_config=tune.FailureConfig(fail_fast="raise")).fit()
    assert isinstance(caught.value.__cause__, TrialFailedError)
    assert "in first_fails" in str(caught.value.__cause__)  # the trial's traceback


def test_fail_fast_raises_what_is_known_of_a_trial_that_raised_nothing(
    tuner: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OutOfMemoryWatch, "took_one", lambda self: False)  # somebody else's, if the kernel kills now

    def dies(config: dict[str, Any]) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def exits(config: dict[str, Any]) -> None:
        sys.exit(3)

    raising = tune.FailureConfig(fail_fast="raise")
    with pytest.raises(WorkerDiedError, match=r"^Trial dies_.* died of SIGKILL"):
        tuner(dies, failure_config=raising).fit()
    with pytest.raises(TrialFailedError, match="SystemExit: 3"):  # it must not end this program
        tuner(exits, failure_config=raising, name="exits").fit()


def test_a_silent_trial_is_killed_and_retried(tuner: Start, tmp_path: Path) -> None:
    marker = tmp_path / "hung"

    def hangs_once(config: dict[str, Any]) -> None:
        tune.report({"step": 1})
        if not marker.exists():
            marker.touch()
            time.sleep(300)
        tune.report({"step": 2})

    config = tune.FailureConfig(max_failures=1, report_timeout_s=1000)
    grid = tuner(hangs_once, failure_config=config, executor=Overslept(marker)).fit()
    assert grid.num_errors == 0
    assert grid[0].metrics["step"] == 2


def test_a_trial_that_stays_silent_is_an_error_that_says_so(tuner: Start, tmp_path: Path) -> None:
    marker = tmp_path / "hung"

    def hangs(config: dict[str, Any]) -> None:
        marker.touch()
        time.sleep(300)

    config = tune.FailureConfig(report_timeout_s=1000)
    grid = tuner(hangs, failure_config=config, executor=Overslept(marker)).fit()
    assert grid.num_errors == 1
    assert "report_timeout_s" in str(grid.errors[0])


def test_a_trial_has_so_much_time_in_all(tuner: Start) -> None:
    def goes_on(config: dict[str, Any]) -> None:
        step = 0
        while True:
            step += 1
            tune.report({"step": step})
            time.sleep(0.02)

    failures = tune.FailureConfig(max_trial_time_s=1000)
    grid = tuner(goes_on, failure_config=failures, executor=Hurried(trials=1, rows=3)).fit()
    assert grid.num_terminated == 1
    assert grid[0].metrics["step"] >= 3


# --- time -------------------------------------------------------------------------------------------------------------


def ticks(config: dict[str, Any]) -> None:
    for step in range(1, 1000):
        tune.report({"step": step})
        time.sleep(0.02)


@pytest.mark.parametrize("budget", [1000, dt.timedelta(seconds=1000)])
def test_a_time_budget_ends_the_experiment(tuner: Start, storage: Path, budget: Any) -> None:
    grid = tuner(ticks, num_samples=-1, time_budget_s=budget, executor=Hurried(trials=2)).fit()
    assert grid.num_errors == 0
    assert grid.num_terminated == len(grid) >= 2
    assert all(result.metrics["step"] < 999 for result in grid)
    again = tune.Tuner.restore(storage / "exp", ticks).fit()  # the budget is used up
    assert [len(result.metrics_dataframe) for result in again] == [len(result.metrics_dataframe) for result in grid]


def test_a_time_budget_counts_over_sessions(tuner: Start, storage: Path) -> None:
    def interrupts_itself(config: dict[str, Any]) -> None:
        session = Path(tune.get_context().get_storage().experiment_path, "sessions")
        with session.open("a") as file:
            file.write("x")
        if len(session.read_text()) == 1:
            time.sleep(1.2)
            raise ValueError("this session is over")
        ticks(config)

    grid = tuner(interrupts_itself, time_budget_s=600, failure_config=tune.FailureConfig(fail_fast=True)).fit()
    assert grid.num_errors == 1
    grid = tune.Tuner.restore(storage / "exp", interrupts_itself, resume_errored=True, time_budget_s=1.0).fit()
    assert grid.num_terminated == 1
    assert grid[0].metrics_dataframe.empty, "the session before had used it up"
    assert read_experiment(storage / "exp").state.ran_before_s >= 1.2


# --- stop rules -------------------------------------------------------------------------------------------------------


def quick_steps(config: dict[str, Any]) -> None:
    for step in range(1, 21):
        tune.report({"step": step, "score": step * config.get("slope", 1), "deep": {"er": step}})


class StopAllAtFive(tune.Stopper):
    def __init__(self) -> None:
        self.all = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self.all = self.all or result["step"] >= 5
        return self.all

    def stop_all(self) -> bool:
        return self.all


@pytest.mark.parametrize(
    ("stop", "last"),
    [
        ({"training_iteration": 3}, 3),
        ({"score": 4, "training_iteration": 9}, 4),
        ({"deep/er": 6}, 6),
        ({"deep": {"er": 6}}, 6),
        ({"unknown": 1}, 20),
        (lambda trial_id, result: result["score"] > 6, 7),
        (tune.stopper.MaximumIterationStopper(8), 8),
        ([tune.stopper.MaximumIterationStopper(8), tune.stopper.MaximumIterationStopper(2)], 2),
        (tune.stopper.CombinedStopper(tune.stopper.MaximumIterationStopper(5), StopAllAtFive()), 5),
    ],
)
def test_a_stop_rule_ends_trials(tuner: Start, stop: Any, last: int) -> None:
    grid = tuner(quick_steps, num_samples=2, max_concurrent_trials=1, stop=stop).fit()
    assert grid[0].metrics["step"] == last
    assert list(grid[0].metrics_dataframe["step"]) == list(range(1, last + 1))
    assert grid[0].metrics["done"] is True


def test_a_stopper_may_end_the_experiment(tuner: Start) -> None:
    grid = tuner(quick_steps, num_samples=4, max_concurrent_trials=1, stop=StopAllAtFive()).fit()
    assert grid[0].metrics["step"] == 5
    assert len(grid) == grid.num_terminated
    assert len(grid) <= 2
    assert all(not result.metrics for result in list(grid)[1:])


def test_cleaning_up_goes_before_the_end(tuner: Start) -> None:
    def with_cleanup(config: dict[str, Any]) -> None:
        try:
            quick_steps(config)
        finally:
            Path(tune.get_context().get_trial_dir(), "cleaned").touch()

    grid = tuner(with_cleanup, stop={"step": 2}).fit()
    assert Path(grid[0].path, "cleaned").exists()
    assert grid[0].metrics["step"] == 2


# --- resources --------------------------------------------------------------------------------------------------------


def overlaps(config: dict[str, Any]) -> None:
    """Report when it ran, from the one clock that all processes share, and what it was given."""
    began = time.monotonic()
    time.sleep(0.3)
    tune.report({"began": began, "ended": time.monotonic(), "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", "unset")})


def most_at_a_time(grid: Iterable[tune.Result]) -> int:
    spans = [(result.metrics["began"], result.metrics["ended"]) for result in grid]
    return max(sum(began <= at < ended for began, ended in spans) for at, _ in spans)


def needing(resources: Any) -> Any:
    def train_it(config: dict[str, Any]) -> None:
        overlaps(config)

    return tune.with_resources(train_it, resources)


def test_no_more_trials_run_at_a_time_than_was_said(tuner: Start) -> None:
    grid = tuner(overlaps, num_samples=4, max_concurrent_trials=2, executor=LocalExecutor(cpus=8)).fit()
    assert most_at_a_time(grid) <= 2


@pytest.mark.parametrize(
    ("resources", "most"),
    [
        ({"CPU": 2}, 1),
        ({"cpu": 0.5}, 4),
        (tune.PlacementGroupFactory([{"CPU": 1}, {"CPU": 1}]), 1),
        ({"CPU": 0.1, "licence": 1}, 3),
        ({"CPU": 0.1, "memory": 1 << 20}, 4),
        (lambda config: {"CPU": 2}, 1),
    ],
)
def test_trials_wait_for_their_resources(tuner: Start, resources: Any, most: int) -> None:
    executor = LocalExecutor(cpus=2, gpus=0, resources={"licence": 3})
    grid = tuner(needing(resources), num_samples=4, executor=executor).fit()
    assert grid.num_terminated == 4
    assert most_at_a_time(grid) <= most


def test_trials_of_different_needs_share_a_machine(tuner: Start) -> None:
    trainable = needing(lambda config: {"CPU": config["cpus"]})
    grid = tuner(trainable, {"cpus": tune.grid_search([2, 1, 1])}, executor=LocalExecutor(cpus=2, gpus=0)).fit()
    large, *small = grid
    assert all(one.metrics["began"] >= large.metrics["ended"] for one in small)


@pytest.mark.parametrize("start_method", ["template", "spawn"])
def test_each_trial_sees_its_own_gpus(tuner: Start, monkeypatch: pytest.MonkeyPatch, start_method: Any) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    executor = LocalExecutor(cpus=4, start_method=start_method)
    grid = tuner(needing({"CPU": 0.1, "GPU": 0.5}), num_samples=6, executor=executor).fit()
    seen = {result.metrics["gpus"] for result in grid}
    assert seen <= {"5", "7"}
    assert all(most_at_a_time([one for one in grid if one.metrics["gpus"] == gpu]) <= 2 for gpu in seen)
    both = tuner(needing({"CPU": 0.1, "GPU": 2}), name="both", executor=executor).fit()
    assert both[0].metrics["gpus"] == "5,7"
    none = tuner(needing({"CPU": 1}), name="none", executor=executor).fit()
    assert none[0].metrics["gpus"] == ""


def test_gpus_may_be_named_by_hand(tuner: Start) -> None:
    grid = tuner(needing({"GPU": 1}), num_samples=3, executor=LocalExecutor(cpus=4, gpus=3)).fit()
    assert sorted(result.metrics["gpus"] for result in grid) == ["0", "1", "2"] or most_at_a_time(grid) < 3


def test_a_restored_experiment_has_the_resources_it_had(tuner: Start, storage: Path) -> None:
    executor = LocalExecutor(cpus=3, gpus=0, resources={"licence": 1})

    def fails(config: dict[str, Any]) -> None:
        raise ValueError("once")

    def works(config: dict[str, Any]) -> None:
        tune.report({"resources": dict(tune.get_context().get_trial_resources())})

    works.__name__ = works.__qualname__ = "fails"
    tuner(tune.with_resources(fails, {"CPU": 3, "licence": 1}), executor=executor).fit()
    works = tune.with_resources(works, {"CPU": 3, "licence": 1})
    grid = tune.Tuner.restore(storage / "exp", works, restart_errored=True).fit()
    assert grid[0].metrics["resources"] == {"CPU": 3, "licence": 1}


# --- what is searched -------------------------------------------------------------------------------------------------


NESTED = {
    "model": {"layers": tune.grid_search([1, 2]), "units": tune.choice([8, 16, 32]), "name": "mlp"},
    "lr": tune.loguniform(1e-4, 1e-1),
    "steps": [tune.randint(0, 10), {"deep": tune.uniform(0, 1)}],
    "half": tune.sample_from(lambda spec: spec.config.lr / 2),
    "constant": (1, "two", None),
}


def echo(config: dict[str, Any]) -> None:
    tune.report({"layers": config["model"]["layers"], "half_is_right": config["half"] == config["lr"] / 2})


def test_nested_spaces_are_searched(tuner: Start) -> None:
    grid = tuner(echo, NESTED, num_samples=3).fit()
    assert len(grid) == 6
    assert sorted(result.metrics["layers"] for result in grid) == [1, 1, 1, 2, 2, 2]
    assert all(result.metrics["half_is_right"] for result in grid)
    for result in grid:
        assert 1e-4 <= result.config["lr"] <= 1e-1
        assert result.config["model"]["units"] in (8, 16, 32)
        assert result.config["model"]["name"] == "mlp"
        assert 0 <= result.config["steps"][0] < 10
        assert result.config["constant"] == (1, "two", None)
    assert len({result.config["lr"] for result in grid}) == 6


def test_a_seed_makes_it_the_same_again(tuner: Start) -> None:
    def configs(name: str, seed: int | None) -> list[Any]:
        return [result.config for result in tuner(echo, NESTED, num_samples=2, seed=seed, name=name).fit()]

    first = configs("first", 7)
    assert configs("second", 7) == first
    assert configs("third", 8) != first
    assert configs("fourth", None) != configs("fifth", None)


def test_a_seed_reaches_the_random_numbers_of_trials(tuner: Start) -> None:
    np = pytest.importorskip("numpy")

    def draws(config: dict[str, Any]) -> None:
        tune.report({"a": random.random(), "b": float(np.random.rand())})

    def drawn(name: str) -> list[tuple[float, float]]:
        grid = tuner(draws, num_samples=2, seed=3, name=name).fit()
        return [(result.metrics["a"], result.metrics["b"]) for result in grid]

    first = drawn("first")
    assert drawn("second") == first
    assert first[0] != first[1]
