"""The stop rule of an experiment that has none."""

from __future__ import annotations

from typing import Any

from perdure.stoppers.base import Stopper


class NoopStopper(Stopper):
    """Stops nothing."""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        """Return False."""
        return False

    def get_state(self) -> dict[str, Any] | None:
        """Return the state: there is none."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up nothing."""
