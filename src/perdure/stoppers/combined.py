"""Several stop rules as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perdure.arguments import named_arguments
from perdure.errors import ConfigurationError
from perdure.stoppers.base import Stopper


@named_arguments()
class CombinedStopper(Stopper):
    """Stops what any of its stoppers stops; they are asked in order, and not further once one said yes.

    Raises:
        ConfigurationError: one of them is no Stopper.
    """

    def __init__(self, *stoppers: Stopper) -> None:
        for stopper in stoppers:
            if not isinstance(stopper, Stopper):
                raise ConfigurationError(f"CombinedStopper combines Stoppers; {stopper!r} is none.")
        self._stoppers = stoppers

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return any(stopper(trial_id, result) for stopper in self._stoppers)

    def stop_all(self) -> bool:
        """Return whether any of them ends the experiment."""
        return any(stopper.stop_all() for stopper in self._stoppers)

    def forget(self, trial_id: str) -> None:
        """Tell all of them."""
        for stopper in self._stoppers:
            stopper.forget(trial_id)

    def recall(self, trial_id: str, results: Sequence[dict[str, Any]]) -> bool:
        """Ask all of them."""
        answers = [stopper.recall(trial_id, results) for stopper in self._stoppers]
        return any(answers)

    def get_state(self) -> dict[str, Any] | None:
        """Return the states of all of them; none if none remembers anything, or None if one has to be pickled."""
        states = [stopper.get_state() for stopper in self._stoppers]
        if None in states:
            return None
        return {"stoppers": states} if any(states) else {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_state` returned."""
        states = state["stoppers"] if state else [{}] * len(self._stoppers)
        for stopper, own in zip(self._stoppers, states, strict=True):
            stopper.set_state(own)
