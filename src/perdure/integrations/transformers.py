"""Hugging Face Transformers: a callback for its Trainer.

    trainer = Trainer(..., callbacks=[TuneReportCheckpointCallback()])
    trainer.train(resume_from_checkpoint=resume_path())

The Trainer's own checkpoints are what perdure keeps, so a resumed training is the Trainer's.
"""

from __future__ import annotations

import os
from typing import Any

from transformers import TrainerCallback

from perdure.integrations.reports import Metrics, choose, report_with_files
from perdure.storage.copying import copy_tree
from perdure.trainable.session import get_checkpoint, report

DIRECTORY = "checkpoint"


class TuneReportCheckpointCallback(TrainerCallback):  # type: ignore[misc]
    """Reports what the Trainer logs, and each of its checkpoints (weights, optimizer, scheduler, generators, state).

    A row is reported when the Trainer saves, with the newest of all that it has logged; an evaluation at which it does
    not save is reported without a checkpoint. perdure keeps a copy: `TrainingArguments(save_total_limit=1)` will do.

    Args:
        metrics: Which to report, for example "eval_loss"; None reports all.
    """

    def __init__(self, metrics: str | list[str] | dict[str, str] | None = None) -> None:
        self._metrics: Metrics = metrics

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report an evaluation, unless a checkpoint comes next."""
        if not control.should_save:
            report(choose(self._metrics, _logged(state)))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report a checkpoint."""
        source = os.path.join(args.output_dir, f"checkpoint-{state.global_step}")

        def write(path: str) -> None:
            target = os.path.join(path, DIRECTORY)
            os.mkdir(target)
            copy_tree(source, target)

        report_with_files(choose(self._metrics, _logged(state)), write)


def resume_path() -> str | None:
    """Return what to pass to `Trainer.train(resume_from_checkpoint=...)`: the trial's latest checkpoint, or None."""
    checkpoint = get_checkpoint()
    return None if checkpoint is None else os.path.join(checkpoint.path, DIRECTORY)


def _logged(state: Any) -> dict[str, Any]:
    """Return the newest value of each metric that the Trainer has logged."""
    newest: dict[str, Any] = {}
    for entry in state.log_history:
        newest.update(entry)
    return newest
