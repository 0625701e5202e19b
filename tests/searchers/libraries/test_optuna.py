"""What OptunaSearch can beyond what all searchers can."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys

import pytest

from perdure import tune
from perdure.errors import ConfigurationError, MetricError
from perdure.searchers.driver import PastCompletion, PastSuggestion, SearchDriver, check_search
from perdure.searchers.optuna import OptunaSearch

pytestmark = [pytest.mark.library, pytest.mark.filterwarnings("default")]
SPACE = {"x": tune.uniform(-5, 5), "y": tune.uniform(-5, 5)}


def driver(searcher, space=None, num_samples=100, **settings):
    settings = {"metric": "loss", "mode": "min", "seed": 0, **settings}
    return SearchDriver(searcher, param_space=SPACE if space is None else space, num_samples=num_samples, **settings)


def study_of(search):
    return search.searcher._memory


def test_learning_from_a_point_copies_none_of_those_before(monkeypatch):
    """`Study.trials` copies all of them: of 800 points, each took 45 ms."""
    import optuna

    search = driver(OptunaSearch())
    search.next("t")
    monkeypatch.setattr(optuna.Study, "trials", property(lambda study: pytest.fail("all trials were copied")))
    for value in (1.0, 2.0):
        search.searcher.add_evaluated_point({"x": value, "y": 0.0}, value)
    assert [trial.value for trial in study_of(search).get_trials(deepcopy=False)] == [None, 1.0, 2.0]


def test_define_by_run():
    def space(trial):
        if trial.suggest_categorical("model/kind", ["tree", "net"]) == "net":
            trial.suggest_float("model/lr", 1e-4, 1e-1, log=True)
        return {"fixed": 1, "model/extra": True}

    search = driver(OptunaSearch(space=space), {"data": "mnist"})
    configs = [search.next(f"t{number}").config for number in range(20)]
    assert {config["model"]["kind"] for config in configs} == {"tree", "net"}
    for config in configs:
        assert ("lr" in config["model"]) == (config["model"]["kind"] == "net")
        assert (config["fixed"], config["model"]["extra"], config["data"]) == (1, True, "mnist")
    again = driver(OptunaSearch(space=space), {"data": "mnist"})
    past = [PastSuggestion(trial=f"t{number}", config=config) for number, config in enumerate(configs[:10])]
    assert again.replay(past) is None
    assert [again.next(f"t{number}").config for number in range(10, 20)] == configs[10:]


def test_optunas_own_distributions():
    import optuna

    space = {"n/units": optuna.distributions.IntDistribution(8, 64, step=8), "act": optuna.distributions.CategoricalDistribution(["a", "b"])}  # noqa: E501  # fmt: skip
    config = driver(OptunaSearch(space=space), {"n": {"c": 1}}).next("t0").config
    assert config["n"]["units"] % 8 == 0
    assert config["n"]["c"] == 1
    assert config["act"] in ("a", "b")


def test_several_metrics():
    searcher = OptunaSearch(metric=["loss", "seconds", "size"], mode=["min", "max", "obs"])
    search = driver(searcher, metric=None, mode=None)
    assert search.metrics == ("loss", "seconds", "size")
    for number in range(15):
        config = search.next(f"t{number}").config
        search.on_complete(f"t{number}", {"loss": config["x"] ** 2, "seconds": config["y"], "size": 1})
    study = study_of(search)
    assert [direction.name for direction in study.directions] == ["MINIMIZE", "MAXIMIZE"]
    assert study.best_trials
    assert len(study.trials[0].values) == 2


def test_only_what_is_there_with_a_choice_is_searched():
    space = {
        "model": tune.choice(
            [{"kind": "tree", "leaves": tune.randint(2, 9)}, {"kind": "net", "lr": tune.uniform(0, 1)}]
        )
    }
    search = driver(OptunaSearch(), space)
    for number in range(12):
        config = search.next(f"t{number}").config["model"]
        names = set(study_of(search).trials[number].params)
        assert names == ({"model", "model[0]/leaves"} if config["kind"] == "tree" else {"model", "model[1]/lr"})


def test_a_study_shows_values_as_they_are():
    space = {"q": tune.quniform(0, 1, 0.25), "k": tune.qrandint(8, 64, 8), "act": tune.choice(["relu", None])}
    search = driver(OptunaSearch(), space)
    config = search.next("t0").config
    assert study_of(search).trials[0].params == config


def test_rows_on_the_way_failures_and_nan():
    search = driver(OptunaSearch())
    for number in range(3):
        search.next(f"t{number}")
    for step in (1, 2, 2):
        search.on_result("t0", {"loss": 1.0 / step, "training_iteration": step})
    search.on_complete("t0", {"loss": 0.25})
    search.on_complete("t1", None, error=True)
    search.on_complete("t2", {"loss": math.nan})
    trials = study_of(search).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE", "FAIL", "FAIL"]
    assert (trials[0].intermediate_values, trials[0].value) == ({1: 1.0, 2: 0.5}, 0.25)


def test_points_with_rewards_are_learnt_from_and_not_tried():
    points = [{"x": 0.0, "y": 0.0}, {"x": 1.0, "y": 1.0}]
    search = driver(OptunaSearch(points_to_evaluate=points, evaluated_rewards=[0.5, 2.5]))
    config = search.next("t0").config
    assert config not in points
    assert [trial.value for trial in study_of(search).trials] == [0.5, 2.5, None]
    with pytest.raises(ConfigurationError, match="1 values for 2 points"):
        OptunaSearch(points_to_evaluate=points, evaluated_rewards=[1])


def test_points_in_a_space_of_optunas_distributions():
    import optuna

    space = {
        "n/units": optuna.distributions.IntDistribution(8, 64, step=8),
        "act": optuna.distributions.CategoricalDistribution(["a", "b"]),
    }
    points = [{"n/units": 16, "act": "b"}, {"n": {"units": 24}, "epochs": 3}]  # what is left out is sampled
    check_search(OptunaSearch(space, points_to_evaluate=points), {"epochs": 3})
    search = driver(OptunaSearch(space, points_to_evaluate=points), {"epochs": 3})
    assert search.next("t0").config == {"n": {"units": 16}, "act": "b", "epochs": 3}
    assert search.next("t1").config["n"]["units"] == 24
    for point, told in (({"actt": "a"}, "'actt', which is not"), ({"act": "c"}, "'c' of 'act' is none of its choices")):
        with pytest.raises(ConfigurationError, match=told):
            check_search(OptunaSearch(space, points_to_evaluate=[point]), {})


def test_points_of_define_by_run_may_name_anything():
    def space(trial):
        trial.suggest_float("x", 0, 1)

    searcher = OptunaSearch(space, points_to_evaluate=[{"x": 0.5, "whatever": 3}])
    check_search(searcher, {"epochs": 3})
    assert driver(searcher, {"epochs": 3}).next("t0").config == {"x": 0.5, "epochs": 3}


def test_a_study_in_a_file_is_found_again(tmp_path):
    import optuna

    def make():
        backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "study.log"))
        return driver(OptunaSearch(storage=optuna.storages.JournalStorage(backend), study_name="s"))

    search = make()
    assert not search.save(tmp_path)
    past = []
    for number in range(3):
        config = search.next(f"t{number}").config
        past.append(PastSuggestion(trial=f"t{number}", config=config))
    search.on_complete("t0", {"loss": 1.0})
    past.append(PastCompletion(trial="t0", result={"loss": 1.0}))
    search.next("t3")  # and killed before it is in the journal
    again = make()
    assert again.replay(past) is None
    assert len(study_of(again).trials) == 4
    again.on_complete("t1", {"loss": 2.0})
    assert again.next("t3").config == {name: study_of(again).trials[3].params[name] for name in ("x", "y")}
    assert [trial.state.name for trial in study_of(again).trials] == ["COMPLETE", "COMPLETE", "RUNNING", "RUNNING"]
    other = driver(OptunaSearch(storage=make().searcher._storage, study_name="s"))
    other.next("u0")
    assert len(study_of(other).trials) == 5  # another experiment adds to it


# --- whole experiments ------------------------------------------------------------------------------------------------


def objective(config):
    tune.report({"loss": (config["x"] - 1) ** 2 + (config["y"] + 2) ** 2})


def tuner(path, searcher="optuna", num_samples=20, trainable=objective, **settings):
    return tune.Tuner(
        trainable,
        param_space=SPACE,
        tune_config=tune.TuneConfig(
            search_alg=searcher, metric="loss", mode="min", num_samples=num_samples, seed=1, **settings
        ),
        run_config=tune.RunConfig(name="e", storage_path=str(path), executor="inline", verbose=0),
    )


def configs_of(grid):
    return [result.config for result in grid]


SCRIPT = """
import json, os, pathlib, signal, sys
from perdure import tune

def objective(config):
    with open("calls", "a") as calls:
        calls.write("x")
    if str(os.path.getsize("calls")) in sys.argv[1:]:
        os.kill(os.getpid(), signal.SIGKILL)  # the trial runs in the driver
    tune.report({"loss": (config["x"] - 1) ** 2 + (config["y"] + 2) ** 2})

here = pathlib.Path.cwd()
grid = tune.Tuner(
    objective,
    param_space={"x": tune.uniform(-5, 5), "y": tune.uniform(-5, 5)},
    tune_config=tune.TuneConfig(
        search_alg="optuna", metric="loss", mode="min", num_samples=18, seed=1, max_concurrent_trials=1
    ),
    run_config=tune.RunConfig(name="e", storage_path=str(here), executor="inline", verbose=0, resume="auto"),
).fit()
(here / "configs.json").write_text(json.dumps([result.config for result in grid]))
"""


@pytest.mark.parametrize("snapshots_every", ["auto", "0"])
def test_a_driver_that_is_killed_again_and_again_gives_the_very_same_curve(tmp_path, snapshots_every):
    def run(directory, *kills):
        directory.mkdir(exist_ok=True)
        (directory / "script.py").write_text(SCRIPT)
        environment = {
            **os.environ,
            "TUNE_GLOBAL_CHECKPOINT_S": snapshots_every,
            "RAY_CHDIR_TO_TRIAL_DIR": "0",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        ended = [
            subprocess.run(
                [sys.executable, "script.py", *kills], cwd=directory, env=environment, timeout=200
            ).returncode
            for _ in range(len(kills) + 1)
        ]
        assert ended == [-signal.SIGKILL] * len(kills) + [0]
        return json.loads((directory / "configs.json").read_text())

    assert run(tmp_path / "killed", "13", "17") == run(tmp_path / "whole")


def test_results_of_an_earlier_experiment_are_a_start(tmp_path):
    grid = tuner(tmp_path / "first", searcher=None).fit()
    searcher = OptunaSearch()
    searcher.add_evaluated_trials(grid, "loss")
    search = driver(searcher)
    search.next("t0")
    known = study_of(search).trials[:-1]
    assert len(known) == 20
    assert {trial.value for trial in known} == {result.metrics["loss"] for result in grid}


def test_a_metric_that_no_trial_reports_is_named(tmp_path):
    def other(config):
        tune.report({"acc": 1})

    with pytest.raises(MetricError, match="'loss'"):
        tuner(tmp_path, trainable=other).fit()


def test_the_configuration_is_data(tmp_path):
    grid = tuner(tmp_path, num_samples=2).fit()
    for result in grid:
        assert set(json.loads((tmp_path / "e" / result.path / "params.json").read_text())) == {"x", "y"}
