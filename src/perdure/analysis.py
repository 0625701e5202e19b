"""`ExperimentAnalysis`: the older way to look at an experiment, under Ray Tune's names.

New code uses the `ResultGrid` that `Tuner.fit()` returns; this is the same history by trial.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

from perdure.checkpoint import Checkpoint
from perdure.config import check_mode
from perdure.errors import ConfigurationError, NoBestTrialError
from perdure.frames import library
from perdure.history import ExperimentHistory, read_experiment, view_of
from perdure.relocation import attribute_error
from perdure.result import Result
from perdure.result_grid import ResultGrid
from perdure.rows import flatten
from perdure.storage.uri import parse_storage_path
from perdure.trial_view import TrialView

if TYPE_CHECKING:
    import pandas as pd


_OLDER = {
    "fetch_trial_dataframes": "use trial_dataframes",
    "get_trial_checkpoints_paths": "use ResultGrid, whose results have best_checkpoints",
    "stats": "use perdure show",
    "runner_data": "use perdure show",
}
"""What to use in place of attributes of older releases of Ray."""


class ExperimentAnalysis:
    """What the trials of an experiment came to.

    Args:
        experiment_checkpoint_path: The experiment's directory.
        storage_filesystem: Accepted for scripts that come from Ray Tune.
        trials: Accepted likewise; the trials are those of the journal.
        default_metric: Metric where none is passed; None takes TuneConfig's.
        default_mode: "min" or "max" where none is passed; None takes TuneConfig's.

    Raises:
        ExperimentNotFoundError: there is no experiment at that path.
    """

    def __init__(
        self,
        experiment_checkpoint_path: str | os.PathLike[str],
        *,
        storage_filesystem: Any = None,
        trials: list[TrialView] | None = None,
        default_metric: str | None = None,
        default_mode: str | None = None,
    ) -> None:
        check_mode(default_mode, what="default_mode")
        self._path = parse_storage_path(experiment_checkpoint_path)
        self._history: ExperimentHistory = read_experiment(self._path)
        self._grid = ResultGrid(self._history, path=self._path)
        self._metric = default_metric
        self._mode = default_mode

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            """Say what replaced attributes of older releases of Ray."""
            raise attribute_error(self, name, _OLDER)

    @property
    def experiment_path(self) -> str:
        """The experiment's directory."""
        return str(self._path)

    @property
    def interrupted(self) -> bool:
        """Whether the experiment has not come to its end; see `ResultGrid.interrupted`."""
        return self._grid.interrupted

    @property
    def stop_reason(self) -> str | None:
        """What stopped the experiment before all trials came to their own end; see `ResultGrid.stop_reason`."""
        return self._grid.stop_reason

    @property
    def history(self) -> ExperimentHistory:
        """The fold of the journal that all of this is a view of; what plots are made from."""
        return self._history

    @functools.cached_property
    def trials(self) -> list[TrialView]:
        """All trials, in the order they were created."""
        views = []
        for trial, result in zip(self._history.trials.values(), self._grid, strict=True):
            view = view_of(trial, experiment_path=str(self._path), trainable=self._history.state.trainable)
            view.last_result = result.metrics
            views.append(view)
        return views

    # --- the best

    @property
    def best_trial(self) -> TrialView:
        """The trial with the best last value of the default metric."""
        return self._need(self.get_best_trial())

    @property
    def best_config(self) -> dict[str, Any]:
        """Its configuration."""
        return self.best_trial.config

    @property
    def best_logdir(self) -> str:
        """Its directory."""
        return self.best_trial.path

    @property
    def best_checkpoint(self) -> Checkpoint | None:
        """Its checkpoint with the best value of the default metric."""
        return self.get_best_checkpoint(self.best_trial)

    @property
    def best_result(self) -> dict[str, Any]:
        """Its last row."""
        return self.best_trial.last_result

    @property
    def best_dataframe(self) -> pd.DataFrame:
        """All of its rows."""
        return self._result(self.best_trial).metrics_dataframe

    @property
    def best_result_df(self) -> pd.DataFrame:
        """Its last row as a dataframe of one row, indexed by trial id."""
        return self.results_df.loc[[self.best_trial.trial_id]]

    def get_best_trial(
        self,
        metric: str | None = None,
        mode: str | None = None,
        scope: str = "last",
        filter_nan_and_inf: bool = True,
    ) -> TrialView | None:
        """Return the trial with the best `metric`, or None if none has it. See `ResultGrid.get_best_result`."""
        metric, mode = self._resolve(metric, mode, "get_best_trial()")
        try:
            best = self._grid.get_best_result(metric, mode, scope, filter_nan_and_inf)
        except NoBestTrialError:
            return None
        return next(view for view in self.trials if view.trial_id == best.trial_id)

    def get_best_config(
        self, metric: str | None = None, mode: str | None = None, scope: str = "last"
    ) -> dict[str, Any] | None:
        """Return the configuration of the trial with the best `metric`, or None if none has it."""
        best = self.get_best_trial(metric, mode, scope)
        return None if best is None else best.config

    def get_best_logdir(self, metric: str | None = None, mode: str | None = None, scope: str = "last") -> str | None:
        """Return the directory of the trial with the best `metric`, or None if none has it."""
        best = self.get_best_trial(metric, mode, scope)
        return None if best is None else best.path

    def get_best_checkpoint(
        self, trial: TrialView, metric: str | None = None, mode: str | None = None
    ) -> Checkpoint | None:
        """Return the trial's kept checkpoint with the best `metric`, or None if none was kept."""
        metric, mode = self._resolve(metric, mode, "get_best_checkpoint()")
        return self._result(trial).get_best_checkpoint(metric, mode)

    def get_last_checkpoint(
        self, trial: TrialView | None = None, metric: str = "training_iteration", mode: str = "max"
    ) -> Checkpoint | None:
        """Return the newest checkpoint of a trial; None takes the trial with the best `metric`."""
        chosen = trial if trial is not None else self._need(self.get_best_trial(metric, mode))
        return self._result(chosen).checkpoint

    # --- all of them

    def get_all_configs(self, prefix: bool = False) -> dict[str, dict[str, Any]]:
        """Return each trial's configuration by trial id; with `prefix`, flat and each key as `config/...`."""
        return {view.trial_id: flatten(view.config, "config/") if prefix else view.config for view in self.trials}

    @property
    def results(self) -> dict[str, dict[str, Any]]:
        """Each trial's last row by trial id."""
        return {view.trial_id: view.last_result for view in self.trials}

    @functools.cached_property
    def results_df(self) -> pd.DataFrame:
        """Each trial's last row, with its experiment_tag, indexed by trial id."""
        frame = self._grid.get_dataframe().drop(columns="logdir").set_index("trial_id")
        tags = {view.trial_id: view.experiment_tag for view in self.trials}
        return frame.assign(experiment_tag=[tags[trial] for trial in frame.index])

    def dataframe(self, metric: str | None = None, mode: str | None = None) -> pd.DataFrame:
        """Return one row per trial: its last, or the one with the best `metric`. See `ResultGrid.get_dataframe`."""
        return self._grid.get_dataframe(metric, mode)

    @functools.cached_property
    def trial_dataframes(self) -> dict[str, pd.DataFrame]:
        """All rows of each trial by trial id."""
        frame = self._grid.all_rows_dataframe()
        empty = library("pandas").DataFrame()
        frames = dict(iter(frame.groupby("trial_id", sort=False))) if len(frame) else {}
        return {
            view.trial_id: frames[view.trial_id].dropna(axis="columns", how="all").reset_index(drop=True)
            if view.trial_id in frames
            else empty
            for view in self.trials
        }

    # --- how it is read

    def _result(self, trial: TrialView) -> Result:
        for result in self._grid:
            if result.trial_id == trial.trial_id:
                return result
        raise ConfigurationError(f"The experiment at {self._path} has no trial {trial.trial_id!r}.")

    def _resolve(self, metric: str | None, mode: str | None, what: str) -> tuple[str, str]:
        return self._grid.resolve(metric or self._metric, mode or self._mode, what=what)

    def _need(self, best: TrialView | None) -> TrialView:
        if best is None:
            self._grid.get_best_result(*self._resolve(None, None, "best_trial"))  # says what is missing
            raise NoBestTrialError(f"The experiment at {self._path} has no best trial.")
        return best
