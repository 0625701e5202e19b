"""What plugins and callbacks see of a trial: a read-only view under the attribute names they know from Ray Tune."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from perdure.relocation import attribute_error

if TYPE_CHECKING:
    from perdure.checkpoint import Checkpoint

_NONE: Mapping[str, Any] = {}
_joined = functools.lru_cache(maxsize=256)(os.path.join)  # a path is asked for several times in a row
_ROWS = "use ResultGrid: get_best_result(metric, mode, scope) of all rows, or metrics_dataframe of a Result"
_OLDER = {
    "metric_analysis": _ROWS,
    "metric_n_steps": _ROWS,
    "has_checkpoint": "look whether checkpoint is None",
    "has_reported_at_least_once": "look whether last_result is empty",
    "latest_checkpoint_result": "use best_checkpoints of a Result, each with its metrics",
    "get_error": "use error of a Result, or read error_file",
    "get_pickled_error": "use error of a Result",
    "placement_group_factory": "use resources",
    "node_ip": "use last_result['node_ip']",
    "custom_dirname": "use directory",
    "init_logdir": "leave it out: the directory is there",
}
"""What to use in place of attributes that Ray's trials have, and these views do not."""


class TrialView:
    """One trial, as searchers, schedulers, stoppers, callbacks and loggers are shown it.

    The view is filled in by whoever hands it out; setting an attribute on it changes nothing but the view. There is
    one for each unfinished trial, so it is small: what many trials have in common is held once, and copied when it is
    asked for.

    Args:
        config: The configuration; it becomes the view's own.
        evaluated_params: The searched parameters; may be `config` itself.
        directory: Name of the trial's directory in `experiment_path`.
        resources: What the trial has; may be shared with other trials.
        has_objects: The configuration holds what JSON cannot, and the runner has stored it.
    """

    __slots__ = (
        "__dict__",
        "_evaluated",
        "_resources",
        "checkpoint",
        "config",
        "directory",
        "error_file",
        "experiment_path",
        "experiment_tag",
        "has_objects",
        "last_result",
        "num_failures",
        "number",
        "status",
        "trainable_name",
        "trial_id",
        "trial_name",
    )

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    TERMINATED = "TERMINATED"
    ERROR = "ERROR"

    def __init__(
        self,
        *,
        trial_id: str,
        trial_name: str,
        number: int = 0,
        config: dict[str, Any] | None = None,
        evaluated_params: Mapping[str, Any] | None = None,
        experiment_tag: str = "",
        experiment_path: str = "",
        directory: str = "",
        trainable_name: str = "",
        resources: Mapping[str, float] | None = None,
        status: str = "PENDING",
        has_objects: bool = False,
    ) -> None:
        self.trial_id = trial_id
        self.trial_name = trial_name
        self.number = number
        self.config = {} if config is None else config
        self._evaluated = evaluated_params or _NONE
        self.experiment_tag = experiment_tag
        self.experiment_path = experiment_path
        self.directory = directory
        self.trainable_name = trainable_name
        self._resources = resources or _NONE
        self.status = status
        self.has_objects = has_objects
        self.last_result: dict[str, Any] = {}
        self.checkpoint: Checkpoint | None = None
        self.num_failures = 0
        self.error_file: str | None = None

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            """Say what to use instead of attributes that Ray's trials have."""
            raise attribute_error(self, name, _OLDER)

    @property
    def evaluated_params(self) -> dict[str, Any]:
        """The searched parameters, flattened with "/": a copy."""
        return dict(self._evaluated)

    @evaluated_params.setter
    def evaluated_params(self, params: Mapping[str, Any]) -> None:
        self._evaluated = params

    @property
    def resources(self) -> dict[str, float]:
        """What the trial has: a copy."""
        return dict(self._resources)

    @resources.setter
    def resources(self, resources: Mapping[str, float]) -> None:
        self._resources = resources

    @property
    def path(self) -> str:
        """Absolute path of the trial's directory."""
        return _joined(self.experiment_path, self.directory) if self.directory else ""

    @path.setter
    def path(self, path: str) -> None:
        self.directory = path

    @property
    def local_path(self) -> str:
        """Absolute path of the trial's directory."""
        return self.path

    @property
    def logdir(self) -> str:
        """Absolute path of the trial's directory, under its older name."""
        return self.path

    @property
    def local_dir(self) -> str:
        """Absolute path of the experiment's directory."""
        return self.experiment_path

    @property
    def local_experiment_path(self) -> str:
        """Absolute path of the experiment's directory."""
        return self.experiment_path

    @property
    def experiment_dir_name(self) -> str:
        """Name of the experiment's directory."""
        return os.path.basename(self.experiment_path)

    @property
    def relative_logdir(self) -> str:
        """Name of the trial's directory."""
        return os.path.basename(self.path)

    def init_local_path(self) -> None:
        """Make the trial's directory, as loggers written for Ray do first; here it is there before they are told."""
        os.makedirs(self.path, exist_ok=True)

    def is_finished(self) -> bool:
        """Whether the trial is TERMINATED or in ERROR."""
        return self.status in (self.TERMINATED, self.ERROR)

    def __str__(self) -> str:
        return self.trial_name

    def __repr__(self) -> str:
        return f"<TrialView {self.trial_name} {self.status}>"

    def __hash__(self) -> int:
        return hash(self.trial_id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TrialView) and other.trial_id == self.trial_id
