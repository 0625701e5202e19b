"""What the loggers for experiment trackers share: one run of the tracker per trial, opened when it is needed.

A run's id follows from the experiment's name and the trial's id, so that a restored experiment goes on with the runs it
had. Loggers are told nothing of what the session before told already, so a run may be opened by any of a trial's
events, not only by its start; and nothing depends on `setup`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from perdure.loggers.base import LoggerCallback
from perdure.loggers.row import flat_of
from perdure.rows import flatten

if TYPE_CHECKING:
    from perdure.trial_view import TrialView

Run = TypeVar("Run")

NOT_METRICS = ("done", "should_checkpoint", "checkpoint_dir_name", "timestamp", "training_iteration")
"""Columns that say what a row is, not how the training goes."""
WHERE = ("trial_id", "experiment_tag", "node_ip", "hostname", "pid", "date")
"""Columns that say where and when a trial runs, by names under which trackers keep them apart from metrics."""


def run_key(experiment: str, trial_id: str) -> str:
    """Return 40 hexadecimal digits that name a trial in a tracker, the same in every session."""
    return hashlib.sha256(f"{experiment}\n{trial_id}".encode()).hexdigest()[:40]


def readable_run_id(experiment: str, trial_id: str) -> str:
    """Return the trial's id with eight digits of its experiment: short enough to read, unique in a shared project."""
    return f"{trial_id}-{run_key(experiment, trial_id)[:8]}"


def step_of(row: Mapping[str, Any]) -> int:
    """Return what trackers call the step of a row: `timesteps_total` if the trial reports it, else the iteration."""
    return int(row.get("timesteps_total") or row["training_iteration"])


def numbers_of(row: Mapping[str, Any]) -> dict[str, float | int]:
    """Return a row's metrics that are numbers, nested names joined by "/"; true and false count as 1 and 0."""
    return {
        name: int(value) if isinstance(value, bool) else value
        for name, value in flat_of(row).items()
        if name not in NOT_METRICS and name not in WHERE and isinstance(value, int | float)
    }


def parameters_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration as one level of names, joined by "/"."""
    return {name: value for name, value in flatten(config).items() if name != "callbacks"}


def as_text(value: Any, limit: int) -> str:
    """Return a value as text of at most `limit` characters."""
    text = str(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


class TrackerCallback(LoggerCallback, Generic[Run]):
    """Base of loggers that keep a run per trial in a tracker. A subclass says how a run is opened, fed and ended.

    Raises:
        ModuleNotFoundError: the tracker's library is not installed; the message says how to get it.
    """

    module: ClassVar[str] = ""
    """What must be installed, if anything."""
    extra: ClassVar[str] = ""
    """perdure's extra that installs it."""

    def __init__(self) -> None:
        if self.module and importlib.util.find_spec(self.module) is None:
            missing = f"{type(self).__name__} needs {self.module}, which is not installed"
            raise ModuleNotFoundError(f"{missing}{self._remedy()}", name=self.module)
        self._runs: dict[str, Run] = {}

    @classmethod
    def _remedy(cls) -> str:
        """Return how the message goes on that says that the library is not installed."""
        return f": pip install 'perdure[{cls.extra}]'."

    def _open(self, trial: TrialView) -> Run:
        """Return the trial's run: the one that an earlier session made, or a new one."""
        raise NotImplementedError

    def _start(self, run: Run, trial: TrialView) -> None:
        """An attempt of the trial has started; its configuration may be another one than before."""

    def _row(self, run: Run, trial: TrialView, row: dict[str, Any]) -> None:
        """Take in a row."""
        raise NotImplementedError

    def _save(self, run: Run, trial: TrialView) -> None:
        """A checkpoint was committed."""

    def _end(self, run: Run, trial: TrialView, *, failed: bool) -> None:
        """The trial is over."""
        raise NotImplementedError

    def _leave(self, run: Run) -> None:
        """The session ends, the trial will go on in another one."""
        raise NotImplementedError

    def log_trial_start(self, trial: TrialView) -> None:
        """Open the trial's run, and tell it the configuration."""
        self._start(self._run_of(trial), trial)

    def log_trial_result(self, iteration: int, trial: TrialView, result: dict[str, Any]) -> None:
        """Log a row."""
        self._row(self._run_of(trial), trial, result)

    def log_trial_save(self, trial: TrialView) -> None:
        """Log a checkpoint, if that was asked for; one that was retired before the logger came to it is gone."""
        if trial.checkpoint is None or os.path.isdir(trial.checkpoint.path):
            self._save(self._run_of(trial), trial)

    def log_trial_end(self, trial: TrialView, failed: bool = False) -> None:
        """End the trial's run."""
        run = self._run_of(trial)
        self._runs.pop(trial.trial_id)
        self._end(run, trial, failed=failed)

    def on_experiment_end(self, trials: Sequence[TrialView], **info: Any) -> None:
        """Leave the runs of trials that are not over, so that a restore can go on with them."""
        while self._runs:
            _, run = self._runs.popitem()
            self._leave(run)

    def _run_of(self, trial: TrialView) -> Run:
        run = self._runs.get(trial.trial_id)
        if run is None:
            run = self._runs[trial.trial_id] = self._open(trial)
        return run
