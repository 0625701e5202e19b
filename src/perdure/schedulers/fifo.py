"""The scheduler of an experiment that names none."""

from __future__ import annotations

from typing import Any

from perdure.arguments import named_arguments
from perdure.schedulers.base import Answer, Controller, TrialScheduler
from perdure.trial_view import TrialView


@named_arguments()
class FIFOScheduler(TrialScheduler):
    """Runs every trial to its end, first come first served."""

    def on_trial_result(self, controller: Controller, trial: TrialView, result: dict[str, Any]) -> Answer:
        """Let the trial go on."""
        return self.CONTINUE

    def debug_string(self) -> str:
        """Return a line for people."""
        return "Trials run first come, first served."

    def get_state(self) -> dict[str, Any] | None:
        """Return the state: there is none, but for a subclass that adds some."""
        return {} if type(self) is FIFOScheduler else None

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_state` returned."""
