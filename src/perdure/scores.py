"""The numbers by which rows and trials are compared."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping
from typing import Any

from perdure.core.events import Reported
from perdure.core.state import Status
from perdure.history import ExperimentHistory, TrialHistory
from perdure.journal.values import dict_from_data
from perdure.rows import flatten, leaf

SCOPES = ("last", "all", "avg", "last-5-avg", "last-10-avg")
"""Which of a trial's rows `get_best_result` compares: its last, its best, or an average."""


def number_at(metrics: Mapping[str, Any], name: str) -> float | None:
    """Return the number under `name` (nested ones with "/"); None if there is none."""
    value = leaf(metrics, name)
    return float(value) if isinstance(value, (int, float)) else None


def better(value: float, than: float, mode: str) -> bool:
    """Whether `value` beats `than`; nothing beats by being NaN, and everything beats NaN."""
    if math.isnan(than):
        return not math.isnan(value)
    return value > than if mode == "max" else value < than


def score_of(values: array[float], mode: str, scope: str) -> float:
    """Return the one number that stands for a trial's values, in order, under `scope`."""
    if scope == "all":
        numbers = [value for value in values if not math.isnan(value)]
        if not numbers:
            return math.nan
        return max(numbers) if mode == "max" else min(numbers)
    chosen = values if scope == "avg" else values[-5:] if scope == "last-5-avg" else values[-10:]
    return sum(chosen) / len(chosen)


_FILLED_IN: dict[str, Callable[[TrialHistory, Reported], float]] = {
    "training_iteration": lambda _, row: row.iteration,
    "time_total_s": lambda _, row: row.time_total_s,
    "time_this_iter_s": lambda _, row: row.time_this_iter_s,
    "time_since_restore": lambda _, row: row.time_since_restore_s,
    "timestamp": lambda _, row: int(row.at),
    "iterations_since_restore": lambda trial, row: row.iteration - trial.attempt_of(row).iteration,
}


def value_in(trial: TrialHistory, row: Reported, metric: str) -> float | None:
    """Return the number a row has under `metric`, without making the whole row; None if there is none."""
    filled_in = _FILLED_IN.get(metric)
    if filled_in is not None:
        return float(filled_in(trial, row))
    value = row.metrics.get(metric)
    if type(value) is float or type(value) is int:
        return float(value)
    return number_at(dict_from_data(row.metrics), metric)


def reported_names(history: ExperimentHistory) -> list[str]:
    """Return the names of the metrics in the trials' last rows, those of nested ones joined by "/", sorted."""
    names: dict[str, None] = {}
    for trial in history.trials.values():
        row = trial.last_row()
        if row is not None:
            names.update(dict.fromkeys(flatten(dict_from_data(row.metrics))))
    return sorted(names)


def reported_sentence(history: ExperimentHistory) -> str:
    """Return what a message about a metric that is missing says of those there are; of failed trials, if of none."""
    names = reported_names(history)
    if names:
        return f"Reported: {', '.join(names)}."
    trials = history.trials.values()
    failed = sum(trial.status is Status.ERROR for trial in trials)
    how = "" if not failed else "; all failed" if failed == len(trials) else f"; {failed} of {len(trials)} failed"
    return f"No trial has reported anything{how}."
