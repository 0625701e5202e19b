"""Aim: a logger that keeps a run per trial."""

from __future__ import annotations

import logging
import math
import os
import sys
from typing import TYPE_CHECKING, Any

from perdure.errors import ConfigurationError
from perdure.loggers.tracker import TrackerCallback, numbers_of, parameters_of, run_key, step_of

if TYPE_CHECKING:
    from perdure.trial_view import TrialView

RUN_FILE = ".aim_run"
"""In a trial's directory: the hash that Aim gave its run."""
_NO_WHEELS_FROM = (3, 13)
_NOT_TRACKED = ("pid", "time_total_s")

_log = logging.getLogger(__name__)


class AimLoggerCallback(TrackerCallback[Any]):
    """Tracks each trial as a run of Aim.

    Aim keeps one value per metric and step. So a row that is told twice stands once, and a row that a trial reports
    again, after it went back to an older checkpoint, replaces the first, as it does in perdure's own files.

    Args:
        repo: Aim's repository, a path or its `Repo`; None makes one in the experiment's directory.
        experiment_name: Of Aim's experiment; None takes the experiment's name.
        metrics: Names of the metrics to track; None tracks all that are numbers.
        **aim_run_kwargs: For `aim.Run`.

    Raises:
        ConfigurationError: `metrics` is empty.
    """

    module = "aim"
    extra = "aim"
    VALID_HPARAMS = (str, bool, int, float, list, type(None))

    def __init__(
        self,
        repo: Any = None,
        experiment_name: str | None = None,
        metrics: list[str] | None = None,
        **aim_run_kwargs: Any,
    ) -> None:
        super().__init__()
        if metrics is not None and not metrics:
            raise ConfigurationError("AimLoggerCallback(metrics=[]) tracks nothing. Name metrics, or leave it out.")
        self._repo = repo
        self._experiment_name = experiment_name
        self._metrics = metrics
        self._options = {
            # Of the driver's process, which runs all trials and none of them.
            "system_tracking_interval": None,
            "capture_terminal_logs": False,
            "log_system_params": False,
            **aim_run_kwargs,
        }

    @classmethod
    def _remedy(cls) -> str:
        """Return how the message goes on that says that Aim is not installed."""
        if sys.version_info < _NO_WHEELS_FROM:
            return super()._remedy()
        return (
            " and cannot be: its storage (aimrocks) has no wheels for Python 3.13 or newer. Use an older Python, or "
            "another tracker."
        )

    def _open(self, trial: TrialView) -> Any:
        from aim import Run
        from aim.sdk.errors import MissingRunError

        options = {
            "repo": self._repo or trial.experiment_path,
            "experiment": self._experiment_name or trial.experiment_dir_name,
            **self._options,
        }
        known = _known_hash(trial)
        if known is not None:
            try:
                return Run(known, **options)
            except MissingRunError:
                _log.warning("Aim no longer has the run %s of trial %s; a new one goes on.", known, trial)
        run = Run(**options)
        with open(os.path.join(trial.path, RUN_FILE), "w", encoding="ascii") as file:
            file.write(run.hash)
        run["trial_id"] = trial.trial_id
        run["trial_log_dir"] = trial.path
        run["perdure_run"] = run_key(trial.experiment_dir_name, trial.trial_id)
        run.name = str(trial)
        return run

    def _start(self, run: Any, trial: TrialView) -> None:
        parameters = parameters_of(trial.config)
        run["hparams"] = {
            name: value if isinstance(value, self.VALID_HPARAMS) else str(value) for name, value in parameters.items()
        }

    def _row(self, run: Any, trial: TrialView, row: dict[str, Any]) -> None:
        context = row.get("context")
        step, epoch = step_of(row), row.get("epoch")
        for name, value in numbers_of(row).items():
            wanted = name in self._metrics if self._metrics is not None else name not in (*_NOT_TRACKED, "epoch")
            if wanted and math.isfinite(value):
                run.track(value, name=f"ray/tune/{name}", step=step, epoch=epoch, context=context)

    def _end(self, run: Any, trial: TrialView, *, failed: bool) -> None:
        run["status"] = "failed" if failed else "finished"
        run.close()

    def _leave(self, run: Any) -> None:
        run.close()


def _known_hash(trial: TrialView) -> str | None:
    try:
        with open(os.path.join(trial.path, RUN_FILE), encoding="ascii") as file:
            return file.read().strip() or None
    except FileNotFoundError:
        return None
