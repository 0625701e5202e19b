"""Hugging Face Accelerate: an Accelerator's state in a checkpoint.

    done = resume(accelerator).get("epochs", 0)
    for epoch in range(done, epochs):
        ...
        report(accelerator, {"loss": loss}, epochs=epoch + 1)

A checkpoint is what `Accelerator.save_state` writes, and the progress as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from perdure.integrations.reports import read_progress, report_with_files, write_progress
from perdure.trainable.session import get_checkpoint

if TYPE_CHECKING:
    from accelerate import Accelerator


def report(accelerator: Accelerator, metrics: Mapping[str, Any], **progress: Any) -> None:
    """Report a row with a checkpoint of all that the Accelerator has prepared, and of the random number generators.

    Args:
        accelerator: Its `save_state` writes the checkpoint.
        metrics: The row.
        **progress: JSON data that `resume` gives back.
    """

    def write(path: str) -> None:
        accelerator.save_state(path)
        write_progress(path, progress)

    report_with_files(metrics, write)


def resume(accelerator: Accelerator) -> dict[str, Any]:
    """Load the trial's latest checkpoint into what the Accelerator has prepared, and return its `progress`.

    Call it after `accelerator.prepare(...)`. With nothing to load it returns an empty dict.
    """
    checkpoint = get_checkpoint()
    if checkpoint is None:
        return {}
    accelerator.load_state(checkpoint.path)
    return read_progress(checkpoint.path)
