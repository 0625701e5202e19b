"""What a logger is: told of rows, by trial, apart from the loop that runs the trials."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from perdure.callbacks import Callback

if TYPE_CHECKING:
    from perdure.trial_view import TrialView


class LoggerCallback(Callback):
    """Base of loggers, under Ray Tune's names: subclass it and pass an object in `RunConfig(callbacks=[...])`.

    Loggers follow the journal on a thread of their own, a fraction of a second behind, and never hold a trial up. One
    that raises is reported once and goes on with the next row. After a crash each row comes at least once: a row of
    the last moments, or one that a trial reports again after going back to a checkpoint, may come again.
    """

    def log_trial_start(self, trial: TrialView) -> None:
        """Called each time an attempt of the trial has started."""

    def log_trial_restore(self, trial: TrialView) -> None:
        """Called after `log_trial_start` when the attempt goes on from a checkpoint."""

    def log_trial_save(self, trial: TrialView) -> None:
        """Called when a checkpoint was committed."""

    def log_trial_result(self, iteration: int, trial: TrialView, result: dict[str, Any]) -> None:
        """Called with each row of the trial, as `Result.metrics` shows it. `iteration` counts all rows."""

    def log_trial_end(self, trial: TrialView, failed: bool = False) -> None:
        """Called when the trial is over."""

    def on_trial_start(self, iteration: int, trials: Sequence[TrialView], trial: TrialView, **info: Any) -> None:
        """Call `log_trial_start`."""
        self.log_trial_start(trial)

    def on_trial_restore(self, iteration: int, trials: Sequence[TrialView], trial: TrialView, **info: Any) -> None:
        """Call `log_trial_restore`."""
        self.log_trial_restore(trial)

    def on_trial_save(self, iteration: int, trials: Sequence[TrialView], trial: TrialView, **info: Any) -> None:
        """Call `log_trial_save`."""
        self.log_trial_save(trial)

    def on_trial_result(
        self, iteration: int, trials: Sequence[TrialView], trial: TrialView, result: dict[str, Any], **info: Any
    ) -> None:
        """Call `log_trial_result`."""
        self.log_trial_result(iteration, trial, result)

    def on_trial_complete(self, iteration: int, trials: Sequence[TrialView], trial: TrialView, **info: Any) -> None:
        """Call `log_trial_end`."""
        self.log_trial_end(trial, failed=False)

    def on_trial_error(self, iteration: int, trials: Sequence[TrialView], trial: TrialView, **info: Any) -> None:
        """Call `log_trial_end`."""
        self.log_trial_end(trial, failed=True)


class FileLogger(LoggerCallback):
    """A logger whose files can be made anew from the journal, which is what keeps each row in them exactly once."""

    def rebuild(self, trial: TrialView, rows: Iterable[dict[str, Any]]) -> None:
        """Replace the trial's file with one of exactly these rows, in order."""
        raise NotImplementedError

    def flush(self) -> None:
        """Hand everything logged so far to the operating system."""

    def close(self) -> None:
        """Flush, and close every file."""
