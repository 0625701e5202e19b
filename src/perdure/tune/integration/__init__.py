"""Names of `ray.tune.integration`; see `perdure.compatibility`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.tune.integration import (
        keras,
        lightgbm,
        pytorch_lightning,
        ray_train,
        xgboost,
    )
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__: list[str] = []
