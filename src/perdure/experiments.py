"""`tune.run`, `tune.run_experiments` and `tune.Experiment`: the older way to start, under Ray Tune's names.

Each is a Tuner whose arguments are spelled otherwise, so all that holds for a Tuner holds here: the same directory, the
same journal, and `Tuner.restore(path, trainable)` goes on with it. New code uses the Tuner.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import functools
import inspect
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from perdure.analysis import ExperimentAnalysis
from perdure.arguments import a_kind, named
from perdure.config import CheckpointConfig, FailureConfig, ResumeConfig, ResumeType, RunConfig, SyncConfig, TuneConfig
from perdure.errors import ConfigurationError, TrialFailedError
from perdure.stoppers.base import Stopper
from perdure.stoppers.resolve import resolve_stopper
from perdure.storage.uri import parse_storage_path
from perdure.trainable.base import trainable_name
from perdure.trainable.registry import register_trainable, resolve_trainable
from perdure.trainable.wrappers import ResourceRequest, with_resources
from perdure.trial_view import TrialView
from perdure.tuner import Tuner

if TYPE_CHECKING:
    from perdure.callbacks import Callback
    from perdure.reporting.base import ProgressReporter
    from perdure.result_grid import ResultGrid
    from perdure.schedulers.base import TrialScheduler
    from perdure.searchers.base import Searcher

StopRule = Mapping[str, Any] | Callable[[str, dict[str, Any]], bool] | Stopper | None
_DEPRECATED = ("keep_checkpoints_num", "checkpoint_score_attr", "checkpoint_freq", "checkpoint_at_end")
"""Arguments of `run` in place of `checkpoint_config`."""
_LEAVE_OUT = "Leave it out: there is no cluster."
_OLDER = {
    "upload_dir": "Use storage_path.",
    "loggers": "Use callbacks=[...], with objects of perdure.tune.logger; the usual files are written without.",
    "trial_resources": "Use resources_per_trial.",
    "trial_executor": _LEAVE_OUT,
    "queue_trials": _LEAVE_OUT,
    "ray_auto_init": _LEAVE_OUT,
    "with_server": "Leave it out: perdure ls, show and stop look at an experiment and change it while it runs.",
    "server_port": "Leave it out: perdure ls, show and stop look at an experiment and change it while it runs.",
    "sync_to_driver": "Leave it out: nothing is synced.",
    "sync_to_cloud": "Leave it out: nothing is synced.",
    "sync_on_checkpoint": "Leave it out: nothing is synced.",
    "global_checkpoint_period": "Leave it out: every row is journaled.",
    "run_errored_only": 'Use resume="AUTO+ERRORED_ONLY".',
}
"""What to write in place of arguments of `run` in older releases of Ray Tune."""
_NAMED = 5
"""Failed trials that an error names."""


class Experiment:
    """What `run` or `run_experiments` is to run, and where it is to live.

    Args:
        name: The experiment's name, the last part of its directory.
        run: The trainable: a function, a class derived from Trainable, or the name of a registered one.
        stop: As in RunConfig.
        time_budget_s: As in TuneConfig.
        config: The search space.
        resources_per_trial: What each trial needs, as in `tune.with_resources`.
        num_samples: As in TuneConfig.
        storage_path: As in RunConfig.
        storage_filesystem: As in RunConfig.
        sync_config: Accepted and ignored.
        checkpoint_config: As in RunConfig; or a dict of its arguments.
        trial_name_creator: As in TuneConfig.
        trial_dirname_creator: As in TuneConfig.
        log_to_file: As in RunConfig.
        export_formats: Not offered: call `export_model` in the trainable.
        max_failures: As in FailureConfig.
        restore: Not offered: load the checkpoint in the trainable.
        local_dir: Gone, as in Ray Tune.

    Raises:
        UserError: an argument cannot work.
    """

    PUBLIC_KEYS = frozenset({"stop", "num_samples", "time_budget_s"})

    def __init__(
        self,
        name: str | None,
        run: Any,
        *,
        stop: StopRule = None,
        time_budget_s: float | dt.timedelta | None = None,
        config: Mapping[str, Any] | None = None,
        resources_per_trial: ResourceRequest | None = None,
        num_samples: int = 1,
        storage_path: str | os.PathLike[str] | None = None,
        storage_filesystem: Any = None,
        sync_config: SyncConfig | Mapping[str, Any] | None = None,
        checkpoint_config: CheckpointConfig | Mapping[str, Any] | None = None,
        trial_name_creator: Callable[[Any], str] | None = None,
        trial_dirname_creator: Callable[[Any], str] | None = None,
        log_to_file: bool | str | tuple[str, str] = False,
        export_formats: Sequence[str] | None = None,
        max_failures: int = 0,
        restore: str | None = None,
        local_dir: str | None = None,
    ) -> None:
        _refuse("export_formats", export_formats, "call self.export_model(...) in the trainable's cleanup()")
        _refuse(
            "restore",
            restore,
            "load it in the trainable, with Checkpoint.from_directory(path); to go on with an experiment: "
            "Tuner.restore(path, trainable)",
        )
        self.name = name
        self.trainable = resolve_trainable(run)
        self.config = {} if config is None else config
        self.resources_per_trial = resources_per_trial
        self._run_identifier = self.get_trainable_name(run)
        self._stopper = resolve_stopper(stop)
        if isinstance(checkpoint_config, Mapping):
            checkpoint_config = CheckpointConfig(**checkpoint_config)
        if isinstance(sync_config, Mapping):
            sync_config = SyncConfig(**sync_config)
        self.tune_config = TuneConfig(
            num_samples=num_samples,
            time_budget_s=time_budget_s,
            trial_name_creator=trial_name_creator,
            trial_dirname_creator=trial_dirname_creator,
        )
        self.run_config = RunConfig(
            name=name,
            storage_path=storage_path,
            storage_filesystem=storage_filesystem,
            failure_config=FailureConfig(max_failures=max_failures),
            checkpoint_config=checkpoint_config or CheckpointConfig(),
            sync_config=sync_config,
            stop=stop,
            log_to_file=log_to_file,
            local_dir=local_dir,
        )

    @classmethod
    def from_json(cls, name: str, spec: Mapping[str, Any]) -> Experiment:
        """Return the experiment that a dict of the arguments describes; "run" among them is the trainable.

        Raises:
            ConfigurationError: "run" is missing, or there is no argument of a name.
        """
        given = dict(spec)
        if "run" not in given:
            raise ConfigurationError(f'Experiment {name!r}: "run" is missing, which names the trainable.')
        if "env" in given:  # of RLlib
            given["config"] = {**given.get("config", {}), "env": given.pop("env")}
        unknown = given.keys() - inspect.signature(cls).parameters.keys()
        if unknown:
            raise ConfigurationError(f"Experiment {name!r}: there is no argument {', '.join(sorted(unknown))}.")
        return cls(name, given.pop("run"), **given)

    @classmethod
    def get_trainable_name(cls, run_object: Any) -> str:
        """Return the name that trials of a trainable go by."""
        return trainable_name(run_object)

    @classmethod
    def register_if_needed(cls, run_object: Any) -> str:
        """Register a trainable under its name, and return that; a string is returned as it is."""
        if isinstance(run_object, str):
            return run_object
        name = cls.get_trainable_name(run_object)
        register_trainable(name, run_object)
        return name

    @property
    def stopper(self) -> Stopper:
        """The stop rule."""
        return self._stopper

    @property
    def path(self) -> str:
        """The experiment's directory.

        Raises:
            ConfigurationError: it has no name, so where it lives is decided when it begins.
        """
        if self.name is None:
            raise ConfigurationError("An Experiment without a name has no path before it is run.")
        return str(parse_storage_path(self.run_config.storage_path) / self.name)

    local_path = path
    remote_path = path

    @property
    def checkpoint_config(self) -> CheckpointConfig:
        """How checkpoints are kept."""
        return self.run_config.checkpoint_config

    @property
    def run_identifier(self) -> str:
        """The name of the trainable."""
        return self._run_identifier

    @property
    def public_spec(self) -> dict[str, Any]:
        """What searchers and schedulers may know of it."""
        known = {
            "stop": self.run_config.stop,
            "num_samples": self.tune_config.num_samples,
            "time_budget_s": self.tune_config.time_budget_s,
        }
        return {name: value for name, value in known.items() if value is not None}


@named("tune.run", _OLDER)
def run(
    run_or_experiment: Any,
    *,
    name: str | None = None,
    metric: str | None = None,
    mode: Any = None,
    stop: StopRule = None,
    time_budget_s: float | dt.timedelta | None = None,
    config: Mapping[str, Any] | None = None,
    resources_per_trial: ResourceRequest | None = None,
    num_samples: int = 1,
    storage_path: str | os.PathLike[str] | None = None,
    storage_filesystem: Any = None,
    search_alg: Searcher | str | None = None,
    scheduler: TrialScheduler | str | None = None,
    checkpoint_config: CheckpointConfig | None = None,
    verbose: int | None = None,
    progress_reporter: ProgressReporter | None = None,
    log_to_file: bool | str | tuple[str, str] = False,
    trial_name_creator: Callable[[Any], str] | None = None,
    trial_dirname_creator: Callable[[Any], str] | None = None,
    sync_config: SyncConfig | None = None,
    export_formats: Sequence[str] | None = None,
    max_failures: int = 0,
    fail_fast: Any = False,
    restore: str | None = None,
    resume: bool | str | None = None,
    resume_config: ResumeConfig | None = None,
    reuse_actors: bool = False,
    raise_on_failed_trial: bool = True,
    callbacks: Sequence[Callback] | None = None,
    max_concurrent_trials: int | None = None,
    keep_checkpoints_num: int | None = None,
    checkpoint_score_attr: str | None = None,
    checkpoint_freq: int = 0,
    checkpoint_at_end: bool = False,
    chdir_to_trial_dir: Any = "DEPRECATED",
    local_dir: str | None = None,
) -> ExperimentAnalysis:
    """Run an experiment to its end, and return what its trials came to.

    Args:
        run_or_experiment: The trainable; or an Experiment, which then says all that it can say itself.
        metric, mode, search_alg, scheduler, reuse_actors, max_concurrent_trials: As in TuneConfig.
        fail_fast: As in FailureConfig.
        verbose, progress_reporter, callbacks: As in RunConfig.
        resume: True or "AUTO" goes on with the experiment of this name if there is one; with "+ERRORED" or
            "+RESTART_ERRORED" after it trials in ERROR run again, with "+ERRORED_ONLY" or "+RESTART_ERRORED_ONLY"
            these alone.
        resume_config: The same, trial by trial.
        raise_on_failed_trial: Raise if a trial ended in ERROR.
        keep_checkpoints_num, checkpoint_score_attr, checkpoint_freq, checkpoint_at_end: Deprecated; use
            `checkpoint_config`.
        chdir_to_trial_dir: Gone, as in Ray Tune.
        name, stop, time_budget_s, config, resources_per_trial, num_samples, storage_path, storage_filesystem,
            checkpoint_config, log_to_file, trial_name_creator, trial_dirname_creator, sync_config, export_formats,
            max_failures, restore, local_dir: See Experiment.

    Raises:
        UserError: something about the experiment cannot work; nothing was started.
        ExperimentExistsError: there is an experiment of this name, and nobody said `resume`.
        TrialFailedError: trials ended in ERROR. All results are kept: `ExperimentAnalysis(path)` has them.
    """
    given = dict(locals())
    if isinstance(run_or_experiment, (list, tuple)):
        raise ConfigurationError(
            "tune.run runs one experiment. Pass several to tune.run_experiments, which runs one after another."
        )
    experiment = _experiment_of(given)
    tune_config = dataclasses.replace(
        experiment.tune_config,
        metric=metric,
        mode=mode,
        search_alg=search_alg,
        scheduler=scheduler,
        reuse_actors=reuse_actors,
        max_concurrent_trials=max_concurrent_trials,
        chdir_to_trial_dir=chdir_to_trial_dir,
    )
    failures = experiment.run_config.failure_config
    run_config = dataclasses.replace(
        experiment.run_config,
        failure_config=FailureConfig(max_failures=failures.max_failures, fail_fast=fail_fast),
        verbose=verbose,
        progress_reporter=progress_reporter,
        callbacks=callbacks,
        resume=_resume(resume, resume_config),
    )
    grid = Tuner(
        _asking_for(experiment.trainable, experiment.resources_per_trial),
        param_space=experiment.config,
        tune_config=tune_config,
        run_config=run_config,
    ).fit()
    if raise_on_failed_trial and grid.num_errors:
        raise _failed(grid)
    return ExperimentAnalysis(grid.experiment_path, default_metric=metric, default_mode=mode)


def _experiment_of(given: Mapping[str, Any]) -> Experiment:
    """Return what `run` was given as an Experiment, whose arguments have the same names."""
    experiment = given["run_or_experiment"]
    if isinstance(experiment, Experiment):
        _refuse_what_an_experiment_says(given)
        return experiment
    own = inspect.signature(Experiment).parameters.keys() & given.keys()
    arguments = {name: given[name] for name in own}
    arguments["checkpoint_config"] = _with_deprecated(
        given["checkpoint_config"],
        num_to_keep=given["keep_checkpoints_num"],
        score=given["checkpoint_score_attr"],
        frequency=given["checkpoint_freq"],
        at_end=given["checkpoint_at_end"],
    )
    return Experiment(run=experiment, **arguments)


def _refuse_what_an_experiment_says(given: Mapping[str, Any]) -> None:
    """Refuse arguments of `run` that would say a second time what its Experiment says, instead of ignoring them."""
    parameters = inspect.signature(run).parameters
    of_experiment = {*inspect.signature(Experiment).parameters, *_DEPRECATED}
    twice = [name for name in parameters if name in of_experiment and given[name] is not parameters[name].default]
    if twice:
        raise ConfigurationError(
            f"tune.run was given an Experiment, and {', '.join(twice)} beside it, which an Experiment says itself. "
            "Nothing was started. Give them to the Experiment."
        )


def run_experiments(
    experiments: Experiment | Mapping[str, Any] | Sequence[Experiment | Mapping[str, Any]],
    scheduler: TrialScheduler | None = None,
    verbose: int | None = None,
    progress_reporter: ProgressReporter | None = None,
    resume: bool | str | None = None,
    resume_config: ResumeConfig | None = None,
    reuse_actors: bool = False,
    raise_on_failed_trial: bool = True,
    concurrent: bool = True,
    callbacks: Sequence[Callback] | None = None,
) -> list[TrialView]:
    """Run experiments one after another, each in a directory of its own, and return all their trials.

    One that is interrupted (Ctrl-C, `perdure stop`, `fail_fast`) is the last: those after it are not begun.

    Args:
        experiments: An Experiment, a dict of the arguments of some by their names, or a list of these.
        scheduler: Each experiment gets a copy of its own.
        concurrent: Accepted for scripts that come from Ray Tune: an experiment has all of the machine while it runs.
        verbose, progress_reporter, resume, resume_config, reuse_actors, raise_on_failed_trial, callbacks: See `run`.

    Raises:
        UserError: something about an experiment cannot work. Those before it have been run.
        TrialFailedError: trials of an experiment ended in ERROR. Those after it were not begun.
    """
    trials: list[TrialView] = []
    for experiment in _all_of(experiments):
        analysis = run(
            experiment,
            scheduler=copy.deepcopy(scheduler),
            verbose=verbose,
            progress_reporter=progress_reporter,
            resume=resume,
            resume_config=resume_config,
            reuse_actors=reuse_actors,
            raise_on_failed_trial=raise_on_failed_trial,
            callbacks=callbacks,
        )
        trials += analysis.trials
        if analysis.interrupted and analysis.stop_reason:
            break
    return trials


def _all_of(experiments: Any) -> list[Experiment]:
    if isinstance(experiments, Experiment):
        return [experiments]
    if isinstance(experiments, Mapping):
        return [Experiment.from_json(name, spec) for name, spec in experiments.items()]
    if isinstance(experiments, (list, tuple)):
        return [one for entry in experiments for one in _all_of(entry)]
    raise ConfigurationError(
        f"run_experiments({experiments!r}): use an Experiment, a dict of the arguments of some by their names, or a "
        f"list of these, not {a_kind(experiments)}."
    )


def _asking_for(trainable: Any, resources: ResourceRequest | None) -> Any:
    """Return the trainable with its resources, the user's own left as it is."""
    if resources is None:
        return trainable
    return with_resources(trainable if isinstance(trainable, type) else functools.partial(trainable), resources)


_SUFFIXES = {
    "": ResumeConfig(),
    "+ERRORED": ResumeConfig(errored=ResumeType.RESUME),
    "+RESTART_ERRORED": ResumeConfig(errored=ResumeType.RESTART),
    "+ERRORED_ONLY": ResumeConfig(unfinished=ResumeType.SKIP, errored=ResumeType.RESUME),
    "+RESTART_ERRORED_ONLY": ResumeConfig(unfinished=ResumeType.SKIP, errored=ResumeType.RESTART),
}


def _resume(resume: bool | str | None, resume_config: ResumeConfig | None) -> ResumeConfig | bool:
    """Return what RunConfig calls it."""
    if resume_config is not None:
        return resume_config
    if not resume:
        return False
    chosen = _SUFFIXES.get("" if resume is True else str(resume).removeprefix("AUTO"))
    if chosen is None:
        raise ConfigurationError(
            f'resume={resume!r}: use True, False or "AUTO", which may be followed by one of '
            f"{', '.join(filter(None, _SUFFIXES))}; or resume_config=ResumeConfig(...)."
        )
    return chosen


def _with_deprecated(
    config: CheckpointConfig | None, *, num_to_keep: int | None, score: str | None, frequency: int, at_end: bool
) -> CheckpointConfig | None:
    """Take over the arguments that are fields of CheckpointConfig by now."""
    given: dict[str, Any] = {}
    if num_to_keep is not None:
        given["num_to_keep"] = num_to_keep
    if score is not None:
        given["checkpoint_score_attribute"] = score.removeprefix("min-").removeprefix("max-")
        given["checkpoint_score_order"] = "min" if score.startswith("min-") else "max"
    if frequency:
        given["checkpoint_frequency"] = frequency
    if at_end:
        given["checkpoint_at_end"] = True
    if not given:
        return config
    told = ", ".join(f"{name}={value!r}" for name, value in given.items())
    warnings.warn(
        f"keep_checkpoints_num, checkpoint_score_attr, checkpoint_freq and checkpoint_at_end are deprecated: pass "
        f"checkpoint_config=CheckpointConfig({told}).",
        DeprecationWarning,
        stacklevel=5,  # this, _experiment_of, run, what `named` makes of it, the caller
    )
    return dataclasses.replace(config or CheckpointConfig(), **given)


def _refuse(argument: str, value: object, instead: str) -> None:
    if value is not None:
        raise ConfigurationError(f"{argument}={value!r} is not offered by perdure. Instead, {instead}.")


def _failed(grid: ResultGrid) -> TrialFailedError:
    failed = [result for result in grid if result.error is not None and result.status == "ERROR"]
    names = [str(result.trial_id) for result in failed]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    first = failed[0].error
    return TrialFailedError(
        f"Trials did not complete: {', '.join(names[:_NAMED])}{more}. The first of them ended with:\n\n{first}\n\n"
        f"All results are kept: tune.ExperimentAnalysis({grid.experiment_path!r}). To run these again: resume="
        '"AUTO+ERRORED". To be given the results without this error: raise_on_failed_trial=False.'
    )
