"""A user's function as a stop rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure.arguments import named_arguments
from perdure.errors import ConfigurationError
from perdure.stoppers.base import RowStopper, Stopper


@named_arguments()
class FunctionStopper(RowStopper):
    """Stops a trial when a function says so. What the function itself remembers is its own.

    Args:
        function: Called with (trial_id, result) for every row; true stops the trial.
    """

    def __init__(self, function: Callable[[str, dict[str, Any]], bool]) -> None:
        self._function = function

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return bool(self._function(trial_id, result))

    @classmethod
    def is_valid_function(cls, function: object) -> bool:
        """Whether `function` is a function and no Stopper.

        Raises:
            ConfigurationError: it has `stop_all` but is no Stopper, so it would not be asked.
        """
        if not callable(function) or isinstance(function, Stopper):
            return False
        if hasattr(function, "stop_all"):
            raise ConfigurationError(
                f"stop={function!r} has stop_all() but is no instance of a Stopper. Derive its class from "
                "perdure.tune.Stopper, and pass an instance."
            )
        return True
