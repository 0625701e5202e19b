"""Whatever a stop rule ends, kills at any moment change none of it."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest

from perdure.core.events import Data, Decider, Reported
from perdure.schedulers.fifo import FIFOScheduler
from perdure.stoppers.base import Stopper
from perdure.stoppers.combined import CombinedStopper
from perdure.stoppers.experiment_plateau import ExperimentPlateauStopper
from perdure.stoppers.function import FunctionStopper
from perdure.stoppers.maximum_iteration import MaximumIterationStopper
from perdure.stoppers.thresholds import DictStopper
from perdure.stoppers.timeout import TimeoutStopper
from perdure.stoppers.trial_plateau import TrialPlateauStopper
from perdure.testing.scheduling import Laboratory, transcript

SAMPLES, MAX_T = 9, 8


class Greedy(Stopper):
    """A user's own: ends a trial that is worse than half of all rows so far, and after 40 rows the experiment."""

    def __init__(self) -> None:
        self.scores: list[float] = []

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self.scores.append(result["score"])
        return sum(score > result["score"] for score in self.scores) > len(self.scores) / 2 > 3

    def stop_all(self) -> bool:
        return len(self.scores) >= 40


MAKERS = {
    "thresholds": lambda: DictStopper({"training_iteration": 6, "score": 0.7}),
    "function": lambda: FunctionStopper(lambda trial_id, result: result["score"] > 0.5),
    "iterations": lambda: MaximumIterationStopper(5),
    "trial plateau": lambda: TrialPlateauStopper("score", std=0.02, num_results=3, grace_period=3),
    "trial plateau, good ones": lambda: TrialPlateauStopper(
        "score", std=0.05, num_results=2, grace_period=2, metric_threshold=0.3, mode="max"
    ),
    "experiment plateau": lambda: ExperimentPlateauStopper("score", std=0.02, top=4, mode="max", patience=1),
    "timeout": lambda: TimeoutStopper(3600),
    "combined": lambda: CombinedStopper(
        MaximumIterationStopper(6), ExperimentPlateauStopper("score", std=0.01, top=3, mode="max", patience=2)
    ),
    "a user's own": Greedy,
}
ENDS_NOTHING = {"timeout"}


def curve(config: Data, iteration: int, before: Data | None) -> Data:
    x = config["x"]
    assert isinstance(x, float)
    return {"score": x * (1 - math.exp(-iteration))}


def run(name: str, seed: int, kills: Sequence[int] = (), *, slots: int = 3) -> Laboratory:
    """Return an experiment that has ended."""
    laboratory = Laboratory(
        FIFOScheduler,
        curve,
        samples=SAMPLES,
        max_t=MAX_T,
        slots=slots,
        seed=seed,
        crash_after=kills,
        make_stopper=MAKERS[name],
    )
    laboratory.run()
    return laboratory


def rows_of(laboratory: Laboratory) -> list[Reported]:
    return [event for _, event in laboratory.records() if isinstance(event, Reported)]


def told(name: str, laboratory: Laboratory) -> list[Any]:
    """Return what happened, but for the rows that were under way when the rule ended the experiment.

    A driver that died before they came has nobody go on for their sake.
    """
    rule, in_time = MAKERS[name](), set()
    for row in rows_of(laboratory):
        if not rule.stop_all():
            rule(row.trial, {**row.metrics, "training_iteration": row.iteration})
            in_time.add((row.trial, row.iteration))
    return [
        (trial, *others, [row for row in rows if (trial, row[1]) in in_time])
        for trial, *others, rows in transcript(laboratory.history())
    ]


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("name", MAKERS)
def test_kills_at_any_moment_change_nothing(name: str, slots: int) -> None:
    for seed in range(3):
        undisturbed, rng = told(name, run(name, seed, slots=slots)), random.Random(f"{name} {seed}")
        for _ in range(4):
            kills = [rng.randint(1, 200) for _ in range(rng.randint(1, 5))]
            assert told(name, run(name, seed, kills, slots=slots)) == undisturbed, (seed, kills)


@pytest.mark.parametrize("name", MAKERS)
def test_the_rule_does_end_something(name: str) -> None:
    ended = any(row.stopped_by in (Decider.STOPPER, Decider.EXPERIMENT) for row in rows_of(run(name, 0)))
    assert ended == (name not in ENDS_NOTHING)
