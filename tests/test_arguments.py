"""Arguments by names that are none: what to write is in the message."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys

import pytest

from perdure import tune
from perdure.compatibility import SURFACE
from perdure.errors import ArgumentError, ConfigurationError


def objective(config: dict) -> None:
    raise AssertionError("nothing is run")


@pytest.mark.parametrize(
    ("called", "arguments", "advice"),
    [
        (tune.run, {"upload_dir": "s3://bucket"}, "tune.run(upload_dir=...): there is no such argument. Use storage_"),
        (tune.run, {"loggers": []}, "Use callbacks=[...]"),
        (tune.run, {"run_errored_only": True}, 'Use resume="AUTO+ERRORED_ONLY".'),
        (tune.run, {"verbos": 1}, "Did you mean verbose?"),
        (tune.run, {"seed": 1}, "seed is an argument of tune.TuneConfig."),
        (tune.Tuner, {"config": {}}, "Use param_space."),
        (tune.Tuner, {"num_samples": 3}, "num_samples is an argument of tune.TuneConfig."),
        (tune.Tuner, {"storage_path": "here"}, "storage_path is an argument of tune.RunConfig."),
    ],
)
def test_of_what_starts_an_experiment(called, arguments: dict, advice: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(advice)) as refused:
        called(objective, **arguments)
    assert isinstance(refused.value, TypeError)


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        ({"num_sample": 5}, "Did you mean num_samples?"),
        ({"resume_error": True}, "Did you mean resume_errored?"),
        ({"max_failures": 3}, "A restore keeps it as it was; the script that made the experiment can change it"),
        ({"run_config": None}, 'RunConfig(name=..., resume="auto")'),
        ({"overwrite_trainable": True}, "Leave it out: a trainable that is given takes the place of the stored one."),
    ],
)
def test_of_a_restore(arguments: dict, advice: str) -> None:
    told = (
        re.escape(f"Tuner.restore({next(iter(arguments))}=...): there is no such argument. ") + ".*" + re.escape(advice)
    )
    with pytest.raises(ArgumentError, match=told):
        tune.Tuner.restore("nowhere", objective, **arguments)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"num_samples": "+2"}, "use a whole number or None, not a str. It is the number in all, of which some exist"),
        ({"resume_errored": "no"}, "use True or False, not a str."),
        ({"param_space": [1]}, "use a dict or None, not a list."),
    ],
)
def test_of_a_restore_of_another_kind(arguments: dict, told: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(told)):
        tune.Tuner.restore("nowhere", objective, **arguments)
    with pytest.raises(
        ConfigurationError, match=re.escape("Tuner.restore(path=7): use a string or a path, not an int.")
    ):
        tune.Tuner.restore(7)


@pytest.mark.parametrize(
    ("config", "argument", "advice"),
    [
        (tune.RunConfig, "upload_dir", "Use storage_path."),
        (tune.RunConfig, "max_failures", "max_failures is an argument of tune.FailureConfig."),
        (tune.RunConfig, "num_to_keep", "num_to_keep is an argument of tune.CheckpointConfig."),
        (tune.TuneConfig, "metrics", "Did you mean metric?"),
        (tune.TuneConfig, "stop", "stop is an argument of tune.RunConfig."),
        (tune.CheckpointConfig, "keep_checkpoints_num", "Use num_to_keep."),
        (tune.SyncConfig, "zzz", "It has sync_artifacts, sync_artifacts_on_checkpoint, sync_period, sync_timeout."),
        (tune.SyncConfig, "upload_dir", "Use RunConfig(storage_path=...)."),
    ],
)
def test_of_configurations(config: type, argument: str, advice: str) -> None:
    with pytest.raises(
        ArgumentError, match=re.escape(f"{config.__name__}({argument}=...): ") + ".*" + re.escape(advice)
    ):
        config(**{argument: 1})


PLUGINS = {
    f"{module}.{name}": plugin
    for module, rows in SURFACE.items()
    if module.startswith(("tune.schedulers", "tune.search", "tune.stopper", "tune.progress_reporter"))
    for name, row in rows.items()
    if row.offered and callable(plugin := getattr(importlib.import_module(f"perdure.{module}"), name))
}


@pytest.mark.parametrize("plugin", PLUGINS)
def test_of_schedulers_searchers_stoppers_and_reporters(plugin: str) -> None:
    """All that scripts make; not what they derive from, nor what hands further arguments on to a library."""
    called = PLUGINS[plugin]
    parameters = inspect.signature(called).parameters.values()
    if any(one.kind is one.VAR_KEYWORD for one in parameters) or not inspect.isclass(called):
        return
    if called in (tune.schedulers.TrialScheduler, tune.search.Searcher, tune.Stopper, tune.ProgressReporter):
        return
    if issubclass(called, tune.search.sample.Domain) or called is tune.stopper.NoopStopper:
        return
    with pytest.raises(ArgumentError, match=re.escape(f"{called.__name__}(num_sampels=...): there is no such")):
        called(num_sampels=1)
    if "num_samples" not in inspect.signature(called).parameters:
        with pytest.raises(ArgumentError, match="num_samples is an argument of tune.TuneConfig"):
            called(num_samples=1)


@pytest.mark.parametrize(
    ("plugin", "argument", "advice"),
    [
        (tune.schedulers.ASHAScheduler, "reward_attr", "Use metric and mode."),
        (tune.schedulers.ASHAScheduler, "max_time", "Did you mean max_t?"),
        (tune.schedulers.PopulationBasedTraining, "hyperparam_mutation", "Did you mean hyperparam_mutations?"),
        (tune.search.hyperopt.HyperOptSearch, "max_concurrent", "Use TuneConfig(max_concurrent_trials=...), or "),
        (tune.stopper.MaximumIterationStopper, "iterations", "It has max_iter."),
        (tune.stopper.TimeoutStopper, "storage_path", "storage_path is an argument of tune.RunConfig."),
        (tune.CLIReporter, "metrics", "Did you mean metric?"),
    ],
)
def test_of_plugins_says_what_to_write(plugin: type, argument: str, advice: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(advice)):
        plugin(**{argument: 1})


class Other:
    """What nobody takes."""


@pytest.mark.parametrize("plugin", PLUGINS)
def test_of_another_kind(plugin: str) -> None:
    """Each argument whose annotation says plainly what it takes refuses what it does not take, all of them alike."""
    called = PLUGINS[plugin]
    if not inspect.isclass(called) or called.__module__.startswith("perdure.search_space"):
        return
    for parameter in inspect.signature(called).parameters.values():
        kinds = {one.partition("[")[0] for one in str(parameter.annotation).split(" | ")} - {"None"}
        if kinds and kinds <= {"int", "float", "bool", "str", "dict", "Mapping", "Sequence", "Callable"}:
            told = rf"^{called.__name__}\({parameter.name}=<.*>\): use .*, not an Other"
            with pytest.raises(ConfigurationError, match=told):
                called(**{**REQUIRED.get(called.__name__, {}), parameter.name: Other()})


REQUIRED = {
    "ConcurrencyLimiter": {"searcher": None, "max_concurrent": 1},
    "Repeater": {"searcher": None},
    "ExperimentPlateauStopper": {"metric": "loss"},
    "TrialPlateauStopper": {"metric": "loss"},
}
MUTATIONS = {"hyperparam_mutations": {"lr": [1, 2]}}


@pytest.mark.parametrize(
    ("called", "arguments", "message"),
    [
        (tune.search.BasicVariantGenerator, {"max_concurrent": "a"}, "use a whole number, not a str."),
        (tune.search.BasicVariantGenerator, {"max_concurrent": 1.5}, "use a whole number, not a float."),
        (tune.search.BasicVariantGenerator, {"max_concurrent": True}, "use a whole number, not a bool."),
        (tune.search.BasicVariantGenerator, {"points_to_evaluate": "lr=1"}, "use a list or None, not a str."),
        (tune.schedulers.ASHAScheduler, {"time_attr": None}, "use a string, not None."),
        (tune.schedulers.ASHAScheduler, {"metric": ["a", "b"]}, "use a string or None, not a list."),
        (tune.schedulers.PopulationBasedTraining, {**MUTATIONS, "synch": "9"}, "use True or False, not a str."),
        (
            tune.schedulers.PopulationBasedTraining,
            {**MUTATIONS, "custom_explore_fn": 3},
            "use a function or None, not an",
        ),
        (tune.schedulers.HyperBandScheduler, {"stop_last_trials": "no"}, "use True or False, not a str."),
        (tune.search.bohb.TuneBOHB, {"seed": "a"}, "use a whole number or None, not a str."),
        (tune.search.bohb.TuneBOHB, {"seed": 1.5}, "use a whole number or None, not a float."),
        (tune.search.bohb.TuneBOHB, {"metric": ["a", "b"]}, "not a list. OptunaSearch optimises several metrics."),
        (tune.search.bohb.TuneBOHB, {"mode": "best"}, 'must be "min" or "max"'),
        (tune.stopper.MaximumIterationStopper, {"max_iter": "3"}, "use a whole number, not a str."),
        (tune.CLIReporter, {"max_report_frequency": "5"}, "use a number, not a str."),
    ],
)
def test_of_another_kind_says_what_to_use(called: type, arguments: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)) as refused:
        called(**arguments)
    assert list(arguments)[-1] in str(refused.value)


def test_an_argument_by_its_place_is_looked_at_too() -> None:
    with pytest.raises(ConfigurationError, match=r"Scheduler\(max_t='16'\): use a number"):
        tune.schedulers.ASHAScheduler("training_iteration", "loss", "min", "16")


def test_what_serves_as_well_is_taken() -> None:
    numpy = pytest.importorskip("numpy")
    tune.schedulers.ASHAScheduler(max_t=numpy.int64(8), grace_period=0.5, brackets=2.0, stop_last_trials=0)
    tune.schedulers.PopulationBasedTraining(
        **MUTATIONS, synch=numpy.bool_(True), perturbation_interval=numpy.float32(2)
    )
    tune.schedulers.HyperBandScheduler(max_t=27.0)
    tune.stopper.MaximumIterationStopper(1e3)
    tune.search.bohb.TuneBOHB(points_to_evaluate=numpy.array([{"x": 1}]), seed=numpy.uint8(3), max_concurrent=2.0)


def test_an_object_is_shown_in_brief() -> None:
    with pytest.raises(ConfigurationError) as refused:
        tune.schedulers.ASHAScheduler(max_t=list(range(10_000)))
    assert len(str(refused.value)) < 200


def test_a_plugin_of_ones_own_takes_what_it_likes() -> None:
    class Mine(tune.schedulers.ASHAScheduler):
        def __init__(self, patience: int, **kwargs: object) -> None:
            super().__init__(**kwargs)
            self.patience = patience

    assert Mine(patience=3, max_t=5).patience == 3
    with pytest.raises(ArgumentError, match=r"AsyncHyperBandScheduler\(patient=...\)"):
        Mine(patience=3, patient=5)


def test_configurations_are_known_to_whom_nothing_else_is_imported() -> None:
    script = (
        "from perdure.tune.stopper import TimeoutStopper\n"
        "try:\n    TimeoutStopper(num_samples=1)\nexcept TypeError as error:\n    print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert "num_samples is an argument of tune.TuneConfig." in ran.stdout


def test_metrics_that_are_no_dict() -> None:
    with pytest.raises(ArgumentError, match=re.escape('write report({"loss": ..., "accuracy": ...})')):
        tune.report(loss=1, accuracy=2)


def test_the_checkpoint_dir_of_ray_1() -> None:
    with pytest.raises(ArgumentError, match="Save into the directory it gives, and report that within the block"):
        tune.checkpoint_dir(step=3)


def test_python_says_the_rest_itself() -> None:
    with pytest.raises(TypeError, match="positional argument"):
        tune.Tuner(objective, {"x": 1})  # type: ignore[misc]
    with pytest.raises(TypeError, match="metrics"):
        tune.report()  # type: ignore[call-arg]


def test_signatures_are_seen_through() -> None:
    assert list(inspect.signature(tune.report).parameters) == ["metrics", "checkpoint"]
    assert "storage_path" in inspect.signature(tune.RunConfig).parameters
    assert tune.run.__name__ == "run"
