"""Weights & Biases: a logger that keeps a run per trial, and `setup_wandb` for code inside a trial."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from perdure.errors import ConfigurationError
from perdure.loggers.tracker import TrackerCallback, numbers_of, readable_run_id
from perdure.trainable.session import get_context

if TYPE_CHECKING:
    from perdure.trial_view import TrialView

_WHERE = ("hostname", "node_ip", "pid")


class _Run:
    """A trial's run as this session knows it."""

    __slots__ = ("config", "wandb", "where")

    def __init__(self, run: Any) -> None:
        self.wandb = run
        self.where: dict[str, Any] = {}
        """What was said of the process that reports."""
        self.config: Mapping[str, Any] | None = None
        """What was said of the configuration."""


class WandbLoggerCallback(TrackerCallback[_Run]):
    """Logs each trial as a run of Weights & Biases; `mode="offline"` writes it below the trial's directory.

    A run's step is `training_iteration`. W&B keeps one row per step and takes none below its newest: a row that is told
    twice stands once; of rows that a trial reports again, after it went back to an older checkpoint, the first stand,
    but for the newest, which is replaced. A clone whose donor was behind is seen again once it is past where it was.

    Args:
        project: Of W&B; None takes `WANDB_PROJECT_NAME`, or what the hook `WANDB_POPULATE_RUN_LOCATION_HOOK` sets.
        group: None takes `WANDB_GROUP_NAME`, else the experiment's name.
        api_key_file: A file whose first line is the API key.
        api_key: The key; None takes `WANDB_API_KEY`, else what `WANDB_SETUP_API_KEY_HOOK` gives, else `wandb login`'s.
        excludes: Metrics and parameters that are left out.
        log_config: Update the run's configuration with each row, for trials whose configuration changes.
        upload_checkpoints: Log each checkpoint as an artifact.
        save_checkpoints: The older name of `upload_checkpoints`.
        upload_timeout: Accepted; perdure waits for the loggers as a whole when an experiment ends.
        video_kwargs: Accepted; videos and images are no rows of perdure, log them with `setup_wandb`.
        image_kwargs: The same.
        **kwargs: For `wandb.init`.
    """

    AUTO_CONFIG_KEYS = ["trial_id", "experiment_tag", "node_ip", "experiment_id", "hostname", "pid", "date"]  # noqa: RUF012 - Ray's
    """Columns that go into the run's configuration and are no metrics."""

    module = "wandb"
    extra = "wandb"

    def __init__(
        self,
        project: str | None = None,
        group: str | None = None,
        api_key_file: str | None = None,
        api_key: str | None = None,
        excludes: list[str] | None = None,
        log_config: bool = False,
        upload_checkpoints: bool = False,
        save_checkpoints: bool = False,
        upload_timeout: int = 1800,
        video_kwargs: dict[str, Any] | None = None,
        image_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        if save_checkpoints:
            warnings.warn("`save_checkpoints` is now called `upload_checkpoints`.", DeprecationWarning, stacklevel=2)
        self.project = project
        self.group = group
        self.api_key_file = api_key_file
        self.api_key = api_key
        self.excludes = list(excludes or [])
        self.log_config = log_config
        self.upload_checkpoints = upload_checkpoints or save_checkpoints
        self.kwargs = kwargs

    def _open(self, trial: TrialView) -> _Run:
        import wandb

        _authenticate(self.api_key, self.api_key_file, mode=self.kwargs.get("mode"))
        experiment = trial.experiment_dir_name
        project = _project(self.project)
        if not project:
            raise ConfigurationError(
                "W&B needs a project, so nothing is logged. Pass WandbLoggerCallback(project=...) or set "
                "WANDB_PROJECT_NAME."
            )
        options: dict[str, Any] = {
            "id": readable_run_id(experiment, trial.trial_id),
            "name": str(trial),
            "resume": "allow",
            "reinit": "create_new",
            "allow_val_change": True,
            "group": self.group or os.environ.get("WANDB_GROUP_NAME") or experiment,
            "project": project,
            "dir": trial.path,
            # The driver's output is that of all trials, and belongs to none of them.
            "settings": wandb.Settings(console="off", silent=True),
            **self.kwargs,
        }
        run = wandb.init(**options)
        _call_hook("WANDB_PROCESS_RUN_INFO_HOOK", run)
        run.config.update({"trial_log_path": trial.path, "trial_id": trial.trial_id}, allow_val_change=True)
        return _Run(run)

    def _start(self, run: _Run, trial: TrialView) -> None:
        self._tell_config(run, trial.config)

    def _tell_config(self, run: _Run, config: Mapping[str, Any]) -> None:
        if config is not run.config:
            run.config = config
            told = {name: _data(value) for name, value in config.items() if name not in (*self.excludes, "callbacks")}
            run.wandb.config.update(told, allow_val_change=True)

    def _row(self, run: _Run, trial: TrialView, row: dict[str, Any]) -> None:
        where = {name: row[name] for name in _WHERE if name in row}
        if where != run.where:
            run.where = where
            run.wandb.config.update(where, allow_val_change=True)
        if self.log_config and "config" not in self.excludes:
            self._tell_config(run, row["config"])
        values = {name: value for name, value in numbers_of(row).items() if not self._is_excluded(name)}
        values["training_iteration"] = row["training_iteration"]
        values["timestamp"] = row["timestamp"]
        run.wandb.log(values, step=row["training_iteration"])

    def _is_excluded(self, name: str) -> bool:
        return any(name == excluded or name.startswith(f"{excluded}/") for excluded in self.excludes)

    def _save(self, run: _Run, trial: TrialView) -> None:
        if self.upload_checkpoints and trial.checkpoint is not None:
            import wandb

            artifact = wandb.Artifact(name=f"checkpoint_{trial}", type="model")
            artifact.add_dir(trial.checkpoint.path)
            run.wandb.log_artifact(artifact)

    def _end(self, run: _Run, trial: TrialView, *, failed: bool) -> None:
        run.wandb.finish(exit_code=int(failed))

    def _leave(self, run: _Run) -> None:
        run.wandb.finish()


def setup_wandb(
    config: dict[str, Any] | None = None,
    api_key: str | None = None,
    api_key_file: str | None = None,
    rank_zero_only: bool = True,
    **kwargs: Any,
) -> Any:
    """Start a W&B run inside a trial, or go on with the one an earlier attempt started, and return it.

        run = setup_wandb(config, project="digits")
        run.log({"loss": loss}, step=epoch)

    The run's id follows from experiment and trial, its name is the trial's, its group the experiment. Pass `step`, so
    that what a retried attempt logs again stands once.

    Args:
        config: The run's configuration.
        api_key: See `WandbLoggerCallback`.
        api_key_file: See `WandbLoggerCallback`.
        rank_zero_only: Accepted; a trial is one process.
        **kwargs: For `wandb.init`; they go before what is said here. `trial_id`, `trial_name` replace the trial's own.
    """
    import wandb

    context = get_context()
    experiment, trial_id = context.get_experiment_name(), context.get_trial_id()
    given = kwargs.pop("trial_id", None)
    name = kwargs.pop("trial_name", None) or context.get_trial_name()
    _authenticate(api_key, api_key_file, mode=kwargs.get("mode"))
    options: dict[str, Any] = {
        # Not the id of the logger's run: both may be used together.
        "id": given or (f"{readable_run_id(experiment, trial_id)}-inside" if experiment and trial_id else None),
        "name": name,
        "resume": "allow",
        "reinit": "finish_previous",  # of an attempt before this one, in the same process
        "allow_val_change": True,
        "config": {name: _data(value) for name, value in (config or {}).items()},
        "group": os.environ.get("WANDB_GROUP_NAME") or experiment,
        **kwargs,
    }
    options["project"] = _project(kwargs.get("project"))
    run = wandb.init(**options)
    _call_hook("WANDB_PROCESS_RUN_INFO_HOOK", run)
    return run


def _authenticate(api_key: str | None, api_key_file: str | None, *, mode: str | None) -> None:
    """Put the API key where W&B looks for it, unless it needs none."""
    if (mode or os.environ.get("WANDB_MODE")) in ("offline", "disabled"):
        return
    if api_key and api_key_file:
        raise ConfigurationError("Both api_key and api_key_file of W&B are given; give one of them.")
    if api_key_file:
        with open(os.path.expanduser(api_key_file), encoding="utf-8") as file:
            api_key = file.readline().strip()
    if not api_key and not os.environ.get("WANDB_API_KEY"):
        api_key = _call_hook("WANDB_SETUP_API_KEY_HOOK")
    if api_key:
        os.environ["WANDB_API_KEY"] = api_key


def _project(project: str | None) -> str | None:
    if not project and not os.environ.get("WANDB_PROJECT_NAME"):
        _call_hook("WANDB_POPULATE_RUN_LOCATION_HOOK")
    return project or os.environ.get("WANDB_PROJECT_NAME")


def _call_hook(variable: str, *arguments: Any) -> Any:
    """Call the function that an environment variable names as `module.function`, if it does."""
    path = os.environ.get(variable)
    if not path:
        return None
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)(*arguments)


def _data(value: Any) -> Any:
    """Return a value as W&B can store it: objects by what they print as."""
    if isinstance(value, Mapping):
        return {str(name): _data(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_data(item) for item in value]
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)
