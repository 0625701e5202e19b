"""What an experiment is asked for, as data: the same where the same is asked for, and else not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perdure import tune
from perdure.changes import changed_parts, differences, listed
from perdure.definition import define
from perdure.schedulers.base import TrialScheduler, configure
from perdure.schedulers.promotion_asha import PromotionASHAScheduler
from perdure.trainable.registry import register_trainable
from tests.schedulers.population import Population


def train(config: dict[str, Any]) -> None:
    tune.report({"x": 1})


class Linear:
    """No data, and its repr has an address in it."""


class Patient(tune.Stopper):
    """A user's own: keeps one argument, and when it was made."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.made_at = time.time()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return False


def describe(**given: Any) -> Any:
    tune_fields = {name: given.pop(name) for name in list(given) if name in tune.TuneConfig.__dataclass_fields__}
    space = given.pop("space", {})
    run = tune.RunConfig(name="e", storage_path="/nowhere", **given)
    return define(train, space, tune.TuneConfig(**tune_fields), run).description


def everything(most: float = 1.0, max_t: int = 9, rows: int = 3) -> Any:
    """Make everything anew, as a script does that is run again."""
    return describe(
        space={
            "lr": tune.loguniform(1e-4, most),
            "layers": [tune.choice([Linear(), len, 1.5]), 2],
            "model": {"units": tune.grid_search([8, 16]), "how": tune.sample_from(lambda spec: spec.config.lr)},
            "data": Linear(),
            "many": list(range(5000)),
        },
        scheduler=tune.schedulers.ASHAScheduler(max_t=max_t, grace_period=1),
        search_alg=tune.search.BasicVariantGenerator(max_concurrent=4),
        metric="x",
        mode="max",
        stop=[Patient(rows), tune.stopper.MaximumIterationStopper(7)],
        failure_config=tune.FailureConfig(max_failures=2),
    )


def test_what_is_made_anew_in_the_same_way_is_the_same() -> None:
    assert differences(everything(), everything()) == ()


def test_what_differs_is_named_part_by_part() -> None:
    found = differences(everything(), everything(most=0.5, max_t=81, rows=4))
    assert changed_parts(found) == {"param_space", "scheduler", "stop"}
    assert any(change.what == "param_space/lr" for change in found)
    told = listed(found)
    assert "param_space/lr from <Float (0.0001, 1.0), LogUniform()> to <Float (0.0001, 0.5), LogUniform()>" in told
    assert "scheduler/AsyncHyperBandScheduler/max_t from 9 to 81" in told


def test_a_long_constant_is_described_in_short_and_still_compared() -> None:
    first, second = (describe(space={"data": [*range(3000), last]}) for last in (0, 1))
    assert len(str(first["constants"])) < 400
    assert changed_parts(differences(first, second)) == {"constants"}


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_a_large_dictionary_is_described_in_short_too() -> None:
    described = describe(space={"table": {str(number): number for number in range(5000)}, "x": Unspeakable()})
    assert len(str(described["constants"])) < 400
    assert described["constants"]["x"] == "<Unspeakable>"


def test_a_set_is_the_same_in_every_process() -> None:
    script = """
from perdure import tune
from tests.test_changes import describe
print(describe(space={"s": tune.choice([{"a", "b", "c"}]), "f": frozenset("xyz")}))
"""
    shown = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[1],
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert shown[0] == shown[1]


def test_a_plugin_that_was_used_is_described_as_before() -> None:
    stopper = tune.stopper.TimeoutStopper(60)
    scheduler = tune.schedulers.HyperBandScheduler(max_t=9)
    first = describe(stop=stopper, scheduler=scheduler)
    stopper.stop_all()
    stopper.stop_all()
    configure(scheduler, "x", "max")
    assert describe(stop=stopper, scheduler=scheduler) == first


USED: dict[str, tuple[Callable[[], TrialScheduler], str]] = {
    "asha": (lambda: tune.schedulers.ASHAScheduler(metric="m", mode="max", max_t=9, reduction_factor=3), "abc"),
    "asha that warned": (lambda: tune.schedulers.ASHAScheduler("epoch", metric="m", mode="max", max_t=9), "abc"),
    "median": (lambda: tune.schedulers.MedianStoppingRule(metric="m", mode="max", grace_period=0), "abc"),
    "hyperband": (lambda: tune.schedulers.HyperBandScheduler(metric="m", mode="max", max_t=9), "abcdef"),
    "bohb": (lambda: tune.schedulers.HyperBandForBOHB(metric="m", mode="max", max_t=9), "abcdef"),
    "promotion": (lambda: PromotionASHAScheduler(metric="m", mode="max", max_t=9), "abc"),
    "pbt": (
        lambda: tune.schedulers.PopulationBasedTraining(
            "training_iteration", "m", "max", 1, hyperparam_mutations={"lr": [1.0, 2.0]}
        ),
        "abcd",
    ),
    "pb2": (
        lambda: tune.schedulers.pb2.PB2("training_iteration", "m", "max", 1, hyperparam_bounds={"lr": [0, 9]}),
        "abcd",
    ),
}


@pytest.mark.parametrize("name", USED)
def test_a_scheduler_that_has_judged_rows_is_described_as_before(name: str) -> None:
    make, trials = USED[name]
    scheduler = make()
    first = describe(scheduler=scheduler)
    experiment = Population(scheduler, *({"lr": float(number)} for number in range(len(trials))))
    remembered = scheduler.get_state()
    for iteration in (1, 2, 3):
        for number in range(len(trials)):
            experiment.report(number, iteration, None, m=float(number), time_total_s=float(iteration))
    assert scheduler.get_state() != remembered or "warned" in name
    assert differences(first, describe(scheduler=scheduler)) == ()
    assert differences(first, describe(scheduler=make())) == ()


STOPPERS: dict[str, Callable[[int], tune.Stopper]] = {
    "iterations": tune.stopper.MaximumIterationStopper,
    "trial plateau": lambda rows: tune.stopper.TrialPlateauStopper("m", num_results=rows),
    "experiment plateau": lambda rows: tune.stopper.ExperimentPlateauStopper("m", top=rows),
    "timeout": tune.stopper.TimeoutStopper,
    "combined": lambda rows: tune.stopper.CombinedStopper(
        tune.stopper.NoopStopper(), tune.stopper.MaximumIterationStopper(rows)
    ),
}


@pytest.mark.parametrize("name", STOPPERS)
def test_a_stop_rule_is_described_by_what_it_was_made_with_alone(name: str) -> None:
    make = STOPPERS[name]
    stopper = make(5)
    first = describe(stop=stopper)
    for value in (1.0, 2.0):
        stopper("t", {"m": value})
        stopper.stop_all()
    assert differences(first, describe(stop=stopper)) == ()
    assert differences(first, describe(stop=make(9))) != ()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e-300, True, None, b"bytes", {"a": ()}, {"a", "b"}])
def test_any_constant_can_be_described(value: object) -> None:
    assert describe(space={"value": value}) == describe(space={"value": value})


def test_nobody_knows_what_was_asked_for_before_there_were_such_records() -> None:
    assert differences({}, describe()) == ()


def test_resources_are_those_of_the_trainable() -> None:
    register_trainable("two-cpus", tune.with_resources(lambda config: None, {"cpu": 2}))
    run = tune.RunConfig(name="e", storage_path="/nowhere")
    described = define("two-cpus", None, tune.TuneConfig(), run).description
    assert described["resources"] == {"CPU": 2.0}
    assert described["trainable"] == "two-cpus"


class Renamed(tune.Stopper):
    """A user's own, which keeps its argument under a name of its own."""

    def __init__(self, limit: int) -> None:
        self._n_max = limit
        self.shown = 0

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self.shown += 1
        return self.shown >= self._n_max

    def stop_all(self) -> bool:
        return False


def test_what_a_users_plugin_was_made_with_is_told_whatever_it_calls_it() -> None:
    (change,) = differences(describe(stop=Renamed(2)), describe(stop=Renamed(6)))
    assert (change.what, change.before, change.after) == ("stop/Renamed/n_max", 2, 6)


def test_a_users_plugin_that_was_used_is_described_as_it_was_made() -> None:
    stopper = Renamed(2)
    before = describe(stop=stopper)
    stopper("a", {})
    assert differences(before, describe(stop=stopper)) == ()


def test_of_other_grids_alone_it_is_told_that_they_are_others() -> None:
    told = listed(differences({"grids": [["a", [1]]]}, {"grids": [["a", [1, 2]]]}))
    assert told == 'grids from [["a", [1]]] to [["a", [1, 2]]]'
