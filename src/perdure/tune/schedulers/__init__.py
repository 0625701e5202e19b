"""Names of `ray.tune.schedulers`; see `perdure.compatibility`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.schedulers import create_scheduler
    from perdure.schedulers.base import TrialScheduler
    from perdure.schedulers.fifo import FIFOScheduler
    from perdure.tune.schedulers import (
        pb2,
        resource_changing_scheduler,
        trial_scheduler,
    )
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = ["FIFOScheduler", "TrialScheduler", "create_scheduler"]
