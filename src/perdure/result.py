"""`Result`: what one trial came to, under Ray Tune's name. It is a view of the journal's fold, and reads lazily."""

from __future__ import annotations

import functools
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure import errors
from perdure.checkpoint import Checkpoint
from perdure.config import check_mode
from perdure.core.events import CheckpointInfo, Decision, ErrorInfo, Reported
from perdure.core.state import Status
from perdure.errors import (
    ExperimentNotFoundError,
    NoBestTrialError,
    TrialFailedError,
)
from perdure.frames import Table
from perdure.frames import table as table_of
from perdure.history import AttemptHistory, LineageStep, TrialHistory, read_experiment
from perdure.journal.values import dict_from_data, has_objects
from perdure.relocation import attribute_error
from perdure.rows import AUTO_FILLED, RowOrigin, expand_row, flatten
from perdure.scores import better, number_at
from perdure.soundness import Soundness
from perdure.storage.uri import parse_storage_path
from perdure.trainable.failure import ERROR_PICKLE, check_exception

if TYPE_CHECKING:
    import pandas as pd

ObjectLoader = Callable[[str], Mapping[str, object]]
"""Given a trial's directory name, loads the objects of its configuration (`params.pkl`)."""


class Result:
    """What one trial came to.

    Args:
        trial: The trial's history.
        path: The experiment's directory.
        load_objects: Loads the objects of a configuration. Without it they appear as their reprs, because reading
            an experiment never unpickles; `fit` and `restore` pass it.
    """

    def __init__(self, trial: TrialHistory, *, path: str, load_objects: ObjectLoader | None = None) -> None:
        self._trial = trial
        self._experiment_path = path
        self._load_objects = load_objects
        self._soundness = Soundness(trial, path)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            """Say what replaced attributes that results had in older releases of Ray."""
            raise attribute_error(self, name, {"log_dir": "use path", "dataframe": "use metrics_dataframe"})

    @property
    def path(self) -> str:
        """The trial's directory."""
        return os.path.join(self._experiment_path, self._trial.directory)

    @property
    def filesystem(self) -> Any:
        """The pyarrow file system that `path` is on; None where pyarrow is not installed."""
        return local_filesystem()

    @property
    def trial_id(self) -> str:
        """The trial's id."""
        return self._trial.id

    @property
    def status(self) -> str:
        """PENDING, RUNNING, PAUSED, TERMINATED or ERROR."""
        return self._trial.status.value

    @functools.cached_property
    def metrics(self) -> dict[str, Any]:
        """The trial's last row, nested as it was reported, with the columns Ray Tune fills in; empty without one."""
        row = self._trial.last_row()
        if row is None:
            return {}
        metrics = self._expand(row)
        if self._trial.status is Status.TERMINATED:
            metrics["done"] = True
        metrics["experiment_tag"] = self._trial.tag
        return metrics

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        """The trial's configuration. Objects in it are their reprs unless the result came from `fit` or `restore`."""
        return self._decode(self._trial.config)

    @functools.cached_property
    def lineage(self) -> list[LineageStep]:
        """How what the trial is now was trained, as (segment, donor, checkpoint, iteration, config) steps.

        The first is its own beginning. Each further one is where it went on from the checkpoint of another trial, as
        in population-based training, or with another configuration.
        """
        return [step._replace(config=self._decode(step.config)) for step in self._trial.lineage()]

    @functools.cached_property
    def error(self) -> Exception | None:
        """Why the trial ended in ERROR, with the user's traceback as its message; None if it did not."""
        info = self._trial.error
        if self._trial.status is not Status.ERROR or info is None:
            return None
        error = exception_of(info, self._trial)
        if self._load_objects is not None:
            error.__cause__ = users_exception(self.path)
        return error

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The trial's newest good checkpoint; a damaged one is passed over, with a warning.

        Of each, the sizes of all files are compared with what was committed. One that was not known to have reached
        the disk when the machine went down is compared byte by byte, once; `perdure verify` does so with all.
        """
        infos = reversed(self._trial.checkpoints.values())
        return next((self._handle(info) for info in infos if self._soundness.is_good(info)), None)

    @functools.cached_property
    def best_checkpoints(self) -> list[tuple[Checkpoint, dict[str, Any]]]:
        """The good checkpoints that were kept, oldest first, each with the row it was saved with; see `checkpoint`."""
        infos = self._trial.checkpoints.values()
        return [(self._handle(info), self._metrics_of(info)) for info in infos if self._soundness.is_good(info)]

    @functools.cached_property
    def metrics_dataframe(self) -> pd.DataFrame:
        """All rows of the trial, nested metrics flattened with "/", and its configuration as `config/...`.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        return self.get_dataframe()

    def get_dataframe(self, *, library: str = "pandas") -> Any:
        """Return `metrics_dataframe` as a dataframe of "pandas" or "polars", or a table of "pyarrow".

        Raises:
            ModuleNotFoundError: the library is not installed.
        """
        return self._table().make(library)

    def _table(self) -> Table:
        trial = self._trial
        rows = list(trial.rows())
        return table_of([({trial.id: trial}, rows)] if rows else [], self._config_of)

    def get_best_checkpoint(self, metric: str, mode: str) -> Checkpoint | None:
        """Return the kept checkpoint whose row has the best `metric`; None if no checkpoint was kept.

        Args:
            metric: A reported metric; a nested one is named with "/".
            mode: "min" or "max".

        Raises:
            NoBestTrialError: no row of a kept checkpoint has the metric; the message names what they have.
        """
        check_mode(mode)
        if not self.best_checkpoints:
            return None
        best: tuple[float, Checkpoint] | None = None
        for checkpoint, metrics in self.best_checkpoints:
            value = number_at(metrics, metric)
            if value is not None and (best is None or better(value, best[0], mode)):
                best = (value, checkpoint)
        if best is None:
            known = ", ".join(sorted({name for _, metrics in self.best_checkpoints for name in flatten(metrics)}))
            raise NoBestTrialError(
                f"No kept checkpoint of trial {self._trial.name} was saved with a number {metric!r}. Reported: {known}."
            )
        return best[1]

    @classmethod
    def from_path(cls, path: str | os.PathLike[str], storage_filesystem: Any = None) -> Result:
        """Return the result of the trial whose directory is at `path`, inside its experiment's directory.

        Raises:
            ExperimentNotFoundError: there is no trial of an experiment at `path`.
        """
        directory = parse_storage_path(path)
        if not directory.is_dir():
            raise ExperimentNotFoundError(f"There is no trial at {directory}: the directory does not exist.")
        history = read_experiment(directory.parent)
        for trial in history.trials.values():
            if trial.directory == directory.name:
                return cls(trial, path=str(directory.parent))
        raise ExperimentNotFoundError(
            f"There is no trial at {directory}: the journal of {directory.parent} knows no trial of that directory. "
            "Pass a trial's directory (Result.path), not the experiment's."
        )

    # --- how it is read

    def _expand(self, row: Reported) -> dict[str, Any]:
        attempt = self._trial.attempt_of(row)
        origin: RowOrigin = attempt.origin(self._trial.id, self._config_of(self._trial, attempt))
        return expand_row(origin, row, done=row.decision is Decision.STOP)

    def _decode(self, data: dict[str, object]) -> dict[str, Any]:
        if self._load_objects is not None and has_objects(data):
            return dict_from_data(data, self._load_objects(self._trial.directory))
        return dict_from_data(data)

    def _config_of(self, trial: TrialHistory, attempt: AttemptHistory) -> dict[str, Any]:
        return self.config if attempt.config == trial.config else self._decode(attempt.config)

    def _handle(self, info: CheckpointInfo) -> Checkpoint:
        return Checkpoint(os.path.join(self.path, info.directory))

    def _metrics_of(self, info: CheckpointInfo) -> dict[str, Any]:
        row = self._trial.row(info.segment, info.iteration)
        return {} if row is None else self._expand(row)

    def __repr__(self) -> str:
        row = self._trial.last_row()  # without the objects of the configuration, which may be damaged
        metrics = {} if row is None else self._trial.expand(row)
        shown = {name: value for name, value in metrics.items() if name not in _NOT_SHOWN}
        error = "" if self.error is None else f"\n  error={type(self.error).__name__!r},"
        return f"Result({error}\n  metrics={shown},\n  path={self.path!r},\n  checkpoint={self.checkpoint}\n)"


_NOT_SHOWN = frozenset((*AUTO_FILLED, "experiment_tag"))


def exception_of(info: ErrorInfo, trial: TrialHistory) -> Exception:
    """Return a journaled error as an exception whose message names the trial and is, or has, the user's traceback."""
    text = info.traceback.rstrip() or f"{info.kind}: {info.message}"
    kind = getattr(errors, info.kind, None)
    if isinstance(kind, type) and issubclass(kind, errors.PerdureError):
        message = info.message or text
        made = kind(message if trial.id in message or trial.name in message else f"Trial {trial.name}: {message}")
        assert isinstance(made, Exception)
        return made
    return TrialFailedError(f"Trial {trial.name} failed:\n{text}")


def users_exception(directory: str | os.PathLike[str]) -> BaseException | None:
    """Unpickle the very exception that the user's code raised in a trial, where it can be had."""
    try:
        cause = pickle.loads(check_exception(Path(directory, ERROR_PICKLE)))
    except Exception:  # none, a damaged one; and a class that is not importable here raises whatever it likes
        return None
    return cause if isinstance(cause, BaseException) else None


def local_filesystem() -> Any:
    """Return pyarrow's local file system, or None where pyarrow is not installed."""
    try:
        from pyarrow import fs
    except ModuleNotFoundError:
        return None
    return fs.LocalFileSystem()
