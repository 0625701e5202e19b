"""The stop rule of an experiment that has none."""

from __future__ import annotations

from typing import Any

from perdure.stoppers.base import RowStopper


class NoopStopper(RowStopper):
    """Stops nothing."""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False
