"""Names of `ray.air.integrations.mlflow`; see `perdure.compatibility`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.loggers.mlflow import MLflowLoggerCallback, setup_mlflow
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = ["MLflowLoggerCallback", "setup_mlflow"]
