"""`Tuner`: what a script starts, restores and reads experiments with. It assembles; the work is done elsewhere."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, TypeVar

from perdure.arguments import a_kind, named, of_their_kinds
from perdure.assembly import exists, run_session
from perdure.config import CheckpointConfig, FailureConfig, ResumeConfig, ResumeType, RunConfig, TuneConfig
from perdure.definition import UNCHANGED, Definition, check_filesystem, define, restored, with_own_directory
from perdure.errors import ConfigurationError, ExperimentExistsError, ExperimentNotFoundError
from perdure.history import ExperimentHistory, read_experiment
from perdure.result_grid import ResultGrid
from perdure.storage.uri import locate
from perdure.trainable.pickling import objects_in

_Config = TypeVar("_Config")

_KEPT = (
    "A restore keeps it as it was; the script that made the experiment can change it and go on, with "
    'RunConfig(name=..., resume="auto").'
)
_NOT_OF_A_RESTORE = {
    **{field.name: _KEPT for part in (FailureConfig, CheckpointConfig) for field in dataclasses.fields(part)},
    "callbacks": _KEPT,
    "tune_config": _KEPT,
    "run_config": _KEPT,
    "overwrite_trainable": "Leave it out: a trainable that is given takes the place of the stored one.",
}
"""What to say of arguments that `Tuner.restore` might be given, and does not have."""


class Tuner:
    """Runs a trainable many times over a search space, and keeps what every trial did.

    Args:
        trainable: A function of one argument, the config, that calls `tune.report`; or a class derived from
            `tune.Trainable`; or the name of a registered one.
        param_space: The search space: a dict of sampling functions, grids and constants, nested as you like.
        tune_config: How trials are chosen and scheduled.
        run_config: Where the experiment lives and how it is run.

    Raises:
        UserError: something that was asked for cannot work. Raised before any trial starts.
    """

    @named("Tuner", {"config": "Use param_space.", "run": "The trainable is the first argument, without a name."})
    def __init__(
        self,
        trainable: Any = None,
        *,
        param_space: Mapping[str, Any] | None = None,
        tune_config: TuneConfig | None = None,
        run_config: RunConfig | None = None,
        _restored: tuple[Definition, ResumeConfig] | None = None,
    ) -> None:
        self._resume: ResumeConfig | None = None
        if _restored is not None:
            self._definition, self._resume = _restored
            return
        if trainable is None:
            raise ConfigurationError("Tuner(trainable): pass a function of one argument, or a tune.Trainable class.")
        tune_config = _expect(tune_config, TuneConfig, "tune_config")
        run_config = _expect(run_config, RunConfig, "run_config")
        self._definition = define(trainable, param_space, tune_config, run_config)

    def fit(self) -> ResultGrid:
        """Run the experiment to its end, and return the results of all its trials.

        Every row and checkpoint that a trial's `report` has returned for is kept, whatever is killed. Ctrl-C (or
        SIGUSR1, or `perdure stop`) stops in good order, and this returns what there is: `ResultGrid.interrupted` tells.
        SIGTERM stops in good order, too, and then ends the script, unless that has a handler for it. The experiment
        can be restored after that, and after anything else.

        Raises:
            SystemExit: with status 143, once a SIGTERM for which the script has no handler was obeyed in good order.
            UserError: something about the experiment cannot work; nothing was started.
            ExperimentExistsError: the directory holds an experiment already.
            ExperimentLockedError: another driver is running it.
            StorageError: the storage failed; the experiment can be restored.
        """
        definition, resume = self._definition, self._resume
        if resume is None and not definition.run_config.name:
            definition = self._definition = with_own_directory(definition)
        elif resume is None and exists(definition.path):
            if not definition.run_config.resume:
                raise ExperimentExistsError(
                    f"There is an experiment at {definition.path} already. Nothing was changed. To go on with it: "
                    f'Tuner.restore({str(definition.path)!r}, trainable).fit(), or RunConfig(resume="auto"). '
                    "To start over: choose another name, or delete that directory first."
                )
            chosen = definition.run_config.resume
            resume = chosen if isinstance(chosen, ResumeConfig) else ResumeConfig()
        history = run_session(definition, resume)
        self._resume = resume or ResumeConfig()
        return self._results_of(history)

    @classmethod
    @named("Tuner.restore", _NOT_OF_A_RESTORE)
    @of_their_kinds("Tuner.restore", {"num_samples": "It is the number in all, of which some exist already."})
    def restore(
        cls,
        path: str | os.PathLike[str],
        trainable: Any = None,
        resume_unfinished: bool = True,
        resume_errored: bool = False,
        restart_errored: bool = False,
        param_space: Mapping[str, Any] | None = None,
        storage_filesystem: Any = None,
        _resume_config: ResumeConfig | None = None,
        *,
        resume_finished: bool = False,
        num_samples: int | None = None,
        stop: Any = UNCHANGED,
        time_budget_s: Any = UNCHANGED,
        resources: Any = None,
        allow_other_trainable: bool = False,
    ) -> Tuner:
        """Return a Tuner that goes on with the experiment at `path`, from wherever it was stopped.

        Finished trials stay as they are, unfinished ones continue at their latest checkpoint. The directory may have
        been moved or copied.

        What is given here replaces what was asked for before, for what is still to come: trials that exist keep their
        configurations, rows that were reported stay as they were judged. The journal records each change.

        Args:
            path: The experiment's directory.
            trainable: The trainable it was started with; its code may have changed, its name not. None takes the one
                stored with the experiment.
            resume_unfinished: False leaves unfinished trials alone.
            resume_errored: Run trials in ERROR again from their latest checkpoint.
            restart_errored: Run trials in ERROR again from scratch.
            param_space: Replaces the search space, for trials that are still to be suggested. Grids can only get
                further values, at the end of the slowest one.
            storage_filesystem: Only this machine's own is supported yet.
            resume_finished: Run trials that are TERMINATED on from their latest checkpoint, but for those that the
                stop rule, as it is now, ends where they are. Done again after an interruption, it goes on with those
                that are left.
            num_samples: How often the search space is sampled in all, as in TuneConfig; -1 for ever.
            stop: The stop rule from now on, as in RunConfig; None is no rule.
            time_budget_s: The running time over all sessions, those before this one included; None is no limit.
            resources: What each trial needs from now on, as in `tune.with_resources`.
            allow_other_trainable: `trainable` may go by another name than the one that the experiment was started
                with. It must be able to read the checkpoints of that.

        Raises:
            ExperimentNotFoundError: there is no experiment at `path`.
            TrainableError: `trainable` goes by another name.
            ConfigurationError: what is given cannot be applied to this experiment. Raised here or by `fit`, before
                anything is changed.
        """
        check_filesystem(storage_filesystem)
        directory = locate(path)
        if not exists(directory):
            raise ExperimentNotFoundError(
                f"There is no experiment to restore at {directory}: it has no journal that holds a record. "
                "Tuner.can_restore(path) tells beforehand."
            )
        if resume_errored and restart_errored:
            raise ConfigurationError("Tuner.restore: resume_errored and restart_errored exclude each other.")
        if _resume_config is not None and resume_finished:
            raise ConfigurationError("Tuner.restore: say with resume_finished or with _resume_config, not with both.")
        replacements = {"param_space": param_space, "num_samples": num_samples, "resources": resources}
        definition = restored(
            directory,
            read_experiment(directory).state,
            trainable=trainable,
            renames=allow_other_trainable,
            replacements={
                **{name: value for name, value in replacements.items() if value is not None},
                "stop": stop,
                "time_budget_s": time_budget_s,
            },
        )
        resume = _resume_config or ResumeConfig(
            finished=ResumeType.RESUME if resume_finished else ResumeType.SKIP,
            unfinished=ResumeType.RESUME if resume_unfinished else ResumeType.SKIP,
            errored=_how_to_resume(errored=resume_errored, from_scratch=restart_errored),
        )
        return cls(_restored=(definition, resume))

    @classmethod
    def can_restore(cls, path: str | os.PathLike[str], storage_filesystem: Any = None) -> bool:
        """Return whether there is an experiment at `path` that `restore` would go on with."""
        return exists(locate(path))

    def get_results(self) -> ResultGrid:
        """Return the results of the experiment as it is now: after `fit`, or of a restored one without running it.

        Raises:
            ExperimentNotFoundError: `fit` has not been called and nothing was restored.
        """
        if not exists(self._definition.path):
            raise ExperimentNotFoundError("There are no results yet: call fit(), or Tuner.restore(path, trainable).")
        return self._results_of(read_experiment(self._definition.path))

    def _results_of(self, history: ExperimentHistory) -> ResultGrid:
        return ResultGrid(history, load_objects=objects_in(self._definition.path))

    @property
    def experiment_path(self) -> str:
        """The experiment's directory."""
        return str(self._definition.path)

    @property
    def definition(self) -> Definition:
        """What was asked for."""
        return self._definition


def _how_to_resume(*, errored: bool, from_scratch: bool) -> ResumeType:
    if from_scratch:
        return ResumeType.RESTART
    return ResumeType.RESUME if errored else ResumeType.SKIP


def _expect(value: Any, kind: type[_Config], name: str) -> _Config:
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise ConfigurationError(f"Tuner({name}={value!r}): expected a tune.{kind.__name__}, not {a_kind(value)}.")
    return value
