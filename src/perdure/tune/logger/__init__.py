"""Names of `ray.tune.logger`; see `perdure.compatibility`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.loggers.base import LoggerCallback
    from perdure.loggers.csv import CSVLoggerCallback
    from perdure.loggers.json import JsonLoggerCallback
    from perdure.loggers.tensorboard import TBXLoggerCallback
    from perdure.tune.logger import (
        aim,
        comet,
        mlflow,
        wandb,
    )
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = ["CSVLoggerCallback", "JsonLoggerCallback", "LoggerCallback", "TBXLoggerCallback"]
