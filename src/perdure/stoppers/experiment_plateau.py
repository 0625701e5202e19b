"""A stop rule for experiments that no longer get anywhere."""

from __future__ import annotations

import bisect
import math
from typing import Any

from perdure.arguments import named_arguments
from perdure.errors import ConfigurationError, MetricError
from perdure.rows import leaf
from perdure.stoppers.base import Stopper, spread, watched


@named_arguments()
class ExperimentPlateauStopper(Stopper):
    """Ends the experiment when the best values reported so far are all alike.

    Args:
        metric: The metric that is watched.
        std: The best are alike when their standard deviation is at most this.
        top: How many best values, over all rows of all trials.
        mode: "min" or "max".
        patience: Rows in a row after which it must still hold.

    Raises:
        ConfigurationError: an argument is out of range.
    """

    def __init__(self, metric: str, std: float = 0.001, top: int = 10, mode: str = "min", patience: int = 0) -> None:
        if mode not in ("min", "max"):
            raise ConfigurationError(f'ExperimentPlateauStopper(mode={mode!r}): use "min" or "max".')
        if not top > 1:
            raise ConfigurationError(f"ExperimentPlateauStopper(top={top!r}): use 2 or more.")
        if not patience >= 0:
            raise ConfigurationError(f"ExperimentPlateauStopper(patience={patience!r}): use 0 or more.")
        if not std > 0:
            raise ConfigurationError(f"ExperimentPlateauStopper(std={std!r}): use a number above 0.")
        self._metric = metric
        self._std = std
        self._top = top
        self._mode = mode
        self._patience = patience
        self._alike_for = 0
        self._best: list[float] = []  # ascending

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self._take(self._value(trial_id, result))
        self._alike_for = self._alike_for + 1 if self.has_plateaued() else 0
        return self.stop_all()

    def _value(self, trial_id: str, result: dict[str, Any]) -> float:
        value = leaf(result, self._metric)
        if value is None:
            reported = ", ".join(map(str, result)) or "nothing"
            raise MetricError(
                f"Trial {trial_id} did not report {self._metric!r}, which ExperimentPlateauStopper watches; it "
                f"reported: {reported}. Report it in every row, or name another metric."
            )
        return watched(self, trial_id, self._metric, value)

    def _take(self, value: float) -> None:
        if math.isnan(value):
            return  # it is neither good nor bad
        bisect.insort(self._best, value)
        if len(self._best) > self._top:
            del self._best[-1 if self._mode == "min" else 0]

    def has_plateaued(self) -> bool:
        """Whether the best values are alike."""
        return len(self._best) == self._top and spread(self._best) <= self._std

    def stop_all(self) -> bool:
        """Return whether they have been for long enough."""
        return self.has_plateaued() and self._alike_for >= self._patience

    def get_state(self) -> dict[str, Any] | None:
        """Return the best values, as text because JSON has no infinity."""
        return {"best": [repr(value) for value in self._best], "alike_for": self._alike_for}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_state` returned."""
        self._best = [float(value) for value in state["best"]]
        self._alike_for = state["alike_for"]
