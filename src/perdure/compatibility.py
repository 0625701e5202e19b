"""What perdure does with every public name of Ray Tune 2.60, as one table.

`SURFACE` says for each name of each module whether it is offered here, under which module it lives, or what to use
instead. The modules under `perdure.tune` and `perdure.train` resolve their names through it, lazily, so that importing
perdure loads nothing that is not used; the migration guide is generated from it; and `tests/compat` holds it against
the signatures of Ray's own wheel.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import sys
from collections.abc import Callable, Mapping

from perdure.relocation import INNER, NAMES, refusal


class Status(enum.Enum):
    """What becomes of one of Ray Tune's names."""

    SAME = "same"
    IGNORED = "accepted and ignored"
    PLANNED = "planned"
    NOT_OFFERED = "not offered"
    OURS = "beyond Ray"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One name: its status, where it lives, and what to say about it."""

    status: Status
    home: str = ""
    """`module:name` of the object, where it is offered."""
    note: str = ""
    """For a name that is not offered, what to use; for one that is, what a user should know."""
    without: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Parameters and members of Ray's that ours lacks or gives another default, each with the reason. The key "()"
    stands for the whole constructor, "*" for all members."""
    extra: str = ""
    """perdure's extra that the name cannot be imported without, because it builds on a class of the library's."""

    @property
    def offered(self) -> bool:
        """Whether the name can be imported."""
        return bool(self.home)


def same(home: str, note: str = "", **without: str) -> Row:
    """The name is offered with Ray's meaning, but for the parameters and members in `without`."""
    return Row(status=Status.SAME, home=home, note=note, without=without)


def ignored(home: str, note: str) -> Row:
    """The name is accepted, so that scripts run, and does nothing."""
    return Row(status=Status.IGNORED, home=home, note=note)


def planned(note: str) -> Row:
    """The name will be offered; `note` says what to use until then."""
    return Row(status=Status.PLANNED, note=note)


def absent(note: str) -> Row:
    """The name is not offered; `note` says what to use."""
    return Row(status=Status.NOT_OFFERED, note=note)


def ours(home: str, note: str) -> Row:
    """The name is perdure's own."""
    return Row(status=Status.OURS, home=home, note=note)


_DISTRIBUTED = "perdure tunes trials that train in one process; start your distributed training inside the trial."
_KERAS = "For Keras 3, with each of its backends. `load()` of perdure.integrations.keras gives model and epoch back."
_INTERNAL = "It is a part of Ray's own machinery."
_VIEW = "perdure hands a read-only view with these attribute names to plugins and callbacks."

_CHECKPOINT = same("perdure.checkpoint:Checkpoint")
_CHECKPOINT_CONFIG = same("perdure.config:CheckpointConfig")
_FAILURE_CONFIG = same("perdure.config:FailureConfig", "Adds report_timeout_s and max_trial_time_s.")
_RESULT = Row(
    status=Status.SAME, home="perdure.result:Result", without={"()": "perdure makes it; scripts read its attributes."}
)
_NONE_MEANS = "None is accepted and means the default object."
_RUN_CONFIG = same(
    "perdure.config:RunConfig",
    "Adds resume, durability and executor; local_dir, deprecated in Ray, is refused with a hint.",
    failure_config=_NONE_MEANS,
    checkpoint_config=_NONE_MEANS,
)
_SYNC_CONFIG = ignored("perdure.config:SyncConfig", "perdure writes to the storage itself: there is nothing to sync.")
_CALLBACKS = same("perdure.callbacks:Callback")
_TRAINABLE = same(
    "perdure.trainable.base:Trainable",
    get_current_ip_pid=_INTERNAL,
    is_actor=_INTERNAL,
    train_buffered=_INTERNAL,
)
_TUNER = Row(
    status=Status.SAME,
    home="perdure.tuner:Tuner",
    note="restore adds resume_finished, num_samples, stop, time_budget_s, resources and allow_other_trainable.",
    without={"restore.trainable": "may be left out: the one stored with the experiment is taken."},
)
_TUNE_CONFIG = same("perdure.config:TuneConfig", "Adds seed.", chdir_to_trial_dir="deprecated in Ray; None by default.")
_RESUME_CONFIG = same("perdure.config:ResumeConfig")
_RESULT_GRID = Row(
    status=Status.SAME, home="perdure.result_grid:ResultGrid", without={"()": "perdure makes it; scripts read it."}
)
_SEARCHER_BASE = same("perdure.searchers.base:Searcher")
_BASIC_VARIANT = Row(
    status=Status.SAME,
    home="perdure.searchers.basic_variant:BasicVariantGenerator",
    without={"*": f"Its methods are those of a Searcher. {_INTERNAL}"},
)
_GRID_SEARCH = same("perdure.search_space:grid_search")
_CONTROLLER = {
    f"{hook}.tune_controller": "called `controller`: a view with get_trials() and get_live_trials()."
    for hook in (
        "choose_trial_to_run",
        "on_trial_add",
        "on_trial_complete",
        "on_trial_error",
        "on_trial_remove",
        "on_trial_result",
    )
}
_FIFO = Row(status=Status.SAME, home="perdure.schedulers.fifo:FIFOScheduler", without=_CONTROLLER)
_TRIAL_SCHEDULER = Row(status=Status.SAME, home="perdure.schedulers.base:TrialScheduler", without=_CONTROLLER)


def _searcher(home: str, extra: str, note: str = "", **without: str) -> Row:
    install = f"Needs pip install 'perdure[{extra}]'. " if extra else ""
    without = {"convert_search_space": _INTERNAL, "optimizer": _INTERNAL, **without}
    return Row(status=Status.SAME, home=home, note=(install + note).strip(), without=without)


def _scheduler(home: str, note: str = "") -> Row:
    return Row(status=Status.SAME, home=home, note=note, without={"*": "Its methods are those of a TrialScheduler."})


_STOPPER = same("perdure.stoppers.base:Stopper")
_REPORTER = same("perdure.reporting.base:ProgressReporter")
_CLI_REPORTER = same("perdure.reporting.reporters:CLIReporter")
_JUPYTER_REPORTER = same("perdure.reporting.reporters:JupyterNotebookReporter", output_queue=_INTERNAL)
_TUNE_ERROR = same("perdure.errors:PerdureError", "The root of perdure's tree of errors, see perdure.errors.")
_WITH_PARAMETERS = same("perdure.trainable.wrappers:with_parameters")
_REGISTER_TRAINABLE = same("perdure.trainable.registry:register_trainable")
_REGISTER_ENV = absent("Environments belong to RLlib; create yours inside the trainable.")
_ANALYSIS = same("perdure.analysis:ExperimentAnalysis")
_EXPERIMENT = same(
    "perdure.experiments:Experiment",
    "export_formats and restore are refused: export, or load a checkpoint, in the trainable.",
    checkpoint_dir="removed in Ray, which raises there; use path.",
    local_dir="removed in Ray, which raises there; use path.",
)
_RESUMED = "A restored experiment goes on with the runs it had."
_COMET = same("perdure.loggers.comet:CometLoggerCallback", _RESUMED)
_MLFLOW = same("perdure.loggers.mlflow:MLflowLoggerCallback", _RESUMED)
_WANDB = same("perdure.loggers.wandb:WandbLoggerCallback", _RESUMED)
_CONCURRENCY_LIMITER = same("perdure.searchers.concurrency:ConcurrencyLimiter")
_REPEATER = same("perdure.searchers.repeater:Repeater")


def _names(build: Callable[[str], Row], names: str) -> dict[str, Row]:
    """One row for each of the space-separated names."""
    return {name: build(name) for name in names.split()}


_REPORT_ONLY = "TuneReportCallback reports without checkpoints."


def _integration(library: str, names: str, note: str = _REPORT_ONLY) -> dict[str, Row]:
    """Callbacks that build on a class of the library's."""
    return _names(
        lambda name: Row(status=Status.SAME, home=f"perdure.integrations.{library}:{name}", note=note, extra=library),
        names,
    )


_SPACE = _names(
    lambda name: same(f"perdure.search_space:{name}"),
    "choice grid_search lograndint loguniform qlograndint qloguniform qrandint qrandn quniform randint randn "
    "sample_from uniform",
)

SURFACE: dict[str, dict[str, Row]] = {
    "tune": {
        **_SPACE,
        "CLIReporter": _CLI_REPORTER,
        "Callback": _CALLBACKS,
        "Checkpoint": _CHECKPOINT,
        "CheckpointConfig": _CHECKPOINT_CONFIG,
        "Experiment": _EXPERIMENT,
        "ExperimentAnalysis": _ANALYSIS,
        "FailureConfig": _FAILURE_CONFIG,
        "JupyterNotebookReporter": _JUPYTER_REPORTER,
        "PlacementGroupFactory": same("perdure.trainable.wrappers:PlacementGroupFactory", to_placement_group=_INTERNAL),
        "ProgressReporter": _REPORTER,
        "Result": _RESULT,
        "ResultGrid": _RESULT_GRID,
        "ResumeConfig": _RESUME_CONFIG,
        "RunConfig": _RUN_CONFIG,
        "Stopper": _STOPPER,
        "SyncConfig": _SYNC_CONFIG,
        "Trainable": _TRAINABLE,
        "TuneConfig": _TUNE_CONFIG,
        "TuneContext": same("perdure.trainable.session:TuneContext"),
        "TuneError": _TUNE_ERROR,
        "Tuner": _TUNER,
        "checkpoint_dir": ours(
            "perdure.trainable.session:checkpoint_dir",
            "A directory on the storage to write a checkpoint into, so that reporting it is a rename and no copy.",
        ),
        "should_stop": ours(
            "perdure.trainable.session:should_stop",
            "Whether this trial has been asked to end soon (a preemption, Ctrl-C, a time limit): save, and report.",
        ),
        "create_scheduler": same("perdure.schedulers:create_scheduler"),
        "create_searcher": same("perdure.searchers:create_searcher"),
        "get_checkpoint": same("perdure.trainable.session:get_checkpoint"),
        "get_context": same("perdure.trainable.session:get_context"),
        "register_env": _REGISTER_ENV,
        "register_trainable": _REGISTER_TRAINABLE,
        "report": same("perdure.trainable.session:report"),
        "run": same(
            "perdure.experiments:run",
            "It raises where a name is taken and nobody said resume; export_formats and restore are refused.",
        ),
        "run_experiments": same(
            "perdure.experiments:run_experiments",
            "One after another, each in a directory and with a scheduler of its own.",
        ),
        "with_parameters": _WITH_PARAMETERS,
        "with_resources": same("perdure.trainable.wrappers:with_resources"),
    },
    "tune.analysis": {"ExperimentAnalysis": _ANALYSIS},
    "tune.callback": {"Callback": _CALLBACKS},
    "tune.error": {"TuneError": _TUNE_ERROR},
    "tune.experiment": {
        "Experiment": _EXPERIMENT,
        "Trial": Row(
            status=Status.SAME, home="perdure.trial_view:TrialView", note=_VIEW, without={"()": _VIEW, "*": _VIEW}
        ),
    },
    "tune.integration": {},
    "tune.integration.keras": _integration("keras", "TuneReportCallback TuneReportCheckpointCallback", _KERAS),
    "tune.integration.lightgbm": _integration("lightgbm", "TuneReportCallback TuneReportCheckpointCallback"),
    "tune.integration.pytorch_lightning": _integration(
        "lightning",
        "TuneCallback TuneReportCallback TuneReportCheckpointCallback",
        "`resume_path()` of perdure.integrations.lightning is what Trainer.fit takes as ckpt_path.",
    ),
    "tune.integration.ray_train": {"TuneReportCallback": absent(_DISTRIBUTED)},
    "tune.integration.xgboost": _integration("xgboost", "TuneReportCallback TuneReportCheckpointCallback"),
    "tune.logger": {
        "CSVLoggerCallback": same("perdure.loggers.csv:CSVLoggerCallback"),
        "JsonLoggerCallback": same("perdure.loggers.json:JsonLoggerCallback", update_config=_INTERNAL),
        "LoggerCallback": same("perdure.loggers.base:LoggerCallback"),
        "TBXLoggerCallback": same(
            "perdure.loggers.tensorboard:TBXLoggerCallback", VALID_HPARAMS=_INTERNAL, VALID_NP_HPARAMS=_INTERNAL
        ),
        "pretty_print": absent("Print the result's dictionary with pprint."),
    },
    "tune.logger.aim": {"AimLoggerCallback": same("perdure.loggers.aim:AimLoggerCallback", VALID_NP_HPARAMS=_INTERNAL)},
    "tune.logger.comet": {"CometLoggerCallback": _COMET},
    "tune.logger.mlflow": {"MLflowLoggerCallback": _MLFLOW},
    "tune.logger.wandb": {"WandbLoggerCallback": _WANDB},
    "tune.progress_reporter": {
        "CLIReporter": _CLI_REPORTER,
        "JupyterNotebookReporter": _JUPYTER_REPORTER,
        "ProgressReporter": _REPORTER,
    },
    "tune.registry": {
        "get_trainable_cls": absent("Pass the trainable itself to Tuner."),
        "register_env": _REGISTER_ENV,
        "register_trainable": _REGISTER_TRAINABLE,
    },
    "tune.result": {
        **_names(
            lambda name: same(f"perdure.tune.result:{name}"),
            "AUTO_RESULT_KEYS CONFIG_PREFIX DEBUG_METRICS DEFAULT_EXPERIMENT_INFO_KEYS DEFAULT_METRIC "
            "DEFAULT_RESULT_KEYS DONE EPISODES_THIS_ITER EPISODES_TOTAL EPISODE_REWARD_MEAN EXPERIMENT_TAG "
            "EXPR_ERROR_FILE EXPR_ERROR_PICKLE_FILE EXPR_PARAM_FILE EXPR_PARAM_PICKLE_FILE EXPR_PROGRESS_FILE "
            "EXPR_RESULT_FILE HOSTNAME MEAN_ACCURACY MEAN_LOSS NODE_IP PID SHOULD_CHECKPOINT TIMESTAMP "
            "TIMESTEPS_THIS_ITER TIMESTEPS_TOTAL TIME_THIS_ITER_S TIME_TOTAL_S TRAINING_ITERATION TRIAL_ID",
        ),
        **_names(
            lambda _: absent(_INTERNAL),
            "DEFAULT_EXPERIMENT_NAME EXPR_META_FILE JOB_META_FILE RESULT_DUPLICATE STDERR_FILE STDOUT_FILE TRIAL_INFO",
        ),
    },
    "tune.result_grid": {"ResultGrid": _RESULT_GRID},
    "tune.schedulers": {
        "FIFOScheduler": _FIFO,
        "TrialScheduler": _TRIAL_SCHEDULER,
        "ASHAScheduler": _scheduler("perdure.schedulers.async_hyperband:ASHAScheduler"),
        "AsyncHyperBandScheduler": _scheduler("perdure.schedulers.async_hyperband:AsyncHyperBandScheduler"),
        "HyperBandForBOHB": _scheduler("perdure.schedulers.hb_bohb:HyperBandForBOHB"),
        "HyperBandScheduler": _scheduler(
            "perdure.schedulers.hyperband:HyperBandScheduler",
            "Trials are suggested when there is room: a bracket that cannot be filled goes on with what it has.",
        ),
        "MedianStoppingRule": _scheduler("perdure.schedulers.median_stopping_rule:MedianStoppingRule"),
        "PromotionASHAScheduler": ours(
            "perdure.schedulers.promotion_asha:PromotionASHAScheduler",
            "ASHA that pauses trials at rungs and promotes the best of a rung when there is room.",
        ),
        "create_scheduler": same("perdure.schedulers:create_scheduler"),
        "PopulationBasedTraining": _scheduler(
            "perdure.schedulers.pbt:PopulationBasedTraining",
            "A clone starts from its donor's newest checkpoint, which is kept for it: num_to_keep=1 will do. All draws "
            "follow from TuneConfig(seed=...).",
        ),
        "PopulationBasedTrainingReplay": _scheduler("perdure.schedulers.pbt_replay:PopulationBasedTrainingReplay"),
        "ResourceChangingScheduler": Row(
            status=Status.SAME,
            home="perdure.schedulers.resource_changing:ResourceChangingScheduler",
            note="Trials are moved at rows that come with a checkpoint. A function of yours finds what there is in "
            "`controller.capacity` and what a trial has in `trial.resources`.",
            without={
                "resources_allocation_function": "the default is a DistributeResources(), too.",
                "*": "Its methods are those of a TrialScheduler.",
            },
        ),
    },
    "tune.schedulers.pb2": {
        "PB2": _scheduler("perdure.schedulers.pb2:PB2", "Needs NumPy alone: pip install 'perdure[pb2]'.")
    },
    "tune.schedulers.resource_changing_scheduler": {
        "DistributeResources": same("perdure.schedulers.allocation:DistributeResources"),
        "DistributeResourcesToTopJob": same("perdure.schedulers.allocation:DistributeResourcesToTopJob"),
    },
    "tune.schedulers.trial_scheduler": {"FIFOScheduler": _FIFO, "TrialScheduler": _TRIAL_SCHEDULER},
    "tune.search": {
        "BasicVariantGenerator": _BASIC_VARIANT,
        "ConcurrencyLimiter": _CONCURRENCY_LIMITER,
        "Repeater": _REPEATER,
        "Searcher": _SEARCHER_BASE,
        "create_searcher": same("perdure.searchers:create_searcher"),
        "grid_search": _GRID_SEARCH,
        **_names(
            lambda _: absent(f"{_INTERNAL} Subclass perdure.tune.search.Searcher."),
            "SearchAlgorithm SearchGenerator UNDEFINED_METRIC_MODE UNDEFINED_SEARCH_SPACE UNRESOLVED_SEARCH_SPACE",
        ),
    },
    "tune.search.ax": {"AxSearch": _searcher("perdure.searchers.ax:AxSearch", "ax")},
    "tune.search.basic_variant": {"BasicVariantGenerator": _BASIC_VARIANT},
    "tune.search.bayesopt": {
        "BayesOptSearch": _searcher("perdure.searchers.bayesopt:BayesOptSearch", "bayesopt", "Integers too.")
    },
    "tune.search.bohb": {
        "BOHB": same("perdure.searchers.bohb:TuneBOHB"),
        "TuneBOHB": _searcher(
            "perdure.searchers.bohb:TuneBOHB",
            "",
            "Needs no library: the model is perdure's own.",
            to_wrapper=_INTERNAL,
        ),
    },
    "tune.search.concurrency_limiter": {"ConcurrencyLimiter": _CONCURRENCY_LIMITER},
    "tune.search.hebo": {
        "HEBOSearch": _searcher("perdure.searchers.hebo:HEBOSearch", "hebo", "On Python 3.10 and 3.11 alone.")
    },
    "tune.search.hyperopt": {"HyperOptSearch": _searcher("perdure.searchers.hyperopt:HyperOptSearch", "hyperopt")},
    "tune.search.nevergrad": {"NevergradSearch": _searcher("perdure.searchers.nevergrad:NevergradSearch", "nevergrad")},
    "tune.search.optuna": {"OptunaSearch": _searcher("perdure.searchers.optuna:OptunaSearch", "optuna")},
    "tune.search.repeater": {
        "Repeater": _REPEATER,
        "TRIAL_INDEX": same("perdure.searchers.repeater:TRIAL_INDEX"),
    },
    "tune.search.sample": _names(
        lambda name: same(f"perdure.search_space:{name}", set_sampler=_INTERNAL), "Categorical Domain Float Integer"
    ),
    "tune.search.searcher": {"Searcher": _SEARCHER_BASE},
    "tune.search.zoopt": {
        "ZOOptSearch": _searcher("perdure.searchers.zoopt:ZOOptSearch", "zoopt", "The budget may be left out.")
    },
    "tune.stopper": {
        "CombinedStopper": same("perdure.stoppers.combined:CombinedStopper"),
        "ExperimentPlateauStopper": same("perdure.stoppers.experiment_plateau:ExperimentPlateauStopper"),
        "FunctionStopper": Row(
            status=Status.SAME,
            home="perdure.stoppers.function:FunctionStopper",
            without={"is_valid_function.fn": _INTERNAL},
        ),
        "MaximumIterationStopper": same("perdure.stoppers.maximum_iteration:MaximumIterationStopper"),
        "NoopStopper": same("perdure.stoppers.noop:NoopStopper"),
        "Stopper": _STOPPER,
        "TimeoutStopper": same("perdure.stoppers.timeout:TimeoutStopper"),
        "TrialPlateauStopper": same("perdure.stoppers.trial_plateau:TrialPlateauStopper"),
    },
    "tune.syncer": {"SyncConfig": _SYNC_CONFIG},
    "tune.trainable": {
        "FunctionTrainable": absent(f"{_INTERNAL} Pass the function itself to Tuner."),
        "Trainable": _TRAINABLE,
        "with_parameters": _WITH_PARAMETERS,
        "wrap_function": absent(f"{_INTERNAL} Pass the function itself to Tuner."),
    },
    "tune.tune_config": {"ResumeConfig": _RESUME_CONFIG, "TuneConfig": _TUNE_CONFIG},
    "tune.tuner": {"Tuner": _TUNER},
    "tune.utils": {
        "validate_save_restore": same(
            "perdure.trainable.validation:validate_save_restore", "In this process; num_gpus is ignored."
        ),
        "wait_for_gpu": absent(
            "Leave it out: a trial starts when the process that had its GPU is gone, and its memory with it."
        ),
        "diagnose_serialization": absent("Leave it out: fit() says what of a trainable cannot be pickled."),
        "date_str": absent("Use datetime.datetime.now().strftime(...)."),
        **_names(lambda _: absent("Python's own `{**one, **other}` merges dicts."), "deep_update merge_dicts"),
        **_names(lambda _: absent('Use pandas.json_normalize(data, sep="/").'), "flatten_dict unflattened_lookup"),
        **_names(lambda _: absent(f"{_INTERNAL} Leave it out."), "UtilMonitor warn_if_slow"),
    },
    "train": {
        "Checkpoint": _CHECKPOINT,
        "CheckpointConfig": _CHECKPOINT_CONFIG,
        "FailureConfig": _FAILURE_CONFIG,
        "Result": _RESULT,
        "RunConfig": _RUN_CONFIG,
        "SyncConfig": _SYNC_CONFIG,
        "TrainContext": same("perdure.trainable.session:TuneContext"),
        "checkpoint_dir": ours("perdure.trainable.session:checkpoint_dir", "See perdure.tune.checkpoint_dir."),
        "should_stop": ours("perdure.trainable.session:should_stop", "See perdure.tune.should_stop."),
        "get_checkpoint": same("perdure.trainable.session:get_checkpoint"),
        "get_context": same("perdure.trainable.session:get_context"),
        "report": same("perdure.trainable.session:report"),
        "PreemptionError": absent(
            "A preemption is no failure of the trial: run the script again with RunConfig(resume='auto')."
        ),
        **_names(
            lambda _: absent("Ask perdure.tune.should_stop(): true as soon as the trial is to end, so save then."),
            "PreemptionInfo get_preemption_info",
        ),
        "UserCallback": absent("Use perdure.tune.Callback."),
        "TrainingFailedError": absent("Catch perdure.tune.TuneError; a trial's own error is in Result.error."),
        "get_all_reported_checkpoints": absent("Use Result.best_checkpoints."),
        **_names(lambda _: absent("Use Result.best_checkpoints."), "ReportedCheckpoint ReportedCheckpointStatus"),
        **_names(
            lambda _: absent("A checkpoint is committed when report() returns; there are no modes to choose."),
            "CheckpointConsistencyMode CheckpointUploadMode",
        ),
        **_names(
            lambda _: absent("Validate in the trial, or report a checkpoint and evaluate it afterwards."),
            "ValidationConfig ValidationFn ValidationTaskConfig",
        ),
        **_names(
            lambda _: absent(_DISTRIBUTED),
            "BackendConfig ControllerError DataConfig LoggingConfig NCCLHangError ScalingConfig TRAIN_DATASET_KEY "
            "WorkerGroupError get_dataset_shard",
        ),
    },
    "air": {
        "CheckpointConfig": _CHECKPOINT_CONFIG,
        "FailureConfig": _FAILURE_CONFIG,
        "Result": _RESULT,
        "RunConfig": _RUN_CONFIG,
        "ScalingConfig": absent(_DISTRIBUTED),
    },
    "air.integrations": {},
    "air.integrations.comet": {"CometLoggerCallback": _COMET},
    "air.integrations.keras": _integration("keras", "ReportCheckpointCallback", _KERAS),
    "air.integrations.mlflow": {
        "MLflowLoggerCallback": _MLFLOW,
        "setup_mlflow": same(
            "perdure.loggers.mlflow:setup_mlflow",
            "A retried or restored trial goes on with its run. Its experiment is by default called as perdure's.",
        ),
    },
    "air.integrations.wandb": {
        "WandbLoggerCallback": _WANDB,
        "setup_wandb": same("perdure.loggers.wandb:setup_wandb", "A retried or restored trial goes on with its run."),
    },
}
"""By module (without the leading `ray.` or `perdure.`) and name."""


def offered(module: str) -> list[str]:
    """Names that can be imported from `module` (such as "perdure.tune"), sorted."""
    rows = SURFACE[module.removeprefix("perdure.")]
    return sorted(name for name, row in rows.items() if row.offered)


def lazy_names(module: str) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` for `module`, which load each name on first use.

    A name of Ray's that is not offered raises AttributeError, or ImportError where it was being imported, and the
    message says what to use. The module also gets what makes it a package, so that Python looks for inner modules of
    Ray's below it (`perdure.relocation`).
    """
    path = module.removeprefix("perdure.")
    rows, gone = SURFACE[path], NAMES.get(path, {})
    vars(sys.modules[module]).setdefault("__path__", [])

    def load(name: str) -> object:
        row = rows.get(name)
        if f"{path}.{name}" in SURFACE or f"{path}.{name}" in INNER:
            return importlib.import_module(f"{module}.{name}")
        if row is None and name not in gone:
            raise AttributeError(f"module {module!r} has no attribute {name!r}", name=name, obj=sys.modules[module])
        if row is None or not row.offered:
            when = "is not offered yet" if row and row.status is Status.PLANNED else "is not offered by perdure"
            message = f"{module}.{name} {when}. {row.note if row else gone[name]}"
            raise refusal(module, name, message, sys._getframe(1))  # noqa: SLF001 - as the stdlib's namedtuple does
        value = resolve(row)
        setattr(sys.modules[module], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[module]), *offered(module)})

    return load, names


def resolve(row: Row) -> object:
    """Return the object that an offered row names.

    Raises:
        ImportError: it builds on a library that is not installed; the message names the extra that brings it.
    """
    module, _, name = row.home.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if not row.extra:
            raise
        raise ImportError(
            f"{module}.{name} needs {error.name}, which is not installed: pip install 'perdure[{row.extra}]'.",
            name=error.name,
        ) from error
