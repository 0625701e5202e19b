"""Names of `ray.tune.experiment`; see `perdure.compatibility`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.experiments import Experiment
    from perdure.trial_view import TrialView as Trial
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = ["Experiment", "Trial"]
