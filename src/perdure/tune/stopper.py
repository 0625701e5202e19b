"""Names of `ray.tune.stopper`; see `perdure.compatibility`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.stoppers.base import Stopper
    from perdure.stoppers.combined import CombinedStopper
    from perdure.stoppers.experiment_plateau import ExperimentPlateauStopper
    from perdure.stoppers.function import FunctionStopper
    from perdure.stoppers.maximum_iteration import MaximumIterationStopper
    from perdure.stoppers.noop import NoopStopper
    from perdure.stoppers.timeout import TimeoutStopper
    from perdure.stoppers.trial_plateau import TrialPlateauStopper
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = [
    "CombinedStopper",
    "ExperimentPlateauStopper",
    "FunctionStopper",
    "MaximumIterationStopper",
    "NoopStopper",
    "Stopper",
    "TimeoutStopper",
    "TrialPlateauStopper",
]
