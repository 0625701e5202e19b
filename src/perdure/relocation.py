"""Where to find what scripts import from places of Ray's that perdure does not have.

Two kinds of places. Inner modules of Ray, in which it defines what it offers one level up, give the names of that
public module (`INNER`). Modules and names that are not offered, most of them from older releases, raise ImportError
or AttributeError and say what to write instead (`MODULES`, `NAMES`).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType


def _inner(public: str, modules: str) -> dict[str, str]:
    return {f"{public}.{name}": public for name in modules.split()}


INNER: dict[str, str] = {
    **_inner("tune.schedulers", "async_hyperband hb_bohb hyperband median_stopping_rule pbt"),
    **_inner(
        "tune.stopper",
        "experiment_plateau function_stopper maximum_iteration noop stopper timeout trial_plateau",
    ),
    **_inner("tune.logger", "csv json logger tensorboardx"),
    **_inner("tune.experiment", "experiment trial"),
    **_inner("tune.analysis", "experiment_analysis"),
    **_inner("tune.trainable", "function_trainable trainable"),
    **_inner("tune.utils", "util"),
    **_inner("air", "config result"),
    **_inner("train", "_checkpoint context"),
    **_inner("tune", "context execution tune"),
    "air.session": "tune",
    "tune.execution.placement_groups": "tune",
    "tune.trainable.trainable_fn_utils": "tune",
    "tune.trainable.util": "tune",
    **{
        f"tune.search.{library}.{library}_search": f"tune.search.{library}"
        for library in ("ax", "bayesopt", "bohb", "hebo", "hyperopt", "nevergrad", "optuna", "zoopt")
    },
}
"""The public module, by each inner one whose names it gives; without the leading `ray.` or `perdure.`."""

_NO_CLUSTER = "There is no cluster: leave it out."
_DISTRIBUTED = "perdure tunes trials that train in one process; start your distributed training inside the trial."
_IN_TRIAL = "Import report, get_checkpoint and get_context from perdure.tune."
_OF_RAY = "It is a part of Ray's own machinery."
_OF_CONTEXT = (
    "get_experiment_name get_trial_id get_trial_name get_trial_dir get_trial_resources get_world_size get_world_rank "
    "get_local_rank get_local_world_size get_node_rank"
)
_LOGGERS = "Derive from perdure.tune.logger.LoggerCallback, and pass the object in RunConfig(callbacks=[...])."

MODULES: dict[str, str] = {
    "tune.suggest": "Import from perdure.tune.search.",
    "tune.sample": "Import from perdure.tune.search.sample.",
    "tune.trial": "Import Trial from perdure.tune.experiment.",
    "tune.session": _IN_TRIAL,
    "tune.integration.wandb": "Import WandbLoggerCallback and setup_wandb from perdure.air.integrations.wandb.",
    "tune.integration.mlflow": "Import MLflowLoggerCallback and setup_mlflow from perdure.air.integrations.mlflow.",
    "tune.integration.comet": "Import CometLoggerCallback from perdure.air.integrations.comet.",
    **dict.fromkeys(
        ("tune.integration.torch", "tune.integration.tensorflow", "tune.integration.horovod"), _DISTRIBUTED
    ),
    "tune.utils.mock_trainable": "It belongs to Ray's own tests: define the trainable in your script.",
    "tune.utils.log": "Say RunConfig(verbose=...) with an int: 0, 1, 2 or 3.",
    "tune.utils.placement_groups": "Import PlacementGroupFactory from perdure.tune.",
    "tune.resources": "Say what a trial needs with tune.with_resources(trainable, {'cpu': 2, 'gpu': 1}).",
    **{
        f"tune.search.{library}": "Ray has it no more. Use perdure.tune.search.optuna.OptunaSearch, or another."
        for library in ("dragonfly", "flaml", "sigopt", "skopt")
    },
    "tune.utils.mock": "It belongs to Ray's own tests.",
    "tune.search.variant_generator": f"{_OF_RAY} Import grid_search from perdure.tune.",
    "tune.execution.tune_controller": f"{_OF_RAY} Hooks of a scheduler get a view with get_trials() and "
    "get_live_trials().",
    **dict.fromkeys(
        (
            *("tune.execution.trial_runner", "tune.trial_runner", "tune.trial_executor", "tune.ray_trial_executor"),
            *("tune.function_runner", "tune.impl", "tune.automl", "tune.constants", "tune.utils.file_transfer"),
        ),
        _OF_RAY,
    ),
    "tune.cli": "On the command line there are perdure ls, perdure show, perdure best and more.",
    "tune.sklearn": "Import TuneSearchCV from perdure.integrations.sklearn.",
    "tune.examples": "Copy the example beside your script, and import it from there.",
    "air.checkpoint": "Import Checkpoint from perdure.tune.",
    "air.callbacks": "Import from perdure.air.integrations.",
    "train.session": _IN_TRIAL,
    "train.xgboost": f"{_DISTRIBUTED} For xgboost.train there is perdure.tune.integration.xgboost.",
    "train.lightgbm": f"{_DISTRIBUTED} For lightgbm.train there is perdure.tune.integration.lightgbm.",
    "train.lightning": f"{_DISTRIBUTED} For Lightning there is perdure.tune.integration.pytorch_lightning.",
    "train.huggingface": f"{_DISTRIBUTED} For a Trainer there is perdure.integrations.transformers.",
    "train.tensorflow": f"{_DISTRIBUTED} For Keras there is perdure.tune.integration.keras.",
    "train.torch": f"{_DISTRIBUTED} For PyTorch there is perdure.integrations.torch.",
    **{
        f"train.{name}": _DISTRIBUTED
        for name in ("horovod", "base_trainer", "data_parallel_trainer", "trainer", "backend", "collective")
    },
    "rllib": "perdure has no algorithms of its own: tune a function, or a Trainable class, that trains yours.",
    "data": "Load the data in the trial, or give it to all trials with tune.with_parameters.",
    **dict.fromkeys(("serve", "util", "cluster_utils", "autoscaler", "exceptions", "actor", "workflow"), _NO_CLUSTER),
}
"""What to write in place of an import from a module or from below it."""

_CORE = (
    "init shutdown is_initialized remote method get wait kill cancel nodes cluster_resources available_resources "
    "get_runtime_context timeline"
)

NAMES: dict[str, dict[str, str]] = {
    "": {
        **dict.fromkeys(_CORE.split(), _NO_CLUSTER),
        "init": f"{_NO_CLUSTER} To give out more or fewer CPUs than the machine has: "
        "RunConfig(executor=LocalExecutor(cpus=...)), from perdure.executors.local.",
        "put": "Give the object to all trials with tune.with_parameters(trainable, name=object).",
        "get": "Objects given with tune.with_parameters are passed as they are: leave it out.",
        "get_gpu_ids": "The GPUs of a trial are in its CUDA_VISIBLE_DEVICES.",
    },
    "air": {
        "Checkpoint": MODULES["air.checkpoint"],
        "DatasetConfig": _DISTRIBUTED,
    },
    "tune": {
        **dict.fromkeys(_OF_CONTEXT.split(), "It is a method of tune.get_context()."),
        "is_session_enabled": "perdure.tune.get_context().get_trial_id() is None outside a trial.",
        "session": _IN_TRIAL,
        "get_dataset_shard": _DISTRIBUTED,
        "track": "Use tune.report.",
        "Analysis": "Use perdure.tune.ExperimentAnalysis, or ResultGrid from Tuner.restore(path).get_results().",
        "function": "Pass the function itself; only tune.sample_from is called for each trial.",
        "suggest": "Import from perdure.tune.search.",
        "sample": MODULES["tune.sample"],
        **dict.fromkeys(
            ("durable", "DurableTrainable"),
            "Leave it out: every trial is. Set RunConfig(storage_path=...).",
        ),
        "EarlyStopping": "Use perdure.tune.stopper.ExperimentPlateauStopper.",
        "ExperimentPlateauStopper": "Import it from perdure.tune.stopper.",
    },
    "tune.logger": dict.fromkeys(
        ("DEFAULT_LOGGERS", "Logger", "UnifiedLogger", "JsonLogger", "CSVLogger", "TBXLogger", "NoopLogger"), _LOGGERS
    ),
    "tune.schedulers": {"PB2": "Import it from perdure.tune.schedulers.pb2."},
    "tune.search.searcher": {"ConcurrencyLimiter": "Import it from perdure.tune.search."},
    "tune.utils": {
        **dict.fromkeys(
            ("pin_in_object_store", "get_pinned_object"), "Use tune.with_parameters(trainable, name=object)."
        ),
        "unflatten_dict": "Result.config and Result.metrics are nested as they were given.",
    },
    "train": dict.fromkeys(("Trainer", "TrainingIterator", "world_rank", "world_size", "local_rank"), _DISTRIBUTED),
}
"""What to write in place of a name, by module and name."""


def spec_of(name: str) -> ModuleSpec | None:
    """Return how to make the module of this full name, if it is an inner one of Ray's; None if nothing is known of it.

    Raises:
        ImportError: it is not offered; the message says what to write. It is no ModuleNotFoundError, which
            `from perdure import data` would replace by a message of its own.
    """
    path = name.removeprefix("perdure.")
    if path in INNER:
        return ModuleSpec(name, _InnerLoader(), is_package=True)  # type: ignore[arg-type]  # duck-typed: importlib.abc loads 35 ms of modules
    above = path
    while above:
        if above in MODULES:
            raise ImportError(f"{name} is not offered by perdure. {MODULES[above]}", name=name)
        above = above.rpartition(".")[0]
    return None


class _InnerLoader:
    """Makes a module that looks its names up where the public module does."""

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to Python."""
        del spec

    def exec_module(self, module: ModuleType) -> None:
        """Take over how the public module finds its names; not by a function around it, see `lazy_names`."""
        public = importlib.import_module(f"perdure.{INNER[module.__name__.removeprefix('perdure.')]}")
        module.__doc__ = f"The names of `{public.__name__}`, under an inner module of Ray's."
        for special in ("__getattr__", "__dir__", "__all__"):
            setattr(module, special, getattr(public, special))


class Elsewhere:
    """A finder of modules that Python asks last: for those below `perdure` that are not there."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """See `spec_of`."""
        del path, target
        return spec_of(name) if name.startswith("perdure.") else None


def attribute_error(owner: object, name: str, older: Mapping[str, str]) -> AttributeError:
    """Return what to raise where an object has no attribute `name`, given what replaced those of older releases."""
    kind = type(owner).__name__
    advice = f"{kind} has no {name}: {older[name]}." if name in older else f"{kind!r} object has no attribute {name!r}"
    return AttributeError(advice, name=name, obj=owner)


def refusal(module: str, name: str, message: str, caller: FrameType) -> ImportError | AttributeError:
    """Return what to raise where `module` has no such name, given the frame that asked for it.

    `from module import name` would replace an AttributeError by a message of its own, so it gets an ImportError.
    """
    if _is_importing(caller):
        return ImportError(message, name=module)
    return AttributeError(message, name=name, obj=sys.modules[module])


def _is_importing(caller: FrameType) -> bool:
    """Whether `caller` is in the middle of `from module import name`."""
    import dis

    instruction = dis.opname[caller.f_code.co_code[caller.f_lasti]]
    return instruction == "IMPORT_FROM" or caller.f_code.co_filename.startswith("<frozen importlib")
