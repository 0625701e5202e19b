"""Names of `ray.tune.search`; see `perdure.compatibility`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.search_space import grid_search as grid_search
    from perdure.searchers import create_searcher as create_searcher
    from perdure.searchers.base import Searcher as Searcher
    from perdure.searchers.basic_variant import BasicVariantGenerator as BasicVariantGenerator
    from perdure.searchers.concurrency import ConcurrencyLimiter as ConcurrencyLimiter
    from perdure.searchers.repeater import Repeater as Repeater
    from perdure.tune.search import (
        ax as ax,
        basic_variant as basic_variant,
        bayesopt as bayesopt,
        bohb as bohb,
        concurrency_limiter as concurrency_limiter,
        hebo as hebo,
        hyperopt as hyperopt,
        nevergrad as nevergrad,
        optuna as optuna,
        repeater as repeater,
        sample as sample,
        searcher as searcher,
        zoopt as zoopt,
    )
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = ["BasicVariantGenerator", "ConcurrencyLimiter", "Repeater", "Searcher", "create_searcher", "grid_search"]
