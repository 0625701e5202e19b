"""The port to stop rules, under Ray Tune's names: a subclass written for Ray works as it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from perdure.arguments import a_kind
from perdure.errors import MetricError


class Stopper:
    """Says of each reported row whether its trial ends there, and whether the whole experiment does.

    Each row is shown to a stopper once, also after crashes and restores.
    """

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return whether the trial ends with this row."""
        raise NotImplementedError

    def stop_all(self) -> bool:
        """Return whether the experiment ends: no trial starts, and running ones end with their next row."""
        raise NotImplementedError

    def forget(self, trial_id: str) -> None:
        """A trial is over: what was remembered of it alone can go (beyond Ray Tune)."""

    def recall(self, trial_id: str, results: Sequence[dict[str, Any]]) -> bool:
        """A trial that was over is to go on: remember again what `forget` dropped (beyond Ray Tune).

        Args:
            trial_id: The trial.
            results: Its rows, in order; not empty.

        Returns:
            Whether the rule ends it where it stands, so that it does not go on. By default it does not.
        """
        return False

    def get_state(self) -> dict[str, Any] | None:
        """Return what the stopper remembers as JSON data, or None if it has to be pickled."""
        return None

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_state` returned."""
        raise NotImplementedError(f"{type(self).__name__} has no JSON state")


class RowStopper(Stopper):
    """Base of rules that look at one row of a trial, and remember nothing."""

    def stop_all(self) -> bool:
        """Return False: single trials are stopped."""
        return False

    def recall(self, trial_id: str, results: Sequence[dict[str, Any]]) -> bool:
        """Return whether the last row ends the trial."""
        return self(trial_id, results[-1])

    def get_state(self) -> dict[str, Any] | None:
        """Return the state: there is none."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up nothing."""


def watched(stopper: Stopper, trial_id: str, metric: str, value: Any) -> float:
    """Return the value of the metric that a stopper watches.

    Raises:
        MetricError: it is no number.
    """
    try:
        return float(value)
    except (TypeError, ValueError):
        raise MetricError(
            f"Trial {trial_id} reported {metric!r}, which {type(stopper).__name__} watches, as {value!r:.80} "
            f"({a_kind(value)}). Report one number, or name another metric."
        ) from None


def spread(values: list[float]) -> float:
    """Return the standard deviation of `values` about their mean; infinity or NaN if it is not finite."""
    mean = sum(values) / len(values)
    away = [value - mean for value in values]
    return math.sqrt(sum(each * each for each in away) / len(values))  # a power would raise where this overflows
