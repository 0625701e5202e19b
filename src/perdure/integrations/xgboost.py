"""XGBoost: callbacks for `xgboost.train` and its estimators, under Ray Tune's names."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from xgboost import Booster
from xgboost.callback import TrainingCallback

from perdure.checkpoint import Checkpoint
from perdure.integrations.reports import Metrics, choose, report_with_files
from perdure.trainable.session import report

FILENAME = "model.ubj"


class TuneReportCheckpointCallback(TrainingCallback):  # type: ignore[misc]
    """Reports XGBoost's metrics after each round, and saves the model now and then.

    Args:
        metrics: Which to report, called `<data>-<metric>` such as "eval-logloss"; None reports all.
        filename: Of the model; its ending chooses XGBoost's format.
        frequency: Rounds between checkpoints; 0 saves none while the training runs.
        checkpoint_at_end: Report the last metrics again, with the final model, unless it was just saved.
        results_postprocessing_fn: Given the metrics, returns what is reported.
    """

    CHECKPOINT_NAME = FILENAME

    def __init__(
        self,
        metrics: str | list[str] | dict[str, str] | None = None,
        filename: str = FILENAME,
        frequency: int = 0,
        checkpoint_at_end: bool = True,
        results_postprocessing_fn: Callable[[dict[str, Any]], dict[str, float]] | None = None,
    ) -> None:
        super().__init__()
        self._metrics: Metrics = metrics
        self._filename = filename
        self._frequency = frequency
        self._checkpoint_at_end = checkpoint_at_end
        self._postprocess = results_postprocessing_fn
        self._row: dict[str, Any] = {}
        self._saved_rounds = -1

    @classmethod
    def get_model(cls, checkpoint: Checkpoint, filename: str = FILENAME) -> Any:
        """Return the Booster in a checkpoint; pass it to `xgboost.train(..., xgb_model=...)` to go on with it."""
        booster = Booster()
        with checkpoint.as_directory() as path:
            booster.load_model(os.path.join(path, filename))
        return booster

    def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Mapping[str, Any]]) -> bool:
        """Report a round."""
        newest = {
            f"{data}-{metric}": values[-1] for data, metrics in evals_log.items() for metric, values in metrics.items()
        }
        row = choose(self._metrics, newest)
        self._row = row if self._postprocess is None else self._postprocess(row)
        if self._frequency and (epoch + 1) % self._frequency == 0:
            self._report_saved(model)
        else:
            report(self._row)
        return False

    def after_training(self, model: Any) -> Any:
        """Save the final model."""
        if self._checkpoint_at_end and model.num_boosted_rounds() != self._saved_rounds:
            self._report_saved(model)
        return model

    def _report_saved(self, model: Any) -> None:
        report_with_files(self._row, lambda path: model.save_model(os.path.join(path, self._filename)))
        if self._checkpoint_at_end:
            self._saved_rounds = model.num_boosted_rounds()


class TuneReportCallback(TuneReportCheckpointCallback):
    """Reports XGBoost's metrics after each round, without checkpoints."""

    def __init__(
        self,
        metrics: str | list[str] | dict[str, str] | None = None,
        results_postprocessing_fn: Callable[[dict[str, Any]], dict[str, float]] | None = None,
    ) -> None:
        super().__init__(metrics, checkpoint_at_end=False, results_postprocessing_fn=results_postprocessing_fn)
