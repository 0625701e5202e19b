"""How population-based training varies a configuration: neighbours of lists, factors of numbers, and new draws.

All draws come from a generator that the caller keys, so that the same exploration can be had again. A user's function
draws from `random` or NumPy, which are seeded for the call.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Union

from perdure.errors import ConfigurationError, PluginError
from perdure.search_space.domains import Domain, Function, is_grid
from perdure.search_space.randomness import seeded_globals

Mutation = Union[Mapping[str, Any], "list[Any]", "tuple[Any, ...]", Domain, Callable[[], Any]]
"""What one hyperparameter may become: values in an order, a distribution, or a dict of these."""
Mutations = Mapping[str, Mutation]
Custom = Callable[[dict[str, Any]], dict[str, Any]]


def check_mutations(mutations: Mapping[str, Any], place: str = "hyperparam_mutations") -> None:
    """Refuse what is no mutation.

    Raises:
        ConfigurationError: names the place of what it is.
    """
    for key, mutation in mutations.items():
        where = f"{place}[{key!r}]"
        if isinstance(mutation, Function):
            raise ConfigurationError(
                f"{where}: a sample_from function depends on a configuration, and cannot vary one. Use uniform, "
                "loguniform, randint, a list of values or a function without arguments."
            )
        if is_grid(mutation):
            raise ConfigurationError(
                f"{where}: grid_search names what is to be tried, and nothing varies by it. Give the list of values."
            )
        if isinstance(mutation, Mapping):
            check_mutations(mutation, where)
        elif isinstance(mutation, (list, tuple)):
            if not mutation:
                raise ConfigurationError(f"{where}: the list has no values.")
        elif not isinstance(mutation, Domain) and not callable(mutation):
            raise ConfigurationError(
                f"{where}={mutation!r}: expected a list or tuple of values, a search space such as uniform(0, 1), a "
                "function without arguments, or a dict of these."
            )


def explore(
    config: Mapping[str, Any],
    mutations: Mutations,
    *,
    resample_probability: float,
    factors: Sequence[float],
    rng: random.Random,
    custom: Custom | None = None,
) -> dict[str, Any]:
    """Return a variation of `config`, which is left as it is.

    With `resample_probability` a value is drawn anew. Otherwise one of a list moves to a neighbour (and stays at
    either end), a number is multiplied by one of `factors`, an integer rounded; what is neither is drawn anew.

    Args:
        custom: Is given the variation, and returns what it is to be in the end.

    Raises:
        PluginError: `custom` returned no configuration.
    """
    varied = _vary(config, mutations, resample_probability, factors, rng)
    return varied if custom is None else customized(custom, varied, rng)


def customized(custom: Custom, config: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Return what the user's function makes of a configuration.

    Raises:
        PluginError: it returned no configuration.
    """
    with seeded_globals(rng.getrandbits(63)):
        made: object = custom(config)
    if not isinstance(made, dict):
        raise PluginError(
            f"custom_explore_fn returned {made!r}; it must return the configuration that the trial goes on with."
        )
    return made


def complete(config: Mapping[str, Any], mutations: Mutations, rng: random.Random) -> dict[str, Any]:
    """Return `config` with a draw for each hyperparameter of `mutations` that it lacks."""
    completed = dict(config)
    for key, mutation in mutations.items():
        if key not in config:
            completed[key] = _drawn(mutation, rng)
        elif isinstance(mutation, Mapping) and isinstance(config[key], Mapping):
            completed[key] = complete(config[key], mutation, rng)
    return completed


def _vary(
    config: Mapping[str, Any],
    mutations: Mutations,
    resample_probability: float,
    factors: Sequence[float],
    rng: random.Random,
) -> dict[str, Any]:
    varied = {key: copy.deepcopy(value) if key in mutations else value for key, value in config.items()}
    for key, mutation in mutations.items():
        if key not in config:
            varied[key] = _drawn(mutation, rng)
            continue
        value = config[key]
        if isinstance(mutation, Mapping):
            inner = value if isinstance(value, Mapping) else {}
            varied[key] = _vary(inner, mutation, resample_probability, factors, rng)
        elif rng.random() < resample_probability:
            varied[key] = _alike(_drawn(mutation, rng), value)
        elif isinstance(mutation, (list, tuple)):
            varied[key] = _neighbour(mutation, value, rng)
        elif isinstance(value, (int, float)):
            varied[key] = _alike(value * rng.choice(factors), value)
        else:
            varied[key] = _drawn(mutation, rng)
    return varied


def _neighbour(values: Sequence[Any], value: Any, rng: random.Random) -> Any:
    if value not in values:
        return rng.choice(values)
    index = values.index(value) + rng.choice((-1, 1))
    return values[min(max(index, 0), len(values) - 1)]


def _drawn(mutation: Mutation, rng: random.Random) -> Any:
    if isinstance(mutation, Mapping):
        return {key: _drawn(inner, rng) for key, inner in mutation.items()}
    if isinstance(mutation, (list, tuple)):
        return rng.choice(mutation)
    if isinstance(mutation, Domain):
        return mutation.draw(rng)
    with seeded_globals(rng.getrandbits(63)):
        return mutation()


def _alike(value: Any, like: Any) -> Any:
    """Return `value` as of the kind of what it replaces: a switch stays one, a whole number stays whole."""
    if isinstance(like, bool):
        return bool(value)
    if isinstance(like, int) and isinstance(value, (int, float)):
        return round(value)
    return value
