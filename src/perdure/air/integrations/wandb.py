"""Names of `ray.air.integrations.wandb`; see `perdure.compatibility`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.loggers.wandb import WandbLoggerCallback, setup_wandb
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = ["WandbLoggerCallback", "setup_wandb"]
