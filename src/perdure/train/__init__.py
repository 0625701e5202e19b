"""The names of Ray Train that tuning scripts use: `from perdure import train`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.checkpoint import Checkpoint
    from perdure.config import CheckpointConfig, FailureConfig, RunConfig, SyncConfig
    from perdure.result import Result
    from perdure.trainable.session import (
        TuneContext as TrainContext,
    )
    from perdure.trainable.session import (
        checkpoint_dir,
        get_checkpoint,
        get_context,
        report,
        should_stop,
    )
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = [
    "Checkpoint",
    "CheckpointConfig",
    "FailureConfig",
    "Result",
    "RunConfig",
    "SyncConfig",
    "TrainContext",
    "checkpoint_dir",
    "get_checkpoint",
    "get_context",
    "report",
    "should_stop",
]
