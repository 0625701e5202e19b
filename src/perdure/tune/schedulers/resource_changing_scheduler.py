"""Names of `ray.tune.schedulers.resource_changing_scheduler`; see `perdure.compatibility`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.schedulers.allocation import DistributeResources, DistributeResourcesToTopJob
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = ["DistributeResources", "DistributeResourcesToTopJob"]
