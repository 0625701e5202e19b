"""Names of `ray.tune.stopper`; see `perdure.compatibility`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.stoppers.base import Stopper as Stopper
    from perdure.stoppers.combined import CombinedStopper as CombinedStopper
    from perdure.stoppers.experiment_plateau import ExperimentPlateauStopper as ExperimentPlateauStopper
    from perdure.stoppers.function import FunctionStopper as FunctionStopper
    from perdure.stoppers.maximum_iteration import MaximumIterationStopper as MaximumIterationStopper
    from perdure.stoppers.noop import NoopStopper as NoopStopper
    from perdure.stoppers.timeout import TimeoutStopper as TimeoutStopper
    from perdure.stoppers.trial_plateau import TrialPlateauStopper as TrialPlateauStopper
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
