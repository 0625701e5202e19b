"""Names of `ray.tune.logger`; see `perdure.compatibility`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.loggers.base import LoggerCallback as LoggerCallback
    from perdure.loggers.csv import CSVLoggerCallback as CSVLoggerCallback
    from perdure.loggers.json import JsonLoggerCallback as JsonLoggerCallback
    from perdure.loggers.tensorboard import TBXLoggerCallback as TBXLoggerCallback
    from perdure.tune.logger import (
        aim as aim,
        comet as comet,
        mlflow as mlflow,
        wandb as wandb,
    )
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = ["CSVLoggerCallback", "JsonLoggerCallback", "LoggerCallback", "TBXLoggerCallback"]
