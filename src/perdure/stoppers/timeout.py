"""A stop rule by the clock."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from perdure.arguments import named_arguments
from perdure.errors import ConfigurationError
from perdure.stoppers.base import Stopper


@named_arguments()
class TimeoutStopper(Stopper):
    """Ends the experiment after some time of running, counted over all its sessions.

    Args:
        timeout: Seconds, or a timedelta; counted from the first time the stopper is asked.

    Raises:
        ConfigurationError: it is neither.
    """

    def __init__(self, timeout: float | timedelta) -> None:
        if isinstance(timeout, timedelta):
            self._timeout_s = timeout.total_seconds()
        elif isinstance(timeout, (int, float)):
            self._timeout_s = float(timeout)
        else:
            raise ConfigurationError(f"TimeoutStopper(timeout={timeout!r}): use seconds, or a timedelta.")
        self._left_s = self._timeout_s
        self._asked_at: float | None = None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        """Return whether the time is up."""
        now = time.monotonic()
        if self._asked_at is not None:
            self._left_s -= now - self._asked_at
        self._asked_at = now
        return self._left_s <= 0

    def get_state(self) -> dict[str, Any] | None:
        """Return how many seconds are left."""
        return {"left_s": self._left_s}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up how many seconds are left; the time until it is asked again does not count."""
        self._left_s = state["left_s"]
        self._asked_at = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_asked_at": None}
