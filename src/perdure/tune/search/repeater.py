"""Names of `ray.tune.search.repeater`; see `perdure.compatibility`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.searchers.repeater import TRIAL_INDEX, Repeater
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = ["TRIAL_INDEX", "Repeater"]
