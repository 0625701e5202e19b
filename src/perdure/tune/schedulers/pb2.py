"""Names of `ray.tune.schedulers.pb2`; see `perdure.compatibility`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.schedulers.pb2 import PB2
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = ["PB2"]
