"""The names of Ray Train that tuning scripts use: `from perdure import train`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.checkpoint import Checkpoint as Checkpoint
    from perdure.config import (
        CheckpointConfig as CheckpointConfig,
        FailureConfig as FailureConfig,
        RunConfig as RunConfig,
        SyncConfig as SyncConfig,
    )
    from perdure.result import Result as Result
    from perdure.trainable.session import (
        TuneContext as TrainContext,
        checkpoint_dir as checkpoint_dir,
        get_checkpoint as get_checkpoint,
        get_context as get_context,
        report as report,
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
]
