"""What people see of an experiment, without what may differ from run to run, so that two runs can be compared."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from perdure.history import ExperimentHistory, TrialHistory
from perdure.storage.layout import DIGESTS, MANIFEST

MAY_DIFFER = {
    "timestamp",
    "date",
    "time_this_iter_s",
    "time_total_s",
    "time_since_restore",
    "iterations_since_restore",
    "pid",
    "hostname",
    "node_ip",
    "trial_id",
}
"""Columns that say when, where and by which process; and the trial's id, which begins with a mark of the experiment."""


def results_of(history: ExperimentHistory) -> dict[tuple[int, str], Any]:
    """Return by (trial's number, what) how each trial ended, its rows in journal and files, its checkpoints."""
    return {
        (trial.number, what): value
        for trial in history.trials.values()
        for what, value in _trial(history, trial).items()
    }


def scalars_of(directory: Path) -> dict[str, list[tuple[int, float]]]:
    """Return by its name (step, value) of each number that TensorBoard itself shows, in its order."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(directory), size_guidance={"scalars": 0})
    accumulator.Reload()
    shown = {name: accumulator.Scalars(name) for name in accumulator.Tags()["scalars"] if name not in MAY_DIFFER}
    return {name: [(event.step, event.value) for event in events] for name, events in shown.items()}


def _trial(history: ExperimentHistory, trial: TrialHistory) -> dict[str, Any]:
    directory = Path(history.path, trial.directory)
    return {
        "end": (trial.status.value, trial.error if trial.status.value == "ERROR" else None),
        "config": trial.config,
        "journal": [
            (row.iteration, row.segment, row.metrics, row.checkpoint and row.checkpoint.directory, row.decision.value)
            for row in trial.rows()
        ],
        "result.json": [_steady(json.loads(line)) for line in _text(directory / "result.json").splitlines()],
        "progress.csv": [_steady(row) for row in csv.DictReader(_text(directory / "progress.csv").splitlines())],
        "TensorBoard": scalars_of(directory),
        "params.json": _text(directory / "params.json"),
        "checkpoints": {path.name: _files(path) for path in sorted(directory.glob("checkpoint_*"))},
        "left over": [path.name for path in directory.iterdir() if path.name.startswith(".") or path.suffix == ".tmp"],
    }


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _steady(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in MAY_DIFFER}


def _files(checkpoint: Path) -> dict[str, bytes]:
    """Return the user's files in a checkpoint."""
    return {
        str(path.relative_to(checkpoint)): path.read_bytes()
        for path in sorted(checkpoint.rglob("*"))
        if path.is_file() and path.name not in (MANIFEST, DIGESTS)
    }
