"""Keras 3: callbacks for `Model.fit`, under Ray Tune's names. They work with each of Keras's backends.

    checkpoint = tune.get_checkpoint()
    model, epoch = load(checkpoint) if checkpoint else (build(config), 0)
    model.fit(x, y, initial_epoch=epoch, epochs=10, callbacks=[TuneReportCheckpointCallback()])

A checkpoint holds the compiled model with its optimizer, and how many epochs it was trained for.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

try:
    import keras
except ModuleNotFoundError as error:
    if error.name == "keras":
        raise
    raise ImportError(
        f"Keras is installed, but its backend {error.name} is not: install it, or set KERAS_BACKEND to one that is "
        "(tensorflow, jax, torch), before anything imports Keras.",
        name=error.name,
    ) from error

from perdure.checkpoint import Checkpoint
from perdure.errors import ConfigurationError
from perdure.integrations.reports import Metrics, choose, read_progress, report_with_files, write_progress
from perdure.trainable.session import report

FILENAME = "model.keras"

_WHEN = [
    f"{what}_{end}"
    for what in ("epoch", "train_batch", "test_batch", "predict_batch", "train", "test", "predict")
    for end in ("begin", "end")
]


class TuneReportCheckpointCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Reports Keras's logs, and saves the model with its optimizer.

    Args:
        checkpoint_on: When to save: Keras's hooks without their "on_". A row is reported with each checkpoint.
        report_metrics_on: When to report.
        metrics: Which to report; None reports all.

    Raises:
        ConfigurationError: there is no such hook.
    """

    def __init__(
        self,
        checkpoint_on: str | list[str] = "epoch_end",
        report_metrics_on: str | list[str] = "epoch_end",
        metrics: str | list[str] | dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._checkpoint_on = [checkpoint_on] if isinstance(checkpoint_on, str) else list(checkpoint_on)
        report_on = [report_metrics_on] if isinstance(report_metrics_on, str) else list(report_metrics_on)
        self._metrics: Metrics = metrics
        self._epochs = 0
        for when in dict.fromkeys((*self._checkpoint_on, *report_on)):
            if when not in _WHEN:
                raise ConfigurationError(f"Keras has no hook {when!r}; it has {', '.join(_WHEN)}.")
            setattr(self, f"on_{when}", partial(self._at_hook, when))

    @classmethod
    def get_model(cls, checkpoint: Checkpoint) -> Any:
        """Return the compiled model in a checkpoint."""
        return load(checkpoint)[0]

    def _at_hook(self, when: str, *args: Any, logs: dict[str, Any] | None = None) -> None:
        if when == "epoch_end":
            self._epochs = args[0] + 1
        if logs is None and args and isinstance(args[-1], dict):
            logs = args[-1]
        row = choose(self._metrics, logs or {})
        if when in self._checkpoint_on:
            report_with_files(row, self._write)
        else:
            report(row)

    def _write(self, path: str) -> None:
        self.model.save(os.path.join(path, FILENAME))
        write_progress(path, {"epochs": self._epochs})

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Count the epochs, where nothing else was asked for at this hook."""
        self._epochs = epoch + 1


class TuneReportCallback(TuneReportCheckpointCallback):
    """Reports Keras's logs, without checkpoints. See `TuneReportCheckpointCallback`."""

    def __init__(
        self,
        metrics: str | list[str] | dict[str, str] | None = None,
        on: str | list[str] = "epoch_end",
    ) -> None:
        super().__init__([], on, metrics)


class ReportCheckpointCallback(TuneReportCheckpointCallback):
    """The same under the name it has in `ray.air.integrations.keras`."""


def load(checkpoint: Checkpoint) -> tuple[Any, int]:
    """Return the compiled model in a checkpoint, and how many epochs it was trained for (`initial_epoch` of `fit`)."""
    with checkpoint.as_directory() as path:
        return keras.models.load_model(os.path.join(path, FILENAME)), read_progress(path)["epochs"]
