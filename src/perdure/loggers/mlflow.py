"""MLflow: a logger that keeps a run per trial, and `setup_mlflow` for code inside a trial."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from perdure.arguments import named_arguments
from perdure.errors import ConfigurationError
from perdure.loggers.tracker import TrackerCallback, as_text, numbers_of, parameters_of, run_key, step_of
from perdure.trainable.session import get_context

if TYPE_CHECKING:
    from perdure.trial_view import TrialView

RUN_TAG = "perdure.run"
"""Tag by which a trial's run is found again."""
_MEASURED = "time_total_s"
"""With the clock it tells a row from every other row of its step; the same row told again has the same."""
_ILLEGAL = re.compile(r"[^\w\-. :/]", re.ASCII)
_PARAMETERS_AT_ONCE = 100  # what an MLflow server takes in one request
_METRICS_AT_ONCE = 1000
_LONGEST = 6000  # characters of a parameter


class _Run:
    """A trial's run as this session knows it."""

    __slots__ = ("id", "logged", "parameters")

    def __init__(self, run_id: str) -> None:
        self.id = run_id
        self.logged: frozenset[tuple[int, int, float]] = frozenset()
        """Step, clock and measured time of the rows that an earlier session logged."""
        self.parameters: dict[str, str] = {}
        """What was logged; MLflow refuses to change it."""


@named_arguments()
class MLflowLoggerCallback(TrackerCallback[_Run]):
    """Logs each trial as a run of MLflow: parameters, metrics by step, optionally the trial's files.

    A row that is told twice is logged once. A row that a trial reports again, after it went back to an older
    checkpoint, stands twice at its step, since MLflow cannot remove the first; the newest value is what MLflow shows as
    the run's. Parameters cannot change in MLflow: those of a clone that differ are in tags `config/<name>`.

    Args:
        tracking_uri: Of the server or database, for example `sqlite:///mlflow.db`; None takes MLflow's own setting.
        registry_uri: Of the model registry.
        experiment_name: Made if it does not exist; None takes `MLFLOW_EXPERIMENT_NAME`, else the experiment's name.
        tags: Tags of every run.
        tracking_token: Put into `MLFLOW_TRACKING_TOKEN`.
        save_artifact: Log the trial's directory as artifacts when the trial is over.
        log_params_on_trial_end: Log the parameters when the trial is over, not when it starts.
    """

    module = "mlflow"
    extra = "mlflow"

    def __init__(
        self,
        tracking_uri: str | os.PathLike[str] | None = None,
        *,
        registry_uri: str | os.PathLike[str] | None = None,
        experiment_name: str | None = None,
        tags: dict[str, Any] | None = None,
        tracking_token: str | None = None,
        save_artifact: bool = False,
        log_params_on_trial_end: bool = False,
    ) -> None:
        super().__init__()
        self.tracking_uri = tracking_uri
        self.registry_uri = registry_uri
        self.experiment_name = experiment_name
        self.tags = dict(tags or {})
        self.tracking_token = tracking_token
        self.should_save_artifact = save_artifact
        self.log_params_on_trial_end = log_params_on_trial_end
        self._client: Any = None
        self._experiment_id = ""

    def _open(self, trial: TrialView) -> _Run:
        client = self._connected(trial)
        key = run_key(trial.experiment_dir_name, trial.trial_id)
        known = _find(client, self._experiment_id, key)
        if known is None:
            tags = {**self.tags, "trial_name": str(trial), "trial_id": trial.trial_id, RUN_TAG: key}
            made = client.create_run(self._experiment_id, run_name=str(trial), tags=tags)
            return _Run(made.info.run_id)
        run = _Run(known.info.run_id)
        run.parameters = dict(known.data.params)
        history = client.get_metric_history(run.id, _MEASURED)
        run.logged = frozenset((metric.step, metric.timestamp, metric.value) for metric in history)
        client.update_run(run.id, status="RUNNING")
        return run

    def _connected(self, trial: TrialView) -> Any:
        if self._client is None:
            from mlflow import MlflowClient

            if self.tracking_token:
                os.environ["MLFLOW_TRACKING_TOKEN"] = self.tracking_token
            client = MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.registry_uri)
            name = self.experiment_name or os.environ.get("MLFLOW_EXPERIMENT_NAME") or trial.experiment_dir_name
            self._experiment_id = _experiment_id(client, name)
            self._client = client
        return self._client

    def _start(self, run: _Run, trial: TrialView) -> None:
        if not self.log_params_on_trial_end:
            self._log_parameters(run, trial)

    def _log_parameters(self, run: _Run, trial: TrialView) -> None:
        from mlflow.entities import Param

        now = {_legal(name): as_text(value, _LONGEST) for name, value in parameters_of(trial.config).items()}
        new = [Param(name, value) for name, value in now.items() if name not in run.parameters]
        for batch in _pieces(new, _PARAMETERS_AT_ONCE):
            self._client.log_batch(run.id, params=batch)
        for name, value in now.items():
            if run.parameters.setdefault(name, value) != value:
                self._client.set_tag(run.id, f"config/{name}", value)

    def _row(self, run: _Run, trial: TrialView, row: dict[str, Any]) -> None:
        from mlflow.entities import Metric

        step, at = step_of(row), int(row["timestamp"]) * 1000
        if (step, at, float(row[_MEASURED])) in run.logged:
            return
        values = {_legal(name): float(value) for name, value in numbers_of(row).items()}
        values["training_iteration"] = float(row["training_iteration"])
        metrics = [Metric(name, value, at, step) for name, value in values.items() if name != _MEASURED]
        metrics.append(Metric(_MEASURED, float(row[_MEASURED]), at, step))  # last: it says that the row is whole
        for batch in _pieces(metrics, _METRICS_AT_ONCE):
            self._client.log_batch(run.id, metrics=batch)

    def _end(self, run: _Run, trial: TrialView, *, failed: bool) -> None:
        if self.should_save_artifact:
            self._client.log_artifacts(run.id, trial.path)
        if self.log_params_on_trial_end:
            self._log_parameters(run, trial)
        self._client.set_terminated(run.id, status="FAILED" if failed else "FINISHED")

    def _leave(self, run: _Run) -> None:
        self._client.set_terminated(run.id, status="KILLED")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_client": None, "_runs": {}}


def setup_mlflow(
    config: dict[str, Any] | None = None,
    tracking_uri: str | None = None,
    registry_uri: str | None = None,
    experiment_id: str | None = None,
    experiment_name: str | None = None,
    tracking_token: str | None = None,
    artifact_location: str | None = None,
    run_name: str | None = None,
    create_experiment_if_not_exists: bool = False,
    tags: dict[str, Any] | None = None,
    rank_zero_only: bool = True,
) -> Any:
    """Start an MLflow run inside a trial, or go on with the one an earlier attempt started, and return the module.

        mlflow = setup_mlflow(config, experiment_name="digits", create_experiment_if_not_exists=True)
        mlflow.log_metric("loss", loss, step=epoch)

    Args:
        config: Logged as the run's parameters.
        tracking_uri: See `MLflowLoggerCallback`. MLflow keeps it for the whole process.
        registry_uri: Of the model registry.
        experiment_id: Of an MLflow experiment that exists; it goes before `experiment_name`.
        experiment_name: Of an MLflow experiment; None takes `MLFLOW_EXPERIMENT_NAME`, else perdure's experiment.
        tracking_token: Put into `MLFLOW_TRACKING_TOKEN`.
        artifact_location: Of an experiment that is made.
        run_name: None takes the trial's name.
        create_experiment_if_not_exists: Make the experiment where there is none.
        tags: Of the run.
        rank_zero_only: Accepted; a trial is one process.

    Raises:
        ConfigurationError: there is no such experiment, and none was to be made.
    """
    import mlflow

    if tracking_token:
        os.environ["MLFLOW_TRACKING_TOKEN"] = tracking_token
    if tracking_uri is not None:
        mlflow.set_tracking_uri(tracking_uri)
    if registry_uri is not None:
        mlflow.set_registry_uri(registry_uri)
    if mlflow.active_run() is not None:  # of an attempt before this one, in the same process
        mlflow.end_run()
    context = get_context()
    client = mlflow.MlflowClient()
    experiment = experiment_id or os.environ.get("MLFLOW_EXPERIMENT_ID")
    if experiment is None or client.get_experiment(experiment) is None:
        name = experiment_name or os.environ.get("MLFLOW_EXPERIMENT_NAME") or context.get_experiment_name()
        experiment = _experiment_id(client, name, create=create_experiment_if_not_exists, location=artifact_location)
    trial_id, ours = context.get_trial_id(), context.get_experiment_name()
    key = run_key(ours, trial_id) + "-inside" if ours and trial_id else None
    known = _find(client, experiment, key) if key else None
    if known is not None:
        mlflow.start_run(run_id=known.info.run_id)
    else:
        name = run_name or context.get_trial_name() or experiment_name
        own = {RUN_TAG: key} if key else {}
        mlflow.start_run(experiment_id=experiment, run_name=name, tags={**(tags or {}), **own})
    logged = known.data.params if known is not None else {}
    parameters = {_legal(name): as_text(value, _LONGEST) for name, value in parameters_of(config or {}).items()}
    mlflow.log_params({name: value for name, value in parameters.items() if name not in logged})
    return mlflow


def _experiment_id(client: Any, name: str | None, *, create: bool = True, location: str | None = None) -> str:
    known = client.get_experiment_by_name(name) if name else None
    if known is not None:
        return str(known.experiment_id)
    if not name or not create:
        raise ConfigurationError(
            f"MLflow has no experiment {name!r}, so no run was started. Make it, name another one with "
            "experiment_name=..., or pass create_experiment_if_not_exists=True."
        )
    return str(client.create_experiment(name, artifact_location=location))


def _find(client: Any, experiment_id: str, key: str) -> Any:
    """Return the run with that tag, or None."""
    found = client.search_runs([experiment_id], filter_string=f"tags.`{RUN_TAG}` = '{key}'", max_results=1)
    return found[0] if found else None


def _legal(name: str) -> str:
    """Return a name of which MLflow takes every character."""
    return _ILLEGAL.sub("_", name)


def _pieces(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
