"""A stop rule for trials that no longer get anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perdure.arguments import named_arguments
from perdure.config import check_mode
from perdure.errors import ConfigurationError
from perdure.rows import leaf
from perdure.stoppers.base import Stopper, spread, watched


@named_arguments()
class TrialPlateauStopper(Stopper):
    """Stops a trial when its metric has hardly changed over its last rows.

    Args:
        metric: The metric that is watched.
        std: The trial is stopped when the standard deviation of its last values is below this.
        num_results: How many last values.
        grace_period: Rows before which no trial is stopped.
        metric_threshold: Only a trial that is at least this good is stopped.
        mode: "min" or "max": what "good" means for the threshold.

    Raises:
        ConfigurationError: there is a threshold and no mode.
    """

    def __init__(
        self,
        metric: str,
        std: float = 0.01,
        num_results: int = 4,
        grace_period: int = 4,
        metric_threshold: float | None = None,
        mode: str | None = None,
    ) -> None:
        check_mode(mode)
        if metric_threshold is not None and mode is None:
            raise ConfigurationError(
                f'TrialPlateauStopper(metric_threshold={metric_threshold!r}): say with mode="min" or mode="max" which '
                "side of it is good."
            )
        self._metric = metric
        self._std = std
        self._num_results = num_results
        self._grace_period = grace_period
        self._threshold = metric_threshold
        self._mode = mode
        self._rows: dict[str, int] = {}
        self._values: dict[str, list[float | None]] = {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        value = leaf(result, self._metric)
        last = self._values.setdefault(trial_id, [])
        last.append(None if value is None else watched(self, trial_id, self._metric, value))
        del last[: -self._num_results]
        self._rows[trial_id] = self._rows.get(trial_id, 0) + 1
        if self._rows[trial_id] < self._grace_period or len(last) < self._num_results:
            return False
        known = [one for one in last if one is not None]
        return len(known) == len(last) and self._is_good(known[-1]) and spread(known) < self._std

    def _is_good(self, value: float) -> bool:
        if self._threshold is None:
            return True
        return value <= self._threshold if self._mode == "min" else value >= self._threshold

    def stop_all(self) -> bool:
        """Return False: single trials are stopped."""
        return False

    def forget(self, trial_id: str) -> None:
        """Drop the last values of a trial that is over."""
        self._rows.pop(trial_id, None)
        self._values.pop(trial_id, None)

    def recall(self, trial_id: str, results: Sequence[dict[str, Any]]) -> bool:
        """Look at the rows of a trial that is to go on again."""
        self.forget(trial_id)
        return [self(trial_id, result) for result in results][-1]

    def get_state(self) -> dict[str, Any] | None:
        """Return the last values of each trial, as text where JSON has no number for them."""
        values = {trial: [None if one is None else repr(one) for one in last] for trial, last in self._values.items()}
        return {"rows": self._rows, "values": values}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_state` returned."""
        self._rows = dict(state["rows"])
        values = state["values"].items()
        self._values = {trial: [None if one is None else float(one) for one in last] for trial, last in values}
