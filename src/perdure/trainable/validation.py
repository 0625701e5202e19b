"""Whether a Trainable class goes on from what it saved, tried without a tuner."""

from __future__ import annotations

import tempfile
from typing import Any

from perdure.errors import TrainableError
from perdure.trainable.base import Trainable

_STEPS = 3


def validate_save_restore(
    trainable_cls: type[Trainable], config: dict[str, Any] | None = None, num_gpus: int = 0
) -> bool:
    """Train, save, restore into a new object and train on; return True if that worked.

    Args:
        trainable_cls: A class derived from Trainable.
        config: What it is made with.
        num_gpus: Accepted for scripts that come from Ray Tune: it is all done in this process.

    Raises:
        TrainableError: it is no such class, or the restored object is not where the saved one was.
        Exception: whatever its own methods raise.
    """
    del num_gpus
    if not (isinstance(trainable_cls, type) and issubclass(trainable_cls, Trainable)):
        raise TrainableError(f"validate_save_restore() takes a class derived from Trainable, not {trainable_cls!r}.")
    first, second = trainable_cls(dict(config or {})), trainable_cls(dict(config or {}))
    try:
        with tempfile.TemporaryDirectory() as directory:
            for _ in range(_STEPS):
                first.train()
            second.restore(first.save(directory))
            _check_iteration(second, _STEPS)
            second.train()
            _check_iteration(second, _STEPS + 1)
    finally:
        first.stop()
        second.stop()
    return True


def _check_iteration(trainable: Trainable, expected: int) -> None:
    if trainable.training_iteration != expected:
        raise TrainableError(
            f"A restored {type(trainable).__name__} is at iteration {trainable.training_iteration}, not {expected}, "
            "where the saved one was. Nothing but perdure counts iterations: does it override train or restore?"
        )
