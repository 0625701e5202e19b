"""What plots are made from: the history of an experiment, however it is named."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from array import array
from typing import Any, Protocol, Union

from perdure.config import check_mode
from perdure.errors import ConfigurationError, NoBestTrialError
from perdure.history import ExperimentHistory, TrialHistory, read_experiment
from perdure.rows import flatten
from perdure.scores import better, reported_sentence, value_in


class HasHistory(Protocol):
    """A `ResultGrid`, or an `ExperimentAnalysis`."""

    @property
    def history(self) -> ExperimentHistory: ...


Results = Union[HasHistory, ExperimentHistory, str, "os.PathLike[str]"]


def history_of(results: Results) -> ExperimentHistory:
    """Return the history of results, or of the experiment in a directory.

    Raises:
        ExperimentNotFoundError, JournalCorruptError: a path was given, and it cannot be read.
    """
    if isinstance(results, ExperimentHistory):
        return results
    if isinstance(results, (str, os.PathLike)):
        return read_experiment(results)
    return results.history


def objective(history: ExperimentHistory, metric: str | None, mode: str | None) -> tuple[str, str]:
    """Return the metric and mode to plot: those asked for, else TuneConfig's.

    Raises:
        ConfigurationError: neither says.
    """
    check_mode(mode)
    chosen = metric or history.metric
    if chosen is None:
        raise ConfigurationError('A plot needs a metric, and TuneConfig has none: pass metric="NAME".')
    return chosen, mode or history.mode or "max"


@dataclasses.dataclass(frozen=True, slots=True)
class Curve:
    """The values of one metric that one trial reported."""

    trial: TrialHistory
    x: array[float]
    y: array[float]

    @property
    def last(self) -> float:
        """The last value."""
        return self.y[-1]


_X = {"training_iteration": "training iteration", "time_total_s": "seconds of training", "timestamp": "time"}


def curves(history: ExperimentHistory, metric: str, x: str = "training_iteration") -> list[Curve]:
    """Return the curve of every trial that reported the metric, in the order they were created.

    Raises:
        NoBestTrialError: no trial did; the message names what was reported.
    """
    found: dict[str, Curve] = {}
    trials = history.trials
    for row in itertools.chain.from_iterable(history.all_rows()):
        trial = trials[row.trial]
        value = value_in(trial, row, metric)
        at = value_in(trial, row, x)
        if value is None or at is None:
            continue
        curve = found.get(row.trial)
        if curve is None:
            curve = found[row.trial] = Curve(trial, array("d"), array("d"))
        curve.x.append(at)
        curve.y.append(value)
    if not found:
        raise NoBestTrialError(
            f"There is nothing to plot: no trial of {history.path} reported a number {metric!r}. "
            f"{reported_sentence(history)}"
        )
    return [found[trial] for trial in trials if trial in found]


def label_of(x: str) -> str:
    """Return what an axis of this quantity is called."""
    return _X.get(x, x)


def ranked(found: list[Curve], mode: str) -> list[Curve]:
    """Return curves by their last values, the best first, those that are no number last."""
    sign = -1.0 if mode == "max" else 1.0
    return sorted(found, key=lambda curve: (not math.isfinite(curve.last), sign * curve.last))


def best_of(values: list[float], mode: str) -> list[float]:
    """Return, for each place, the best value up to it; NaN before the first number."""
    so_far: list[float] = []
    best = math.nan
    for value in values:
        if math.isfinite(value) and better(value, best, mode):
            best = value
        so_far.append(best)
    return so_far


def parameters(history: ExperimentHistory, chosen: list[Curve], names: list[str] | None) -> dict[str, list[Any]]:
    """Return the values of parameters by name, one for each curve's trial: of those asked for, else of the searched.

    What is the same in all trials is left out where it was not asked for. What a trial lacks is None.

    Raises:
        ConfigurationError: a parameter was asked for that no trial has.
    """
    configs = [flatten(curve.trial.decoded_config()) for curve in chosen]
    wanted = names if names is not None else list(dict.fromkeys(name for c in chosen for name in c.trial.searched))
    columns = {name: [config.get(name) for config in configs] for name in wanted}
    for name, column in columns.items():
        if names is not None and all(value is None for value in column):
            known = ", ".join(sorted({key for config in configs for key in config}))
            raise ConfigurationError(f"No trial has a parameter {name!r}. There are: {known}.")
    return {name: column for name, column in columns.items() if names is not None or len(set(map(repr, column))) > 1}


def is_numeric(values: list[Any]) -> bool:
    """Whether values are numbers, as far as there are any."""
    present = [value for value in values if value is not None]
    return bool(present) and all(type(value) in (int, float) and math.isfinite(value) for value in present)
