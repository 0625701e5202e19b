"""Names of `ray.tune.search.bohb`; see `perdure.compatibility`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.searchers.bohb import TuneBOHB
    from perdure.searchers.bohb import TuneBOHB as BOHB  # noqa: N814 - a class with two names
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = ["BOHB", "TuneBOHB"]
