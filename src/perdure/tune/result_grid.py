"""Names of `ray.tune.result_grid`; see `perdure.compatibility`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.result_grid import ResultGrid
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = ["ResultGrid"]
