"""Names of `ray.tune.schedulers`; see `perdure.compatibility`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.schedulers import create_scheduler
    from perdure.schedulers.async_hyperband import ASHAScheduler, AsyncHyperBandScheduler
    from perdure.schedulers.base import TrialScheduler
    from perdure.schedulers.fifo import FIFOScheduler
    from perdure.schedulers.hb_bohb import HyperBandForBOHB
    from perdure.schedulers.hyperband import HyperBandScheduler
    from perdure.schedulers.median_stopping_rule import MedianStoppingRule
    from perdure.schedulers.pbt import PopulationBasedTraining
    from perdure.schedulers.pbt_replay import PopulationBasedTrainingReplay
    from perdure.schedulers.promotion_asha import PromotionASHAScheduler
    from perdure.schedulers.resource_changing import ResourceChangingScheduler
    from perdure.tune.schedulers import (
        pb2,
        resource_changing_scheduler,
        trial_scheduler,
    )
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = [
    "ASHAScheduler",
    "AsyncHyperBandScheduler",
    "FIFOScheduler",
    "HyperBandForBOHB",
    "HyperBandScheduler",
    "MedianStoppingRule",
    "PopulationBasedTraining",
    "PopulationBasedTrainingReplay",
    "PromotionASHAScheduler",
    "ResourceChangingScheduler",
    "TrialScheduler",
    "create_scheduler",
]
