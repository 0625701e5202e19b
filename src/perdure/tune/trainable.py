"""Names of `ray.tune.trainable`; see `perdure.compatibility`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.trainable.base import Trainable
    from perdure.trainable.wrappers import with_parameters
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = ["Trainable", "with_parameters"]
