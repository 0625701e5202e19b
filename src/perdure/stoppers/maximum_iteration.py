"""A stop rule that counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perdure.arguments import named_arguments
from perdure.stoppers.base import Stopper


@named_arguments()
class MaximumIterationStopper(Stopper):
    """Stops a trial after so many rows.

    Args:
        max_iter: How many.
    """

    def __init__(self, max_iter: int) -> None:
        self._max_iter = max_iter
        self._rows: dict[str, int] = {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self._rows[trial_id] = self._rows.get(trial_id, 0) + 1
        return self._rows[trial_id] >= self._max_iter

    def stop_all(self) -> bool:
        """Return False: single trials are stopped."""
        return False

    def forget(self, trial_id: str) -> None:
        """Drop the count of a trial that is over."""
        self._rows.pop(trial_id, None)

    def recall(self, trial_id: str, results: Sequence[dict[str, Any]]) -> bool:
        """Take up the count of a trial that is to go on."""
        self._rows[trial_id] = len(results)
        return len(results) >= self._max_iter

    def get_state(self) -> dict[str, Any] | None:
        """Return the counts."""
        return {"rows": self._rows}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up the counts."""
        self._rows = dict(state["rows"])
