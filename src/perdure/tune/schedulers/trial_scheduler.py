"""Names of `ray.tune.schedulers.trial_scheduler`; see `perdure.compatibility`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.schedulers.base import TrialScheduler
    from perdure.schedulers.fifo import FIFOScheduler
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = ["FIFOScheduler", "TrialScheduler"]
