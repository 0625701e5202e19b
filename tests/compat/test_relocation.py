"""Imports from inner modules of Ray's and from older releases of it: they work, or say what to write."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings

import pytest

import perdure
from perdure import air, tune
from perdure.compatibility import SURFACE
from perdure.relocation import INNER, MODULES, NAMES


@pytest.mark.parametrize("inner", INNER)
def test_an_inner_module_gives_the_names_of_the_public_one(inner: str) -> None:
    public = importlib.import_module(f"perdure.{INNER[inner]}")
    module = importlib.import_module(f"perdure.{inner}")
    assert module.__all__ == public.__all__
    loaded = [name for name in public.__all__ if not SURFACE[INNER[inner]][name].extra]
    assert [getattr(module, name) for name in loaded] == [getattr(public, name) for name in loaded]


def test_inner_modules_serve_imports_of_every_form() -> None:
    script = (
        "from perdure.tune.execution.placement_groups import PlacementGroupFactory\n"
        "import perdure.tune.experiment.trial\n"
        "import perdure.tune.schedulers.async_hyperband as asha\n"
        "from perdure.air import session\n"
        "from perdure import tune\n"
        "assert PlacementGroupFactory is tune.PlacementGroupFactory\n"
        "assert perdure.tune.experiment.trial.Trial is tune.experiment.Trial\n"
        "assert asha.ASHAScheduler is tune.schedulers.ASHAScheduler\n"
        "assert session.report is tune.report\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_that_is_not_offered_says_what_to_write(module: str) -> None:
    for name in (module, f"{module}.below"):
        with pytest.raises(ImportError) as refused:
            importlib.import_module(f"perdure.{name}")
        assert MODULES[module] in str(refused.value)
    parent, _, last = f"perdure.{module}".rpartition(".")
    with pytest.raises(ImportError) as refused:
        exec(f"from {parent} import {last}", {})
    assert "is not offered by perdure" in str(refused.value)


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, names in NAMES.items() for n in names])
def test_a_name_of_an_older_release_says_what_to_write(module: str, name: str) -> None:
    full = f"perdure.{module}".rstrip(".")
    with pytest.raises(ImportError) as imported:
        exec(f"from {full} import {name}", {})
    with pytest.raises(AttributeError) as attribute:
        getattr(importlib.import_module(full), name)
    for refused in (imported, attribute):
        assert NAMES[module][name] in str(refused.value)


def test_a_module_that_nobody_knows_is_missing_as_usual() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'perdure.tune.nothing'"):
        importlib.import_module("perdure.tune.nothing")
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        exec("from perdure import nothing", {})
    assert not hasattr(perdure, "nothing")


def test_no_table_hides_what_is_offered() -> None:
    offered = {(module, name) for module, rows in SURFACE.items() for name, row in rows.items() if row.offered}
    assert not offered & {(module, name) for module, names in NAMES.items() for name in names}
    assert not SURFACE.keys() & {*INNER, *MODULES}
    assert not [above for above in MODULES for module in (*SURFACE, *INNER) if module.startswith(f"{above}.")]


def test_a_script_of_ray_2_0_runs_with_air_and_session(tmp_path) -> None:
    from perdure.air import session

    def train(config: dict) -> None:
        session.report({"loss": config["x"] ** 2})

    grid = tune.Tuner(
        train,
        param_space={"x": tune.grid_search([1, 2])},
        tune_config=tune.TuneConfig(metric="loss", mode="min"),
        run_config=air.RunConfig(
            storage_path=tmp_path,
            verbose=0,
            checkpoint_config=air.CheckpointConfig(num_to_keep=1),
            failure_config=air.FailureConfig(max_failures=1),
        ),
    ).fit()
    assert grid.get_best_result().config == {"x": 1}


def one_row(config: dict) -> None:
    tune.report({"loss": config["x"]})


def test_results_say_what_replaced_their_older_attributes(tmp_path) -> None:
    run_config = tune.RunConfig(storage_path=tmp_path, verbose=0, executor="inline")
    grid = tune.Tuner(one_row, param_space={"x": 1}, run_config=run_config).fit()
    analysis = tune.ExperimentAnalysis(grid.experiment_path)
    for owner, name, advice in [
        (grid[0], "log_dir", "Result has no log_dir: use path."),
        (grid[0], "dataframe", "use metrics_dataframe"),
        (analysis, "fetch_trial_dataframes", "ExperimentAnalysis has no fetch_trial_dataframes: use trial_dataframes."),
        (analysis.trials[0], "metric_analysis", "TrialView has no metric_analysis: use ResultGrid: get_best_result("),
        (analysis.trials[0], "has_checkpoint", "TrialView has no has_checkpoint: look whether checkpoint is None."),
        (analysis.trials[0], "nothing", "'TrialView' object has no attribute 'nothing'"),
        (analysis, "nothing", "'ExperimentAnalysis' object has no attribute 'nothing'"),
        (grid[0], "nothing", "'Result' object has no attribute 'nothing'"),
    ]:
        with pytest.raises(AttributeError) as refused:
            getattr(owner, name)
        assert advice.rstrip(".") in str(refused.value)
        assert not hasattr(owner, name)


def test_a_function_that_waits_for_a_checkpoint_dir_is_told_to_ask_for_it() -> None:
    def old(config: dict, checkpoint_dir: str | None = None) -> None: ...

    with pytest.warns(UserWarning, match=r"begins again after each interruption. Ask tune.get_checkpoint\(\)"):
        tune.Tuner(old)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tune.Tuner(tune.with_parameters(old, checkpoint_dir="somewhere"))
