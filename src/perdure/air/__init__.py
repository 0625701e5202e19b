"""Names of `ray.air`; see `perdure.compatibility`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.air import integrations
    from perdure.config import CheckpointConfig, FailureConfig, RunConfig
    from perdure.result import Result
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = ["CheckpointConfig", "FailureConfig", "Result", "RunConfig"]
