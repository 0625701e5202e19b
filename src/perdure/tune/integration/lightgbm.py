"""Names of `ray.tune.integration.lightgbm`; see `perdure.compatibility`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.integrations.lightgbm import TuneReportCallback, TuneReportCheckpointCallback
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = ["TuneReportCallback", "TuneReportCheckpointCallback"]
