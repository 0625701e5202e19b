"""Searchers by name."""

from __future__ import annotations

import importlib
from typing import Any

from perdure.errors import ConfigurationError
from perdure.searchers.base import Searcher
from perdure.searchers.basic_variant import BasicVariantGenerator

SEARCHERS = {
    "variant_generator": "perdure.searchers.basic_variant:BasicVariantGenerator",
    "random": "perdure.searchers.basic_variant:BasicVariantGenerator",
    "ax": "perdure.searchers.ax:AxSearch",
    "bayesopt": "perdure.searchers.bayesopt:BayesOptSearch",
    "bohb": "perdure.searchers.bohb:TuneBOHB",
    "hebo": "perdure.searchers.hebo:HEBOSearch",
    "hyperopt": "perdure.searchers.hyperopt:HyperOptSearch",
    "nevergrad": "perdure.searchers.nevergrad:NevergradSearch",
    "optuna": "perdure.searchers.optuna:OptunaSearch",
    "zoopt": "perdure.searchers.zoopt:ZOOptSearch",
}
"""Where each is; a library is imported when its searcher is asked."""


def create_searcher(search_alg: str, **kwargs: Any) -> Searcher | BasicVariantGenerator:
    """Return the searcher of this name, made with `kwargs`: what `TuneConfig(search_alg="random")` does.

    Raises:
        ConfigurationError: there is no searcher of this name.
        ModuleNotFoundError: its library is not installed; the message says how to get it.
    """
    name = str(search_alg).lower()
    if name in SEARCHERS:
        module, _, searcher = SEARCHERS[name].partition(":")
        return getattr(importlib.import_module(module), searcher)(**kwargs)  # type: ignore[no-any-return]
    known = ", ".join(SEARCHERS)
    raise ConfigurationError(f"There is no searcher {search_alg!r}. There are: {known}.")
