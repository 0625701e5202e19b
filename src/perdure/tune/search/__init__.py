"""Names of `ray.tune.search`; see `perdure.compatibility`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.search_space import grid_search
    from perdure.searchers import create_searcher
    from perdure.searchers.base import Searcher
    from perdure.searchers.basic_variant import BasicVariantGenerator
    from perdure.searchers.concurrency import ConcurrencyLimiter
    from perdure.searchers.repeater import Repeater
    from perdure.tune.search import (
        ax,
        basic_variant,
        bayesopt,
        bohb,
        concurrency_limiter,
        hebo,
        hyperopt,
        nevergrad,
        optuna,
        repeater,
        sample,
        searcher,
        zoopt,
    )
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = ["BasicVariantGenerator", "ConcurrencyLimiter", "Repeater", "Searcher", "create_searcher", "grid_search"]
