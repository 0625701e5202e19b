"""Comet: a logger that keeps an experiment of Comet per trial."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from perdure.loggers.tracker import TrackerCallback, numbers_of, parameters_of, run_key
from perdure.storage.layout import OWN_FILES

if TYPE_CHECKING:
    from perdure.trial_view import TrialView

KEY_FILE = ".comet_key"
"""In a trial's directory: the key of its experiment, once Comet has it."""
_WHERE = ("hostname", "node_ip", "pid")
_AUTOMATIC = ("auto_output_logging", "log_git_metadata", "log_git_patch", "log_env_cpu", "log_env_gpu")
"""What Comet would log of the driver, which is the same for all trials."""


class _Run:
    """A trial's experiment as this session knows it."""

    __slots__ = ("comet", "config", "trial_path", "where")

    def __init__(self, experiment: Any, trial_path: str) -> None:
        self.comet = experiment
        self.trial_path = trial_path
        self.where: dict[str, Any] = {}
        """What was said of the process that reports."""
        self.config: Mapping[str, Any] | None = None
        """What was said of the configuration."""


class CometLoggerCallback(TrackerCallback[_Run]):
    """Logs each trial as an experiment of Comet, by `training_iteration`.

    Comet keeps every point it is given. A row of the last moments before a crash may stand twice, and so does one that
    a trial reports again after it went back to an older checkpoint. Offline, Comet writes its archive when a trial or
    the session ends: of a driver that is killed, the rows of the trials that were running are in no archive.

    Args:
        online: False writes archives for `comet upload`, into `offline_directory` if that is among the further
            arguments, else into the trial's directory.
        tags: Of every experiment.
        save_checkpoints: Log each checkpoint as an artifact.
        **experiment_kwargs: For Comet's experiment (`workspace`, `project_name`, `api_key`, ...).
    """

    module = "comet_ml"
    extra = "comet"

    def __init__(
        self,
        online: bool = True,
        tags: list[str] | None = None,
        save_checkpoints: bool = False,
        **experiment_kwargs: Any,
    ) -> None:
        super().__init__()
        self.online = online
        self.tags = tags
        self.save_checkpoints = save_checkpoints
        self.experiment_kwargs = {**dict.fromkeys(_AUTOMATIC, False), **experiment_kwargs}

    def _open(self, trial: TrialView) -> _Run:
        os.environ.setdefault("COMET_DISABLE_AUTO_LOGGING", "1")
        import comet_ml
        from comet_ml.config import set_global_experiment

        options = dict(self.experiment_kwargs)
        if not self.online:
            options.setdefault("offline_directory", trial.path)
        key = run_key(trial.experiment_dir_name, trial.trial_id)
        set_global_experiment(None)  # or Comet ends the trial that it thinks was before this one
        if _is_known(trial.path, key):
            again = comet_ml.ExistingExperiment if self.online else comet_ml.ExistingOfflineExperiment
            experiment = again(previous_experiment=key, **options)
        else:
            new = comet_ml.Experiment if self.online else comet_ml.OfflineExperiment
            experiment = new(experiment_key=key, **options)
            if self.online:
                _remember(trial.path, key)
        set_global_experiment(None)
        experiment.set_name(str(trial))
        if self.tags:
            experiment.add_tags(self.tags)
        experiment.log_other("Created from", "perdure")
        experiment.log_other("trial_id", trial.trial_id)
        return _Run(experiment, trial.path)

    def _start(self, run: _Run, trial: TrialView) -> None:
        self._tell_config(run, trial.config)

    def _tell_config(self, run: _Run, config: Mapping[str, Any], step: int | None = None) -> None:
        if config is not run.config:
            run.config = config
            run.comet.log_parameters(parameters_of(config), step=step)

    def _row(self, run: _Run, trial: TrialView, row: dict[str, Any]) -> None:
        step = row["training_iteration"]
        self._tell_config(run, row["config"], step)
        where = {name: row[name] for name in _WHERE if name in row}
        for name, value in where.items():
            if run.where.get(name) != value:
                run.comet.log_system_info(name, value)
        run.where = where
        run.comet.log_metrics({**numbers_of(row), "training_iteration": step}, step=step)

    def _save(self, run: _Run, trial: TrialView) -> None:
        if self.save_checkpoints and trial.checkpoint is not None:
            import comet_ml

            artifact = comet_ml.Artifact(name=f"checkpoint_{trial}", artifact_type="model")
            root = trial.checkpoint.path
            for directory, _, files in os.walk(root):
                for file in files:
                    if file not in OWN_FILES:
                        path = os.path.join(directory, file)
                        artifact.add(path, logical_path=os.path.relpath(path, root).replace(os.sep, "/"))
            run.comet.log_artifact(artifact)

    def _end(self, run: _Run, trial: TrialView, *, failed: bool) -> None:
        run.comet.log_other("status", "failed" if failed else "finished")
        self._leave(run)

    def _leave(self, run: _Run) -> None:
        run.comet.end()
        if not self.online:  # only now is there an archive, which another one can continue
            _remember(run.trial_path, run.comet.id)


def _is_known(trial_path: str, key: str) -> bool:
    try:
        with open(os.path.join(trial_path, KEY_FILE), encoding="ascii") as file:
            return file.read().strip() == key
    except FileNotFoundError:
        return False


def _remember(trial_path: str, key: str) -> None:
    with open(os.path.join(trial_path, KEY_FILE), "w", encoding="ascii") as file:
        file.write(key)
