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
    """The module that the engine needs for it, if it needs one."""
    engines: tuple[str, ...] = ("perdure", "ray")
    reports: int = 0
    """About how many epochs are run, if not all of every trial."""
    baseline: str = ""
    """The random search that spends epochs in the same way, to hold it against."""


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
        return {"scheduler": _part(engine, path)(**STEPS, **arguments)}

    return make


def bounded_population(engine: str, problem: Problem, seed: int) -> dict[str, Any]:
    return {
        "scheduler": _part(engine, "schedulers.pb2.PB2")(
            perturbation_interval=4, hyperparam_bounds=problem.bounds, **STEPS
        )
    }


def bohb(engine: str, problem: Problem, seed: int) -> dict[str, Any]:
    return {
        "search_alg": _part(engine, "search.bohb.TuneBOHB")(seed=seed),
        "scheduler": _part(engine, "schedulers.HyperBandForBOHB")(max_t=27, reduction_factor=3, **STEPS),
    }


def nevergrad(engine: str, problem: Problem, seed: int) -> dict[str, Any]:
    optimizer = importlib.import_module("nevergrad").optimizers.OnePlusOne
    return {
        "search_alg": _part(engine, "search.nevergrad.NevergradSearch")(
            optimizer=optimizer, optimizer_kwargs={"budget": METHODS["nevergrad"].samples}
        )
    }


def zoopt(engine: str, problem: Problem, seed: int) -> dict[str, Any]:
    importlib.import_module("zoopt.utils.zoo_global").gl.set_seed(seed)
    return {"search_alg": _part(engine, "search.zoopt.ZOOptSearch")(budget=METHODS["zoopt"].samples)}


def random_search(engine: str, problem: Problem, seed: int) -> dict[str, Any]:
    return {}


SEED = object()
FUNCTIONS = ("branin", "hartmann6", "rosenbrock", "digits, whole")
STEPS = {"time_attr": "training_iteration"}
DURABLE = ("perdure",)
ASHA = {"max_t": 27, "reduction_factor": 3, **STEPS}
METHODS = {
    method.name: method
    for method in (
        Method("random", FUNCTIONS, 30, random_search),
        Method("optuna", FUNCTIONS, 30, searcher("search.optuna.OptunaSearch", seed=SEED), library="optuna"),
        Method(
            "hyperopt",
            FUNCTIONS,
            30,
            searcher("search.hyperopt.HyperOptSearch", random_state_seed=SEED),
            library="hyperopt",
        ),
        Method(
            "bayesopt",
            ("branin", "hartmann6", "rosenbrock"),
            30,
            searcher("search.bayesopt.BayesOptSearch", random_state=SEED),
            library="bayes_opt",
        ),
        Method("ax", ("branin",), 15, searcher("search.ax.AxSearch", random_seed=SEED), library="ax"),
        Method("nevergrad", FUNCTIONS, 30, nevergrad, library="nevergrad"),
        Method("zoopt", ("branin", "hartmann6"), 30, zoopt, slots=4, library="zoopt"),
        Method("random at once", ("digits",), 24, random_search, slots=4, engines=DURABLE),
        Method(
            "asha",
            ("digits",),
            64,
            scheduler("schedulers.AsyncHyperBandScheduler", **ASHA),
            slots=4,
            baseline="random at once",
        ),
        Method(
            "promotion asha",
            ("digits",),
            64,
            scheduler("schedulers.PromotionASHAScheduler", **ASHA),
            slots=4,
            engines=DURABLE,
            baseline="random at once",
        ),
        Method(
            "hyperband",
            ("digits",),
            64,
            scheduler("schedulers.HyperBandScheduler", **ASHA),
            slots=4,
            baseline="random at once",
        ),
        Method("bohb", ("digits",), 64, bohb, slots=4, baseline="random at once"),
        Method(
            "median",
            ("digits",),
            64,
            scheduler("schedulers.MedianStoppingRule", grace_period=3, min_samples_required=3, **STEPS),
            slots=4,
            baseline="random at once",
        ),
        Method("random population", ("descent",), 12, random_search, slots=4, engines=DURABLE),
        Method(
            "pbt",
            ("descent",),
            8,
            population("schedulers.PopulationBasedTraining"),
            slots=4,
            baseline="random population",
        ),
        Method("pb2", ("descent",), 8, bounded_population, slots=4, baseline="random population"),
        # One trial at a time, what is reported does not depend on chance: for searches that are killed and restored.
        Method(
            "asha, one at a time",
            ("digits",),
            64,
            scheduler("schedulers.AsyncHyperBandScheduler", **ASHA),
            engines=DURABLE,
            reports=300,
        ),
        Method(
            "hyperband, one at a time",
            ("digits",),
            64,
            scheduler("schedulers.HyperBandScheduler", **ASHA),
            engines=DURABLE,
            reports=600,
        ),
        Method("bohb, one at a time", ("digits",), 64, bohb, engines=DURABLE, reports=400),
        Method(
            "pbt, one at a time",
            ("descent",),
            8,
            population("schedulers.PopulationBasedTraining"),
            engines=DURABLE,
            reports=300,
        ),
        Method("pb2, one at a time", ("descent",), 8, bounded_population, engines=DURABLE, reports=300),
    )
}
