"""What the callbacks for training libraries share: which metrics to report, and a checkpoint with them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Union

from perdure.checkpoint import Checkpoint
from perdure.errors import MetricError
from perdure.trainable.session import checkpoint_dir, report

Metrics = Union[str, Sequence[str], Mapping[str, str], None]
"""One name, several, or {name to report: the library's name}; None is all there are."""

PROGRESS_FILE = "progress.json"


def names_of(wanted: Metrics) -> dict[str, str] | None:
    """Return {name to report: the library's name}; None is all there are."""
    if not wanted:
        return None
    if isinstance(wanted, str):
        return {wanted: wanted}
    return dict(wanted) if isinstance(wanted, Mapping) else {name: name for name in wanted}


def choose(wanted: Metrics, available: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics to report.

    Raises:
        MetricError: one of them is not among the available ones.
    """
    names = names_of(wanted)
    if names is None:
        return dict(available)
    missing = [name for name in names.values() if name not in available]
    if missing:
        raise MetricError(
            f"There is no metric {', '.join(map(repr, missing))}; the library gives {', '.join(sorted(available))}. "
            "Nothing was reported; name one of these in the callback's `metrics`."
        )
    return {name: available[theirs] for name, theirs in names.items()}


def report_with_files(metrics: Mapping[str, Any], write: Callable[[str], object]) -> None:
    """Report a row with a checkpoint of the files that `write` puts into the directory it is given."""
    with checkpoint_dir() as path:
        write(path)
        report(metrics, checkpoint=Checkpoint(path))


def write_progress(directory: str, progress: Mapping[str, Any]) -> None:
    """Write down how far the training has come, as JSON."""
    with open(os.path.join(directory, PROGRESS_FILE), "w", encoding="utf-8") as file:
        json.dump(dict(progress), file)


def read_progress(directory: str) -> dict[str, Any]:
    """Return what `write_progress` wrote."""
    with open(os.path.join(directory, PROGRESS_FILE), encoding="utf-8") as file:
        progress = json.load(file)
    assert isinstance(progress, dict)  # it was written from one
    return progress
