"""LightGBM: callbacks for `lightgbm.train` and its estimators, under Ray Tune's names."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from lightgbm import Booster

from perdure.checkpoint import Checkpoint
from perdure.integrations.reports import Metrics, choose, report_with_files
from perdure.trainable.session import report

FILENAME = "model.txt"


class TuneReportCheckpointCallback:
    """Reports LightGBM's metrics after each round, and saves the model now and then.

    Args:
        metrics: Which to report, called `<data>-<metric>` such as "valid_0-binary_logloss"; None reports all. Under
            `lightgbm.cv` each has "-mean" and "-stdv" at its end.
        filename: Of the model.
        frequency: Rounds between checkpoints; 0 saves none while the training runs.
        checkpoint_at_end: Save with the last round that was asked for. Early stopping ends before it: then the newest
            checkpoint is the one that `frequency` made.
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
        self._metrics: Metrics = metrics
        self._filename = filename
        self._frequency = frequency
        self._checkpoint_at_end = checkpoint_at_end
        self._postprocess = results_postprocessing_fn

    @classmethod
    def get_model(cls, checkpoint: Checkpoint, filename: str = FILENAME) -> Any:
        """Return the Booster in a checkpoint; pass it to `lightgbm.train(..., init_model=...)` to go on with it."""
        with checkpoint.as_directory() as path:
            return Booster(model_file=os.path.join(path, filename))

    def __call__(self, env: Any) -> None:
        """Report a round."""
        newest: dict[str, Any] = {}
        for data, metric, value, *more in env.evaluation_result_list or ():
            spread = more[1:]  # of a cross-validation: the standard deviation, after "higher is better"
            newest[f"{data}-{metric}-mean" if spread else f"{data}-{metric}"] = value
            if spread:
                newest[f"{data}-{metric}-stdv"] = spread[0]
        row = choose(self._metrics, newest)
        if self._postprocess is not None:
            row = self._postprocess(row)
        last = self._checkpoint_at_end and env.iteration == env.end_iteration - 1
        if last or (self._frequency and (env.iteration + 1) % self._frequency == 0):
            report_with_files(row, lambda path: env.model.save_model(os.path.join(path, self._filename)))
        else:
            report(row)


class TuneReportCallback(TuneReportCheckpointCallback):
    """Reports LightGBM's metrics after each round, without checkpoints."""

    def __init__(
        self,
        metrics: str | list[str] | dict[str, str] | None = None,
        results_postprocessing_fn: Callable[[dict[str, Any]], dict[str, float]] | None = None,
    ) -> None:
        super().__init__(metrics, checkpoint_at_end=False, results_postprocessing_fn=results_postprocessing_fn)
