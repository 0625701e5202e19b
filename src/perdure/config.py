"""What a user may ask for: the configuration dataclasses under Ray Tune's names, with their defaults.

Each validates itself when it is made, so that a wrong value is refused before anything starts.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from perdure.arguments import a_kind, named_fields
from perdure.errors import ConfigurationError

if TYPE_CHECKING:  # names for annotations only: this module imports nothing above it
    from perdure.callbacks import Callback
    from perdure.executors.base import Executor
    from perdure.reporting.base import ProgressReporter
    from perdure.schedulers.base import TrialScheduler
    from perdure.searchers.base import Searcher

Mode = Literal["min", "max"]
EXECUTORS = ("local", "inline")
"""The names that `RunConfig(executor=...)` takes."""
StopRule = "Mapping[str, float] | Callable[[str, dict[str, Any]], bool] | Stopper | None"


def check_mode(mode: str | None, *, what: str = "mode") -> None:
    """Raise ConfigurationError unless `mode` is None, "min" or "max"."""
    if mode not in (None, "min", "max"):
        raise ConfigurationError(f'{what} must be "min" or "max", not {mode!r}.')


def _require(holds: bool, config: object, field: str, use: str) -> None:
    """Refuse the value of a field, saying what to use instead, unless `holds`."""
    if not holds:
        value = getattr(config, field)
        raise ConfigurationError(
            f"{type(config).__name__}({field}={value!r}): {use}"
            + ("." if isinstance(value, (bool, int, float, str, type(None))) else f", not {a_kind(value)}.")
        )


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_executor(choice: object) -> bool:
    """Whether `choice` has what is asked of an Executor; a class of them is none."""
    needed = ("setup", "start", "poll", "close")
    return not isinstance(choice, type) and all(callable(getattr(choice, name, None)) for name in needed)


def _is_duration(value: object) -> bool:
    """Whether `value` is a number of seconds above 0, or a timedelta of so many."""
    if isinstance(value, dt.timedelta):
        value = value.total_seconds()
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


@named_fields({"keep_checkpoints_num": "Use num_to_keep.", "checkpoint_freq": "Use checkpoint_frequency."})
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
        keep, attribute, frequency = self.num_to_keep, self.checkpoint_score_attribute, self.checkpoint_frequency
        _require(keep is None or _is_count(keep, 1), self, "num_to_keep", "keep at least 1 checkpoint, or None for all")
        _require(attribute is None or isinstance(attribute, str), self, "checkpoint_score_attribute", "name a metric")
        known = self.checkpoint_score_order in ("min", "max", None)
        _require(known, self, "checkpoint_score_order", 'use "min" or "max"')
        _require(frequency is None or _is_count(frequency, 0), self, "checkpoint_frequency", "use 0 (never) or more")
        _require(self.checkpoint_at_end in (True, False, None), self, "checkpoint_at_end", "use True or False")


@named_fields()
@dataclasses.dataclass
class FailureConfig:
    """What happens when a trial fails.

    Args:
        max_failures: Times a trial is retried from its latest checkpoint; -1 retries for ever.
        fail_fast: True ends the experiment at the first trial that ends in ERROR; "raise" also raises its
            exception, of the class that the trial raised.
        report_timeout_s: A trial that has not reported for so long is killed, which counts as a failure.
        max_trial_time_s: A trial whose attempts have run for so long in all is stopped.
        resources_after_oom: What a trial whose process ran out of memory is retried with: a dict of resources that
            replace those of the same names, or a function of its resources that returns all of them. It counts as
            a failure, so `max_failures` must allow the retry.
    """

    max_failures: int = 0
    fail_fast: bool | Literal["raise"] = False
    report_timeout_s: float | None = None
    max_trial_time_s: float | None = None
    resources_after_oom: Mapping[str, float] | Callable[[dict[str, float]], Mapping[str, float]] | None = None

    def __post_init__(self) -> None:
        _require(_is_count(self.max_failures, -1), self, "max_failures", "use -1 (for ever), 0 (never) or more")
        known = isinstance(self.fail_fast, bool) or self.fail_fast == "raise"
        _require(known, self, "fail_fast", 'use False, True or "raise"')
        if self.fail_fast and self.max_failures != 0:
            raise ConfigurationError(
                f"FailureConfig(fail_fast={self.fail_fast!r}, max_failures={self.max_failures}): an experiment that "
                "ends at the first failure has nothing to retry; leave max_failures at 0."
            )
        retried = self.resources_after_oom
        usable = retried is None or isinstance(retried, Mapping) or callable(retried)
        _require(usable, self, "resources_after_oom", "use a dict of resources, or a function of them")
        for name in ("report_timeout_s", "max_trial_time_s"):
            value = getattr(self, name)
            _require(value is None or _is_duration(value), self, name, "use a number of seconds above 0")


@named_fields({"upload_dir": "Use RunConfig(storage_path=...).", "syncer": "Leave it out: nothing is synced."})
@dataclasses.dataclass
class SyncConfig:
    """Accepted for scripts that come from Ray Tune; perdure writes to the storage itself and never syncs copies."""

    sync_period: int = 300
    sync_timeout: int = 1800
    sync_artifacts: bool = False
    sync_artifacts_on_checkpoint: bool = True

    def __post_init__(self) -> None:
        """Say so where it is made, and not where a configuration that has it is copied."""
        warnings.warn(
            "SyncConfig is accepted and ignored: perdure writes to the storage itself, so there is nothing to sync. "
            "Remove it, and RunConfig(sync_config=...).",
            stacklevel=4,
        )


class ResumeType(str, enum.Enum):
    """What a restored experiment does with a trial."""

    SKIP = "skip"
    RESUME = "resume"
    RESTART = "restart"


@named_fields()
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


@named_fields()
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
        many = self.num_samples == -1 or _is_count(self.num_samples, 1)
        _require(many, self, "num_samples", "use 1 or more, or -1 for ever")
        _require(self.metric is None or isinstance(self.metric, str), self, "metric", "name a reported metric")
        _require(self.seed is None or isinstance(self.seed, int), self, "seed", "use an integer")
        budget = self.time_budget_s
        _require(budget is None or _is_duration(budget), self, "time_budget_s", "use seconds above 0, or a timedelta")
        for name in ("trial_name_creator", "trial_dirname_creator"):
            _require(getattr(self, name) is None or callable(getattr(self, name)), self, name, "use a function")
        if self.chdir_to_trial_dir not in (None, True, "DEPRECATED"):
            raise ConfigurationError(
                f"TuneConfig(chdir_to_trial_dir={self.chdir_to_trial_dir!r}) is gone, as in Ray Tune: set the "
                "environment variable RAY_CHDIR_TO_TRIAL_DIR=0 to keep the working directory."
            )
        limit = self.max_concurrent_trials
        _require(self.reuse_actors in (True, False, None), self, "reuse_actors", "use True or False")
        fits = limit is None or _is_count(limit, 0 if self.search_alg else -1)
        _require(fits, self, "max_concurrent_trials", "use 1 or more, or None for no limit")


@named_fields({"upload_dir": "Use storage_path.", "checkpoint_freq": "Use CheckpointConfig(checkpoint_frequency=...)."})
@dataclasses.dataclass
class RunConfig:
    """Where an experiment lives and how it is run.

    Args:
        name: The experiment's name, the last part of its directory; made from the trainable and the time if None.
        storage_path: Directory (or URI) that holds experiments; default `~/perdure_results`, or the environment
            variable PERDURE_STORAGE_PATH.
        storage_filesystem: A pyarrow file system for `storage_path`.
        failure_config, checkpoint_config, sync_config: see these classes.
        verbose: 0 (or False) prints nothing, 1 (or True, or None) the table, 2 also each result with its first six
            metrics and each end, pause and going on of a trial, 3 the results with all of their metrics.
        stop: dict of metric thresholds, function(trial_id, result) -> bool, or Stopper.
        callbacks: Callback and LoggerCallback objects.
        progress_reporter: What prints the progress; None chooses by where the output goes.
        log_to_file: True writes `stdout` and `stderr` of each trial to its directory; a name, or a pair of names.
        resume: "auto" goes on with the experiment of this `name`, which it then needs, if there is one and starts it
            if there is none; False refuses to touch an existing one. A ResumeConfig is "auto", and says which trials of
            it run again.
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
    resume: Literal["auto"] | bool | ResumeConfig = False
    durability: Literal["default", "strict"] = "default"
    executor: Executor | str = "local"

    def __post_init__(self) -> None:
        if self.failure_config is None:
            self.failure_config = FailureConfig()
        if self.checkpoint_config is None:
            self.checkpoint_config = CheckpointConfig()
        for name, expected in (("failure_config", FailureConfig), ("checkpoint_config", CheckpointConfig)):
            _require(isinstance(getattr(self, name), expected), self, name, f"use a {expected.__name__}")
        if self.local_dir is not None:
            raise ConfigurationError("RunConfig(local_dir=...) is gone; use storage_path.")
        _require(self.durability in ("default", "strict"), self, "durability", 'use "default" or "strict"')
        known = isinstance(self.resume, ResumeConfig) or self.resume in ("auto", False, True)
        _require(known, self, "resume", 'use "auto", True, False or a ResumeConfig')
        named = _names_a_directory(self.name)
        _require(named, self, "name", "use a name of one directory, without '/', of at most 255 bytes")
        path = self.storage_path
        _require(path is None or isinstance(path, (str, os.PathLike)), self, "storage_path", "use a path")
        stop = self.stop
        reporter = self.progress_reporter
        reports = reporter is None or (callable(getattr(reporter, "report", None)) and not isinstance(reporter, type))
        _require(reports, self, "progress_reporter", "use a ProgressReporter object, such as CLIReporter()")
        shaped = stop is None or isinstance(stop, (Mapping, list)) or callable(stop)  # the rest where it is looked into
        use = "use a dict of thresholds, a function(trial_id, result) -> bool, a Stopper, or a list of Stoppers"
        _require(shaped, self, "stop", use)
        known = is_executor(self.executor) or self.executor in EXECUTORS
        _require(known, self, "executor", 'use "local", "inline", or an Executor object')
        known = self.verbose is None or (isinstance(self.verbose, int) and 0 <= self.verbose <= 3)
        _require(known, self, "verbose", "use 0, 1, 2 or 3")
        _check_callbacks(self.callbacks)
        _require(_names_files(self.log_to_file), self, "log_to_file", "use True, a file name, or a pair of them")


def _names_a_directory(name: object) -> bool:
    if name is None:
        return True
    if not isinstance(name, str) or name in ("", ".", ".."):
        return False
    return not {"/", "\0"} & {*name} and len(os.fsencode(name)) < 256


def _check_callbacks(callbacks: object) -> None:
    """Refuse what is no list of Callback objects, naming the one that is none."""
    if callbacks is None:
        return
    if not isinstance(callbacks, (list, tuple)):
        raise ConfigurationError(f"RunConfig(callbacks={callbacks!r}): use a list of Callback objects.")
    for callback in callbacks:
        if isinstance(callback, type) or not callable(getattr(callback, "on_trial_result", None)):
            use = f"write {callback.__name__}(...)" if isinstance(callback, type) else "derive it from tune.Callback"
            raise ConfigurationError(f"RunConfig(callbacks=...): {callback!r} is no Callback object; {use}.")


def _names_files(choice: object) -> bool:
    pair = choice if isinstance(choice, (list, tuple)) else (choice, choice)
    return isinstance(choice, bool) or (len(pair) == 2 and all(isinstance(name, str) and name for name in pair))
