"""Writes `ray_tune_2_60.json`: every public name of Ray Tune with its signature, as introspected from its wheel.

Run by hand, once per supported Ray release, with an interpreter that has `ray[tune]`, and commit the result:

    path/to/python-with-ray tests/compat/generate_table.py

A name is public if it is in `__all__` of one of MODULES or, where a module has none, if its users' guide tells people
to import it from there (NAMES). For a class, the public methods and properties are listed as members.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import pathlib
import warnings

MODULES = [
    "ray.tune",
    "ray.tune.schedulers",
    "ray.tune.search",
    "ray.tune.search.ax",
    "ray.tune.search.bayesopt",
    "ray.tune.search.bohb",
    "ray.tune.search.hebo",
    "ray.tune.search.hyperopt",
    "ray.tune.search.nevergrad",
    "ray.tune.search.optuna",
    "ray.tune.search.zoopt",
    "ray.tune.stopper",
    "ray.tune.logger",
    "ray.tune.experiment",
    "ray.tune.trainable",
    "ray.tune.analysis",
    "ray.tune.utils",
    "ray.train",
]
"""Modules with `__all__`."""

NAMES = {
    "ray.air": ["CheckpointConfig", "FailureConfig", "Result", "RunConfig", "ScalingConfig"],
    "ray.air.integrations.comet": ["CometLoggerCallback"],
    "ray.air.integrations.keras": ["ReportCheckpointCallback"],
    "ray.air.integrations.mlflow": ["MLflowLoggerCallback", "setup_mlflow"],
    "ray.air.integrations.wandb": ["WandbLoggerCallback", "setup_wandb"],
    "ray.tune.callback": ["Callback"],
    "ray.tune.error": ["TuneError"],
    "ray.tune.integration.keras": ["TuneReportCallback", "TuneReportCheckpointCallback"],
    "ray.tune.integration.lightgbm": ["TuneReportCallback", "TuneReportCheckpointCallback"],
    "ray.tune.integration.pytorch_lightning": ["TuneCallback", "TuneReportCallback", "TuneReportCheckpointCallback"],
    "ray.tune.integration.ray_train": ["TuneReportCallback"],
    "ray.tune.integration.xgboost": ["TuneReportCallback", "TuneReportCheckpointCallback"],
    "ray.tune.logger.aim": ["AimLoggerCallback"],
    "ray.tune.logger.comet": ["CometLoggerCallback"],
    "ray.tune.logger.mlflow": ["MLflowLoggerCallback"],
    "ray.tune.logger.wandb": ["WandbLoggerCallback"],
    "ray.tune.progress_reporter": ["CLIReporter", "JupyterNotebookReporter", "ProgressReporter"],
    "ray.tune.registry": ["get_trainable_cls", "register_env", "register_trainable"],
    "ray.tune.result": None,
    "ray.tune.result_grid": ["ResultGrid"],
    "ray.tune.schedulers.pb2": ["PB2"],
    "ray.tune.schedulers.resource_changing_scheduler": ["DistributeResources", "DistributeResourcesToTopJob"],
    "ray.tune.schedulers.trial_scheduler": ["FIFOScheduler", "TrialScheduler"],
    "ray.tune.search.basic_variant": ["BasicVariantGenerator"],
    "ray.tune.search.concurrency_limiter": ["ConcurrencyLimiter"],
    "ray.tune.search.repeater": ["Repeater", "TRIAL_INDEX"],
    "ray.tune.search.sample": ["Categorical", "Domain", "Float", "Integer"],
    "ray.tune.search.searcher": ["Searcher"],
    "ray.tune.syncer": ["SyncConfig"],
    "ray.tune.tune_config": ["ResumeConfig", "TuneConfig"],
    "ray.tune.tuner": ["Tuner"],
}
"""Modules without: the names (None: every constant)."""


def default_of(parameter: inspect.Parameter) -> str | None:
    """The default as text that does not change from run to run."""
    value = parameter.default
    if value is inspect.Parameter.empty:
        return None
    if type(value).__name__ == "_HAS_DEFAULT_FACTORY_CLASS":
        return "<factory>"
    text = repr(value)
    return f"<{type(value).__name__}>" if " at 0x" in text else text


def signature_of(value: object) -> list[dict[str, str]] | None:
    """Parameters in order, or None where Python cannot tell."""
    try:
        signature = inspect.signature(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    rows = []
    for parameter in signature.parameters.values():
        if parameter.name.startswith("_") or parameter.name == "self":
            continue
        row = {"name": parameter.name, "kind": parameter.kind.name.lower()}
        default = default_of(parameter)
        if default is not None:
            row["default"] = default
        rows.append(row)
    return rows


def members_of(cls: type) -> dict[str, dict[str, object]]:
    """Public attributes of a class, with its dataclass fields."""
    members: dict[str, dict[str, object]] = {}
    if dataclasses.is_dataclass(cls):
        members |= {f.name: {"kind": "attribute"} for f in dataclasses.fields(cls) if not f.name.startswith("_")}
    inherited = {name for base in cls.__mro__ if not base.__module__.startswith("ray") for name in vars(base)}
    for name in dir(cls):
        if name.startswith("_") or name in members or name in inherited:
            continue
        value = inspect.getattr_static(cls, name)
        if isinstance(value, property):
            members[name] = {"kind": "property"}
        elif callable(getattr(cls, name)):
            members[name] = {"kind": "method", "parameters": signature_of(getattr(cls, name))}
        else:
            members[name] = {"kind": "attribute"}
    return members


def describe(value: object) -> dict[str, object]:
    """One row of the table."""
    if inspect.isclass(value):
        return {"kind": "class", "parameters": signature_of(value), "members": members_of(value)}
    if callable(value):
        return {"kind": "function", "parameters": signature_of(value)}
    return {"kind": "constant", "value": repr(value)}


def module_rows(module_name: str, names: list[str] | None) -> dict[str, object]:
    """Rows of one module. One that needs a package that is not installed is listed by name only."""
    try:
        module = importlib.import_module(module_name)
    except (ImportError, DeprecationWarning):
        return {name: {"kind": "unknown"} for name in names or []}
    if names is None:
        names = list(getattr(module, "__all__", ())) or [n for n in vars(module) if n.isupper()]
    rows = {}
    for name in sorted(names):
        value = getattr(module, name, None)
        # A name that stands for an optional package's class is None, or a stand-in, where the package is missing.
        rows[name] = {"kind": "unknown"} if value is None else describe(value)
    return {name: row for name, row in rows.items() if not name.startswith("_")}


def main() -> None:
    """Write the table beside this script."""
    warnings.simplefilter("ignore")
    import ray

    table = {"ray": ray.__version__, "modules": {}}
    for name, names in sorted({**dict.fromkeys(MODULES), **NAMES}.items()):
        table["modules"][name] = module_rows(name, names)  # type: ignore[index]
    path = pathlib.Path(__file__).with_name("ray_tune_2_60.json")
    path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
