"""Names of `ray.tune.utils`; see `perdure.compatibility`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.trainable.validation import validate_save_restore
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = ["validate_save_restore"]
