"""What a user may ask for: the configuration dataclasses under Ray Tune's names, with their defaults.

Each validates itself when it is made, so that a wrong value is refused before anything starts.
"""

from __future__ import annotations

import dataclasses
import enum
import os
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from perdure.errors import ConfigurationError

if TYPE_CHECKING:  # names for annotations only: this module imports nothing above it
    from perdure.callbacks import Callback
    from perdure.executors.base import Executor
    from perdure.reporting.base import ProgressReporter
    from perdure.schedulers.base import TrialScheduler
    from perdure.searchers.base import Searcher

Mode = Literal["min", "max"]
StopRule = "Mapping[str, float] | Callable[[str, dict[str, Any]], bool] | Stopper | None"


def check_mode(mode: str | None, *, what: str = "mode") -> None:
    """Raise ConfigurationError unless `mode` is None, "min" or "max"."""
    if mode not in (None, "min", "max"):
        raise ConfigurationError(f'{what} must be "min" or "max", not {mode!r}.')


@dataclasses.dataclass
class CheckpointConfig:
    """How many checkpoints of each trial are kept, which ones, and when a class trainable saves.

    Args:
        num_to_keep: Checkpoints kept per trial, at least 1; None keeps all. The latest checkpoint of a trial
            is kept besides, so up to `num_to_keep + 1` folders may exist.
        checkpoint_score_attribute: Metric by which the best are chosen; None keeps the most recent.
        checkpoint_score_order: "max" (a higher score is better) or "min".
        checkpoint_frequency: A class trainable saves every so many iterations; 0 never does. Class trainables only.
        checkpoint_at_end: A class trainable saves when it ends; None means True. Class trainables only.

    Raises:
        ConfigurationError: a value is out of range.
    """

    num_to_keep: int | None = None
    checkpoint_score_attribute: str | None = None
    checkpoint_score_order: Literal["min", "max"] | None = "max"
    checkpoint_frequency: int | None = 0
    checkpoint_at_end: bool | None = None

    def __post_init__(self) -> None:
        if self.num_to_keep is not None and (not isinstance(self.num_to_keep, int) or self.num_to_keep < 1):
            raise ConfigurationError(
                f"CheckpointConfig(num_to_keep={self.num_to_keep!r}): keep at least 1 checkpoint, or None for all."
            )
        if self.checkpoint_score_order not in ("min", "max", None):
            raise ConfigurationError(
                f'CheckpointConfig(checkpoint_score_order={self.checkpoint_score_order!r}): use "min" or "max".'
            )
        if self.checkpoint_frequency is not None and self.checkpoint_frequency < 0:
            raise ConfigurationError(
                f"CheckpointConfig(checkpoint_frequency={self.checkpoint_frequency!r}): use 0 (never) or more."
            )


@dataclasses.dataclass
class FailureConfig:
    """What happens when a trial fails.

    Args:
        max_failures: Times a trial is retried from its latest checkpoint; -1 retries for ever.
        fail_fast: True ends the experiment at the first trial that ends in ERROR; "raise" also raises its exception.
        report_timeout_s: A trial that has not reported for so long is killed, which counts as a failure.
        max_trial_time_s: A trial whose attempts have run for so long in all is stopped.
    """

    max_failures: int = 0
    fail_fast: bool | Literal["raise"] = False
    report_timeout_s: float | None = None
    max_trial_time_s: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.max_failures, int) or self.max_failures < -1:
            raise ConfigurationError(
                f"FailureConfig(max_failures={self.max_failures!r}): use -1 (for ever), 0 (never) or more."
            )
        if not (isinstance(self.fail_fast, bool) or self.fail_fast == "raise"):
            raise ConfigurationError(f'FailureConfig(fail_fast={self.fail_fast!r}): use False, True or "raise".')
        if self.fail_fast and self.max_failures != 0:
            raise ConfigurationError(
                f"FailureConfig(fail_fast={self.fail_fast!r}, max_failures={self.max_failures}): an experiment that "
                "ends at the first failure has nothing to retry; leave max_failures at 0."
            )
        for name in ("report_timeout_s", "max_trial_time_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigurationError(f"FailureConfig({name}={value!r}): use a number of seconds above 0.")


@dataclasses.dataclass
class SyncConfig:
    """Accepted for scripts that come from Ray Tune; perdure writes to the storage itself and never syncs copies."""

    sync_period: int = 300
    sync_timeout: int = 1800
    sync_artifacts: bool = False
    sync_artifacts_on_checkpoint: bool = True


class ResumeType(str, enum.Enum):
    """What a restored experiment does with a trial."""

    SKIP = "skip"
    RESUME = "resume"
    RESTART = "restart"


@dataclasses.dataclass
class ResumeConfig:
    """What a restored experiment does with its trials, by how they ended."""

    finished: ResumeType | str = ResumeType.SKIP
    unfinished: ResumeType | str = ResumeType.RESUME
    errored: ResumeType | str = ResumeType.SKIP

    ResumeType = ResumeType

    def __post_init__(self) -> None:
        for name in ("finished", "unfinished", "errored"):
            value = getattr(self, name)
            try:
                setattr(self, name, ResumeType(value))
            except ValueError:
                raise ConfigurationError(
                    f'ResumeConfig({name}={value!r}): use "skip", "resume" or "restart".'
                ) from None


@dataclasses.dataclass
class TuneConfig:
    """How trials are chosen and scheduled.

    Args:
        metric: The reported metric to optimise; None if no part needs one.
        mode: "min" or "max".
        search_alg: A Searcher, or its name; None is random and grid search.
        scheduler: A TrialScheduler, or its name; None runs every trial to its end, first come first served.
        num_samples: How often the search space is sampled; -1 for ever, until another limit.
        max_concurrent_trials: Most trials that run at a time; None or 0 for as many as the resources allow.
        time_budget_s: Seconds (or timedelta) of running time, over all sessions, after which trials are stopped.
        reuse_actors: Run one trial after another in the same process.
        trial_name_creator: Function of a trial that gives its name.
        trial_dirname_creator: Function of a trial that gives the name of its directory.
        seed: Makes every draw of the search reproducible, and seeds `random` (and NumPy where loaded) in each trial.
    """

    mode: Mode | None = None
    metric: str | None = None
    search_alg: Searcher | str | None = None
    scheduler: TrialScheduler | str | None = None
    num_samples: int = 1
    max_concurrent_trials: int | None = None
    time_budget_s: Any = None
    reuse_actors: bool = False
    trial_name_creator: Callable[[Any], str] | None = None
    trial_dirname_creator: Callable[[Any], str] | None = None
    chdir_to_trial_dir: bool | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        check_mode(self.mode, what="TuneConfig.mode")
        if not isinstance(self.num_samples, int) or (self.num_samples < 1 and self.num_samples != -1):
            raise ConfigurationError(f"TuneConfig(num_samples={self.num_samples!r}): use 1 or more, or -1 for ever.")
        if self.chdir_to_trial_dir not in (None, True, "DEPRECATED"):
            raise ConfigurationError(
                f"TuneConfig(chdir_to_trial_dir={self.chdir_to_trial_dir!r}) is gone, as in Ray Tune: set the "
                "environment variable RAY_CHDIR_TO_TRIAL_DIR=0 to keep the working directory."
            )
        limit = self.max_concurrent_trials
        if limit is not None and (not isinstance(limit, int) or limit < -1 or (limit == -1 and self.search_alg)):
            raise ConfigurationError(
                f"TuneConfig(max_concurrent_trials={limit!r}): use 1 or more, or None for no limit."
            )


@dataclasses.dataclass
class RunConfig:
    """Where an experiment lives and how it is run.

    Args:
        name: The experiment's name, the last part of its directory; made from the trainable and the time if None.
        storage_path: Directory (or URI) that holds experiments; default `~/perdure_results`, or the environment
            variable PERDURE_STORAGE_PATH.
        storage_filesystem: A pyarrow file system for `storage_path`.
        failure_config, checkpoint_config, sync_config: see these classes.
        verbose: 0 prints nothing, 1 the table, 2 and 3 also each result.
        stop: dict of metric thresholds, function(trial_id, result) -> bool, or Stopper.
        callbacks: Callback and LoggerCallback objects.
        progress_reporter: What prints the progress; None chooses by where the output goes.
        log_to_file: True writes `stdout` and `stderr` of each trial to its directory; a name, or a pair of names.
        resume: "auto" goes on with the experiment of this name if there is one and starts it if there is none;
            False refuses to touch an existing one.
        durability: "default" survives the kill of any process; "strict" also waits for the disk at every report.
        executor: "local" (a process per trial attempt), "inline" (in this process, for debugging), or an Executor.
    """

    name: str | None = None
    storage_path: str | os.PathLike[str] | None = None
    storage_filesystem: Any = None
    failure_config: FailureConfig = dataclasses.field(default_factory=FailureConfig)
    checkpoint_config: CheckpointConfig = dataclasses.field(default_factory=CheckpointConfig)
    sync_config: SyncConfig | None = None
    verbose: int | None = None
    stop: Any = None
    callbacks: Sequence[Callback] | None = None
    progress_reporter: ProgressReporter | None = None
    log_to_file: bool | str | tuple[str, str] = False
    local_dir: str | None = None
    resume: Literal["auto"] | bool = False
    durability: Literal["default", "strict"] = "default"
    executor: Executor | str = "local"

    def __post_init__(self) -> None:
        if self.failure_config is None:
            self.failure_config = FailureConfig()
        if self.checkpoint_config is None:
            self.checkpoint_config = CheckpointConfig()
        for name, expected in (("failure_config", FailureConfig), ("checkpoint_config", CheckpointConfig)):
            value = getattr(self, name)
            if not isinstance(value, expected):
                raise ConfigurationError(
                    f"RunConfig({name}={value!r}): expected a {expected.__name__}, not a {type(value).__name__}."
                )
        if self.sync_config is not None:
            warnings.warn(
                "RunConfig(sync_config=...) is accepted and ignored: perdure writes to the storage itself, so there is "
                "nothing to sync. Remove it.",
                stacklevel=3,
            )
        if self.local_dir is not None:
            raise ConfigurationError("RunConfig(local_dir=...) is gone; use storage_path.")
        if self.durability not in ("default", "strict"):
            raise ConfigurationError(f'RunConfig(durability={self.durability!r}): use "default" or "strict".')
        if self.resume not in ("auto", False, True):
            raise ConfigurationError(f'RunConfig(resume={self.resume!r}): use "auto", True or False.')
        if self.name is not None and (not self.name or "/" in self.name or self.name in (".", "..")):
            raise ConfigurationError(f"RunConfig(name={self.name!r}): use a name that is one directory, without '/'.")
