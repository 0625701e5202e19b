"""PyTorch Lightning: callbacks for its Trainer, under Ray Tune's names.

    trainer = Trainer(callbacks=[TuneReportCheckpointCallback({"loss": "val_loss"})], enable_checkpointing=False)
    trainer.fit(model, ckpt_path=resume_path())

Lightning's own checkpoints are what perdure keeps, so a resumed training is Lightning's.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from perdure.errors import ConfigurationError
from perdure.integrations.reports import Metrics, names_of, report_with_files
from perdure.trainable.session import get_checkpoint, report

try:
    from lightning.pytorch import Callback
except ModuleNotFoundError:  # the package under its older name
    from pytorch_lightning import Callback

FILENAME = "checkpoint"

_log = logging.getLogger(__name__)


class TuneCallback(Callback):  # type: ignore[misc]
    """Base of callbacks that act at hooks chosen by name.

    Args:
        on: Lightning's hooks without their "on_", for example "validation_end" or ["train_epoch_end"].

    Raises:
        ConfigurationError: there is no such hook.
    """

    def __init__(self, on: str | list[str] = "validation_end") -> None:
        for hook in [on] if isinstance(on, str) else on:
            name = f"on_{hook}"
            if not callable(getattr(Callback, name, None)):
                hooks = sorted(each.removeprefix("on_") for each in dir(Callback) if each.startswith("on_"))
                raise ConfigurationError(f"Lightning has no hook {hook!r}; it has {', '.join(hooks)}.")
            setattr(self, name, self._at_hook)

    def _at_hook(self, trainer: Any, pl_module: Any = None, *args: Any, **kwargs: Any) -> None:
        if not trainer.sanity_checking:
            self._handle(trainer, pl_module)

    def _handle(self, trainer: Any, pl_module: Any) -> None:
        """Act."""
        raise NotImplementedError


class TuneReportCheckpointCallback(TuneCallback):
    """Reports Lightning's metrics, with a checkpoint of its Trainer: model, optimizers, loops, callbacks.

    Args:
        metrics: Which to report; None reports all in `trainer.callback_metrics`. One that is not there is left out,
            with a warning; with none left nothing is reported.
        filename: Of Lightning's checkpoint, within the checkpoint's directory.
        save_checkpoints: False reports only.
        on: When; see `TuneCallback`.
    """

    def __init__(
        self,
        metrics: str | list[str] | dict[str, str] | None = None,
        filename: str = FILENAME,
        save_checkpoints: bool = True,
        on: str | list[str] = "validation_end",
    ) -> None:
        super().__init__(on)
        self._metrics: Metrics = metrics
        self._filename = filename
        self._save_checkpoints = save_checkpoints

    def _handle(self, trainer: Any, pl_module: Any) -> None:
        there = {name: value.item() for name, value in trainer.callback_metrics.items()}
        names = names_of(self._metrics) or {name: name for name in there}
        for name in names.values():
            if name not in there:
                _log.warning("Lightning has no metric %r at this time; it has %s.", name, ", ".join(there) or "none")
        row = {name: there[theirs] for name, theirs in names.items() if theirs in there}
        if not row:
            return
        if self._save_checkpoints:
            report_with_files(row, lambda path: trainer.save_checkpoint(os.path.join(path, self._filename)))
        else:
            report(row)


class TuneReportCallback(TuneReportCheckpointCallback):
    """Reports Lightning's metrics, without checkpoints. See `TuneReportCheckpointCallback`."""

    def __init__(
        self, metrics: str | list[str] | dict[str, str] | None = None, on: str | list[str] = "validation_end"
    ) -> None:
        super().__init__(metrics, save_checkpoints=False, on=on)


def resume_path(filename: str = FILENAME) -> str | None:
    """Return what to pass to `Trainer.fit(..., ckpt_path=...)`: the trial's latest checkpoint, or None."""
    checkpoint = get_checkpoint()
    return None if checkpoint is None else os.path.join(checkpoint.path, filename)
