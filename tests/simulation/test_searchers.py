"""A searcher hears of every row and every end once, in order, whatever goes wrong, and knows every trial."""

from __future__ import annotations

import random
from typing import Any

import pytest

from perdure.core.events import Decision, Reported
from perdure.searchers.base import Searcher
from perdure.searchers.driver import SearchDriver
from perdure.testing.simulation import World
from perdure.testing.simulation.run import SPACE
from perdure.testing.simulation.schedulers import FACTORS

SEEDS, CHUNK = 600, 100


class Listening(Searcher):
    """Draws by a seed of its own, saves nothing, and writes down what it is told."""

    def __init__(self) -> None:
        super().__init__(metric="value", mode="max")
        self.rng = random.Random(0)
        self.suggested: dict[str, dict[str, Any]] = {}
        self.rows: list[tuple[str, int, int]] = []
        self.ends: dict[str, bool] = {}

    def set_search_properties(self, metric: Any, mode: Any, config: Any, **spec: Any) -> bool:
        super().set_search_properties(metric, mode, config, **spec)
        return True

    def suggest(self, trial_id: str) -> dict[str, Any]:
        self.suggested[trial_id] = {"factor": self.rng.randrange(*FACTORS)}
        return dict(self.suggested[trial_id])

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        assert trial_id not in self.ends
        self.rows.append((trial_id, result["training_iteration"], result["value"]))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        assert trial_id not in self.ends
        self.ends[trial_id] = error


class Searched(World):
    """An experiment with a searcher, made anew for each session."""

    def make_search(self) -> SearchDriver:
        return SearchDriver(
            Listening(),
            param_space=SPACE,
            num_samples=self.workload.samples,
            metric="value",
            mode="max",
            seed=self.seed,
        )


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_the_last_sessions_searcher_knows_all_that_every_session_knew(first: int) -> None:
    restored = 0
    for seed in range(first, first + CHUNK):
        world = Searched(seed)
        world.run()
        if world.lost or world.runner is None:
            continue
        searcher = world.runner.judge.search.searcher
        assert isinstance(searcher, Listening)
        judged = [event for _, event in world.records() if isinstance(event, Reported) and event.judged]
        assert searcher.rows == [
            (event.trial, event.iteration, event.metrics["value"])
            for event in judged
            if event.decision is not Decision.STOP  # that is its end
        ], seed
        trials = world.history().trials
        assert searcher.ends == {trial.id: trial.status.value == "ERROR" for trial in trials.values()}, seed
        assert {name: searcher.suggested[name]["factor"] for name in trials} == {
            name: trial.attempts[0].config["factor"] if trial.attempts else trial.config["factor"]
            for name, trial in trials.items()
        }, seed
        restored += world.sessions > 0
    assert restored > CHUNK / 2
