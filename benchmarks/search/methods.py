"""How it is searched: searchers one trial at a time, schedulers several at once. The same code for both engines."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any

from problems import Problem


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to search. `make(engine, problem, seed)` returns arguments of TuneConfig."""

    name: str
    problems: tuple[str, ...]
    samples: int
    make: Callable[[str, Problem, int], dict[str, Any]]
    slots: int = 1
    library: str = ""
    """The module that both engines need for it."""


def _part(engine: str, path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(f"{engine}.tune.{module}"), name)


def searcher(path: str, **arguments: Any) -> Callable[[str, Problem, int], dict[str, Any]]:
    def make(engine: str, problem: Problem, seed: int) -> dict[str, Any]:
        named = {key: (seed if value is SEED else value) for key, value in arguments.items()}
        return {"search_alg": _part(engine, path)(**named)}

    return make


def scheduler(path: str, **arguments: Any) -> Callable[[str, Problem, int], dict[str, Any]]:
    return lambda engine, problem, seed: {"scheduler": _part(engine, path)(**arguments)}


def population(path: str) -> Callable[[str, Problem, int], dict[str, Any]]:
    def make(engine: str, problem: Problem, seed: int) -> dict[str, Any]:
        tune = importlib.import_module(f"{engine}.tune")
        assert problem.mutations is not None
        arguments = {"perturbation_interval": 4, "hyperparam_mutations": problem.mutations(tune)}
        return {"scheduler": _part(engine, path)(time_attr="training_iteration", **arguments)}

    return make


def random_search(engine: str, problem: Problem, seed: int) -> dict[str, Any]:
    return {}


SEED = object()
FUNCTIONS = ("branin", "hartmann6", "rosenbrock", "digits")
STEPS = {"time_attr": "training_iteration"}
METHODS = {
    method.name: method
    for method in (
        Method("random", FUNCTIONS, 40, random_search),
        Method("optuna", FUNCTIONS, 40, searcher("search.optuna.OptunaSearch", seed=SEED), library="optuna"),
        Method(
            "hyperopt", FUNCTIONS, 40,
            searcher("search.hyperopt.HyperOptSearch", random_state_seed=SEED), library="hyperopt",
        ),
        Method(
            "bayesopt", ("branin", "hartmann6", "rosenbrock"), 40,
            searcher("search.bayesopt.BayesOptSearch", random_state=SEED), library="bayes_opt",
        ),
        Method("random at once", ("digits",), 64, random_search, slots=4),
        Method(
            "asha", ("digits",), 64,
            scheduler("schedulers.AsyncHyperBandScheduler", max_t=27, reduction_factor=3, **STEPS), slots=4,
        ),
        Method(
            "hyperband", ("digits",), 64,
            scheduler("schedulers.HyperBandScheduler", max_t=27, reduction_factor=3, **STEPS), slots=4,
        ),
        Method(
            "median", ("digits",), 64,
            scheduler("schedulers.MedianStoppingRule", grace_period=3, min_samples_required=3, **STEPS), slots=4,
        ),
        Method("random population", ("descent",), 32, random_search, slots=4),
        Method("pbt", ("descent",), 8, population("schedulers.PopulationBasedTraining"), slots=4),
    )
}
