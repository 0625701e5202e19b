"""Names of `ray.tune.search.sample`; see `perdure.compatibility`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.search_space import Categorical, Domain, Float, Integer
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = ["Categorical", "Domain", "Float", "Integer"]
