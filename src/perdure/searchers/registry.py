"""Searchers by name."""

from __future__ import annotations

from typing import Any

from perdure.errors import ConfigurationError
from perdure.searchers.base import Searcher
from perdure.searchers.basic_variant import BasicVariantGenerator

NAMES = ("variant_generator", "random")
PLANNED = ("ax", "hyperopt", "bayesopt", "bohb", "nevergrad", "optuna", "zoopt", "hebo")


def create_searcher(search_alg: str, **kwargs: Any) -> Searcher | BasicVariantGenerator:
    """Return the searcher of this name, made with `kwargs`: what `TuneConfig(search_alg="random")` does.

    Raises:
        ConfigurationError: there is no searcher of this name.
    """
    name = str(search_alg).lower()
    if name in NAMES:
        return BasicVariantGenerator(**kwargs)
    known = ", ".join(NAMES)
    if name in PLANNED:
        raise ConfigurationError(
            f"The searcher {search_alg!r} is not in this version of perdure. There are: {known}. To use the library "
            "itself, subclass perdure.tune.search.Searcher: `suggest` and `on_trial_complete` are enough."
        )
    raise ConfigurationError(f"There is no searcher {search_alg!r}. There are: {known}.")
