"""Whatever a searcher suggests, kills of the driver at any moment change none of it, nor what a scheduler decides."""

from __future__ import annotations

import random
from typing import Any

import pytest

from perdure.history import ExperimentHistory
from perdure.schedulers.async_hyperband import AsyncHyperBandScheduler
from perdure.search_space.functions import uniform
from perdure.searchers.base import Searcher
from perdure.searchers.concurrency import ConcurrencyLimiter
from perdure.searchers.registry import create_searcher
from perdure.searchers.repeater import Repeater
from perdure.testing.scheduling import run_scheduled, transcript

SPACE = {"x": uniform(0, 1), "y": uniform(0, 1)}
ASPECTS: dict[str, Any] = {"metric": "loss", "mode": "min"}


class Near(Searcher):
    """A user's own: draws near the best that it was told of, from a generator with a seed, and saves nothing."""

    def __init__(self) -> None:
        super().__init__(**ASPECTS)
        self.rng = random.Random(3)
        self.tried: dict[str, dict[str, float]] = {}
        self.best = (float("inf"), {"x": 0.5, "y": 0.5})

    def set_search_properties(self, metric: Any, mode: Any, config: Any, **spec: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> dict[str, float]:
        point = {name: min(1.0, max(0.0, value + self.rng.gauss(0, 0.2))) for name, value in self.best[1].items()}
        self.tried[trial_id] = point
        return dict(point)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.best = min(self.best, (result["loss"], self.tried[trial_id]), key=lambda known: known[0])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if result is not None:
            self.on_trial_result(trial_id, result)


def library(name: str, **arguments: Any) -> Any:
    marks = [pytest.mark.library, pytest.mark.filterwarnings("default")]  # libraries warn of one another
    return pytest.param(lambda: create_searcher(name, **ASPECTS, **arguments), id=name, marks=marks)


SEARCHERS = [
    pytest.param(Near, id="a user's own"),
    pytest.param(lambda: ConcurrencyLimiter(Near(), max_concurrent=2), id="limited"),
    pytest.param(lambda: ConcurrencyLimiter(Near(), max_concurrent=2, batch=True), id="limited, in batches"),
    pytest.param(lambda: Repeater(Near(), repeat=2, set_index=False), id="repeated"),
    pytest.param(lambda: None, id="random"),
    library("optuna"),
    library("hyperopt", n_initial_points=5),
    library("bayesopt", random_search_steps=5),
    library("zoopt", budget=12),
]


def loss(config: Any, iteration: int, before: Any) -> Any:
    return {"loss": abs(config["x"] - 0.3) + abs(config["y"] - 0.6) + 1 / iteration}


def run(make: Any, seed: int, kills: Any = (), *, slots: int = 3) -> ExperimentHistory:
    return run_scheduled(
        lambda: AsyncHyperBandScheduler(**ASPECTS, max_t=4, reduction_factor=2),
        loss,
        samples=12,
        max_t=4,
        slots=slots,
        seed=seed,
        crash_after=kills,
        space=SPACE,
        make_searcher=make,
    )


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("make", SEARCHERS)
def test_kills_at_any_moment_change_nothing(make: Any, slots: int) -> None:
    undisturbed = transcript(run(make, 1, slots=slots))
    rng = random.Random(slots)
    for _ in range(6):
        kills = [rng.randint(1, 120) for _ in range(rng.randint(1, 5))]
        assert transcript(run(make, 1, kills, slots=slots)) == undisturbed, kills
