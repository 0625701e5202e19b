"""Results as a user reads them after an experiment, or of one that still runs."""

import json
import math
import os
import pickle

import pytest

from perdure.core.events import Action, Decision, ErrorInfo, Outcome, Source, Spec, TrialActed
from perdure.errors import (
    ConfigurationError,
    ExperimentNotFoundError,
    NoBestTrialError,
    StorageError,
    TrialFailedError,
    WorkerDiedError,
)
from perdure.history import read_experiment
from perdure.result import Result
from perdure.result_grid import ResultGrid
from perdure.testing.written import WrittenExperiment
from perdure.trainable.failure import store_exception
from perdure.trainable.pickling import dump_objects, load_objects

INF, NAN = math.inf, math.nan


@pytest.fixture
def written(tmp_path):
    experiment = WrittenExperiment(tmp_path / "exp", spec=Spec(metric="loss", mode="min"))
    yield experiment
    experiment.close()


def run(written, losses, config=None, **others):
    """A trial that reported these losses and ended."""
    trial = written.trial(config)
    written.attempt(trial)
    for iteration, loss in enumerate(losses, 1):
        written.report(trial, iteration, {"loss": loss, **others})
    written.end(trial)
    return trial


def grid_of(written):
    return ResultGrid(read_experiment(written.path))


def test_a_result_has_what_rays_has(written):
    trial = written.trial({"lr": 0.5, "model": {"width": 3}})
    written.attempt(trial)
    written.report(trial, 1, {"loss": 2.0, "inner": {"acc": 0.1}}, checkpoint=0)
    written.report(trial, 2, {"loss": 1.0, "inner": {"acc": 0.2}}, checkpoint=1)
    written.end(trial)
    result = grid_of(written)[0]
    assert result.metrics["loss"] == 1.0
    assert result.metrics["inner"] == {"acc": 0.2}
    assert (result.metrics["done"], result.metrics["training_iteration"]) == (True, 2)
    assert result.metrics["experiment_tag"] == "0_lr"
    assert result.config == result.metrics["config"] == {"lr": 0.5, "model": {"width": 3}}
    assert result.path == str(written.directory(trial))
    assert result.error is None
    assert result.checkpoint.path == os.path.join(result.path, "checkpoint_000001")
    best = result.best_checkpoints
    assert [(os.path.basename(checkpoint.path), metrics["loss"]) for checkpoint, metrics in best] == [
        ("checkpoint_000000", 2.0),
        ("checkpoint_000001", 1.0),
    ]
    assert "'loss': 1.0" in repr(result)


def test_a_trial_that_never_reported_has_an_empty_result(written):
    written.trial()
    result = grid_of(written)[0]
    assert (result.metrics, result.checkpoint, result.best_checkpoints) == ({}, None, [])
    assert len(result.metrics_dataframe) == 0


def test_the_error_is_the_users_traceback(written):
    trial = written.trial()
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.0})
    written.fail(trial, "no data")
    grid = grid_of(written)
    assert isinstance(grid[0].error, TrialFailedError)
    assert "ValueError: no data" in str(grid[0].error)
    assert (grid.num_errors, grid.num_terminated, len(grid.errors)) == (1, 0, 1)
    assert grid[0].metrics["done"] is False


def test_a_dead_worker_is_named(written):
    trial = written.trial()
    written.attempt(trial)
    written.end(trial, Outcome.LOST, ErrorInfo(kind="WorkerDiedError", message="killed by SIGKILL", signal=9))
    assert isinstance(grid_of(written)[0].error, WorkerDiedError)
    assert "SIGKILL" in str(grid_of(written)[0].error)


def test_a_failure_that_was_made_good_is_no_error(tmp_path):
    written = WrittenExperiment(tmp_path / "exp", spec=Spec(max_failures=1))
    trial = written.trial()
    written.attempt(trial)
    written.fail(trial)
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.0})
    written.end(trial)
    written.close()
    assert grid_of(written)[0].error is None


def test_a_checkpoint_that_is_not_whole_is_not_offered(written):
    trial = written.trial()
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.0}, checkpoint=0)
    written.report(trial, 2, {"loss": 2.0}, checkpoint=1)
    (written.directory(trial) / "checkpoint_000001" / ".perdure.json").unlink()
    result = grid_of(written)[0]
    assert os.path.basename(result.checkpoint.path) == "checkpoint_000000"
    assert len(result.best_checkpoints) == 1


def test_the_best_checkpoint_by_a_nested_metric(written):
    trial = written.trial()
    written.attempt(trial)
    for number, accuracy in enumerate([0.3, 0.9, NAN, 0.5]):
        written.report(trial, number + 1, {"val": {"acc": accuracy}}, checkpoint=number)
    result = grid_of(written)[0]
    assert result.get_best_checkpoint("val/acc", "max").path.endswith("checkpoint_000001")
    assert result.get_best_checkpoint("val/acc", "min").path.endswith("checkpoint_000000")
    with pytest.raises(NoBestTrialError, match="val/acc"):
        result.get_best_checkpoint("nope", "max")
    with pytest.raises(ConfigurationError):
        result.get_best_checkpoint("val/acc", "best")


@pytest.mark.parametrize(
    ("scope", "mode", "best"),
    [
        ("last", "min", 2),
        ("last", "max", 1),
        ("all", "min", 0),
        ("all", "max", 0),
        ("avg", "min", 2),
        ("avg", "max", 0),
        ("last-5-avg", "min", 2),
        ("last-5-avg", "max", 1),
        ("last-10-avg", "max", 0),
    ],
)
def test_each_scope(written, scope, mode, best):
    run(written, [500, -9, 5, 5, 5, 5, 5])
    run(written, [1, 1, 6, 6, 6, 6, 6])
    run(written, [1, 1, 1, 1, 1, 1, 1])
    grid = grid_of(written)
    assert grid.get_best_result("loss", mode, scope=scope).path == grid[best].path


def test_nan_and_infinity_are_never_best_unless_asked_for(written):
    run(written, [NAN])
    run(written, [-INF])
    run(written, [3.0])
    run(written, [4.0])
    grid = grid_of(written)
    assert grid.get_best_result().metrics["loss"] == 3.0
    assert grid.get_best_result(filter_nan_and_inf=False).metrics["loss"] == -INF


def test_rolled_back_rows_count_in_no_scope(tmp_path):
    written = WrittenExperiment(tmp_path / "exp", spec=Spec(metric="loss", mode="min", max_failures=1))
    trial = written.trial()
    written.attempt(trial)
    written.report(trial, 1, {"loss": 5.0}, checkpoint=0)
    written.report(trial, 2, {"loss": -100.0})
    written.fail(trial)
    written.attempt(trial, Source(trial=trial, number=0), iteration=1)
    written.report(trial, 2, {"loss": 4.0})
    written.end(trial)
    run(written, [1.0, 1.0])
    written.close()
    grid = grid_of(written)
    assert grid.get_best_result(scope="all").metrics["loss"] == 1.0
    assert list(grid[0].metrics_dataframe["loss"]) == [5.0, 4.0]


def test_what_cannot_be_answered_says_why(tmp_path):
    written = WrittenExperiment(tmp_path / "exp")
    run(written, [1.0], acc={"val": 2})
    written.close()
    grid = grid_of(written)
    with pytest.raises(ConfigurationError, match="needs a metric.*acc/val, loss"):
        grid.get_best_result()
    with pytest.raises(ConfigurationError, match="mode"):
        grid.get_best_result("loss")
    with pytest.raises(ConfigurationError, match="last-10-avg"):
        grid.get_best_result("loss", "min", scope="best")
    with pytest.raises(NoBestTrialError, match="'los'.*Reported: acc/val, loss"):
        grid.get_best_result("los", "min")
    with pytest.raises(RuntimeError):
        grid.get_best_result("los", "min", scope="avg")


def test_a_filled_in_column_can_be_the_metric(written):
    run(written, [1.0])
    run(written, [1.0, 1.0, 1.0])
    grid = grid_of(written)
    for scope in ("last", "all"):
        assert grid.get_best_result("training_iteration", "max", scope=scope).path == grid[1].path
    assert grid.get_best_result("time_total_s", "min", scope="all").path == grid[0].path


def test_the_grid_is_a_sequence(written):
    trials = [run(written, [1.0]) for _ in range(3)]
    grid = grid_of(written)
    assert len(grid) == 3
    assert [result.trial_id for result in grid] == trials
    assert grid[-1].trial_id == trials[-1]
    with pytest.raises(IndexError):
        grid[3]
    assert grid.experiment_path == str(written.path)
    assert "ResultGrid" in repr(grid)


def test_from_path(written, tmp_path):
    trial = run(written, [1.0, 2.0])
    assert Result.from_path(written.directory(trial)).metrics["loss"] == 2.0
    assert Result.from_path(f"{written.directory(trial)}/").trial_id == trial
    with pytest.raises(ExperimentNotFoundError):
        Result.from_path(tmp_path / "nothing")
    with pytest.raises(ExperimentNotFoundError):
        Result.from_path(written.path)


def test_of_a_running_experiment_each_look_sees_what_there_is_by_then(written):
    trial = written.trial()
    written.attempt(trial)
    written.report(trial, 1, {"loss": 2.0})
    first = ResultGrid.from_path(written.path)
    assert (first.interrupted, first.stop_reason, first.num_terminated) == (True, None, 0)
    assert first.get_best_result().metrics["loss"] == 2.0
    written.report(trial, 2, {"loss": 1.0})
    assert first.all_rows_dataframe()["loss"].tolist() == [2.0], "a look stays what it was"
    assert ResultGrid.from_path(written.path).all_rows_dataframe()["loss"].tolist() == [2.0, 1.0]


def test_objects_come_back_only_where_they_may_be_loaded(written):
    class Thing:
        pass

    thing = Thing()
    trial = written.trial({"thing": thing, "lr": 1})
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.0})
    history = read_experiment(written.path)
    assert "Thing" in ResultGrid(history)[0].config["thing"]
    loaded = ResultGrid(history, load_objects=lambda directory: {"thing": thing})
    assert loaded[0].config["thing"] is thing
    assert loaded[0].metrics["config"]["thing"] is thing


def test_damaged_objects_concern_their_own_trial_alone(written):
    """The best result is found, and a grid is shown, without the objects of any configuration."""
    seen = []

    def load(directory):
        seen.append(directory)
        return load_objects(written.path / directory / "params.pkl")

    damaged, best = (run(written, losses, {"thing": object(), "lr": 0.5}) for losses in ([1.0], [0.5]))
    for trial in (damaged, best):
        dump_objects({"thing": 7}, written.directory(trial) / "params.pkl", what="config")
    file = written.directory(damaged) / "params.pkl"
    file.write_bytes(file.read_bytes()[:-1])
    grid = ResultGrid(read_experiment(written.path), load_objects=load)
    for scope in ("last", "all"):
        assert grid.get_best_result(scope=scope).trial_id == best
    assert grid.get_best_result("config/lr", "max").trial_id == damaged  # the first of equals
    assert "'loss': 0.5" in repr(grid)
    assert seen == []
    assert grid.get_best_result().config == {"thing": 7, "lr": 0.5}
    assert seen == [written.directory(best).name]
    for access in (lambda result: result.config, lambda result: result.metrics):
        with pytest.raises(StorageError, match=f"^{file} is damaged"):
            access(grid[0])


def test_the_users_own_exception_comes_back_only_where_it_may_be_loaded(written):
    trial = written.trial()
    written.attempt(trial)
    written.fail(trial)
    (written.directory(trial) / "error.pkl").write_bytes(pickle.dumps(KeyError("mine")))
    history = read_experiment(written.path)
    assert ResultGrid(history)[0].error.__cause__ is None
    cause = ResultGrid(history, load_objects=lambda directory: {})[0].error.__cause__
    assert isinstance(cause, KeyError)
    (written.directory(trial) / "error.pkl").write_bytes(b"torn")
    assert ResultGrid(history, load_objects=lambda directory: {})[0].error.__cause__ is None


def test_a_damaged_exception_is_no_other_exception(written):
    trial = written.trial()
    written.attempt(trial)
    written.fail(trial)
    file = written.directory(trial) / "error.pkl"
    store_exception(KeyError("mine"), str(file.parent))
    history = read_experiment(written.path)

    def cause():
        return ResultGrid(history, load_objects=lambda directory: {})[0].error.__cause__

    whole = file.read_bytes()
    assert repr(cause()) == repr(KeyError("mine"))
    for at in range(len(whole)):
        for damaged in (whole[:at] + bytes([whole[at] ^ 2]) + whole[at + 1 :], whole[:at]):
            file.write_bytes(damaged)
            assert repr(cause()) in ("None", repr(KeyError("mine"))), at


# --- dataframes


def test_all_rows_of_a_trial_as_a_dataframe(written):
    trial = written.trial({"lr": 0.5, "net": {"width": 3}})
    written.attempt(trial)
    written.report(trial, 1, {"loss": 2, "inner": {"acc": 0.1}, "name": "a"}, checkpoint=0)
    written.report(trial, 2, {"loss": 1.5, "inner": {"acc": NAN}, "late": 7})
    written.report(trial, 3, {"loss": None, "tags": [1, 2]}, decision=Decision.STOP)
    frame = grid_of(written)[0].metrics_dataframe
    assert list(frame.columns)[:5] == ["loss", "inner/acc", "name", "late", "tags"]
    assert list(frame["training_iteration"]) == [1, 2, 3]
    assert frame["checkpoint_dir_name"][0] == "checkpoint_000000"
    assert frame["checkpoint_dir_name"].isna().tolist() == [False, True, True]
    assert list(frame["done"]) == [False, False, True]
    assert list(frame["config/net/width"]) == [3, 3, 3]
    assert list(frame["pid"]) == [101, 101, 101]
    assert frame["late"].isna().tolist() == [True, False, True]
    assert frame["inner/acc"].isna().tolist() == [False, True, True]
    assert frame["loss"][1] == 1.5
    assert frame["tags"][2] == [1, 2]
    assert set(frame["trial_id"]) == {trial}


def test_the_segments_of_a_clone_are_told_apart(written):
    """It reports its second and third iteration twice: the second time as what it was cloned from."""
    donor, trial = written.trial({"lr": 0.5}), written.trial({"lr": 0.1})
    written.attempt(donor)
    written.attempt(trial)
    written.directory(donor).mkdir(parents=True, exist_ok=True)
    written.report(donor, 1, {"loss": 1.0}, checkpoint=0)
    for iteration in (1, 2, 3):
        written.report(trial, iteration, {"loss": 9.0})
    written.end(trial, Outcome.PAUSED)
    source = Source(trial=donor, number=0)
    action = Action(trial=trial, decision=Decision.CONTINUE, donor=source, config={"lr": 0.6}, resume=True)
    written.write(TrialActed(at=5.0, action=action))
    written.attempt(trial, source, iteration=1, segment=1)
    for iteration in (2, 3):
        written.report(trial, iteration, {"loss": 0.5})
    grid = grid_of(written)
    frame = grid[1].metrics_dataframe
    rows = zip(frame["trial_segment"], frame["training_iteration"], frame["config/lr"], strict=True)
    assert list(rows) == [(0, 1, 0.1), (0, 2, 0.1), (0, 3, 0.1), (1, 2, 0.6), (1, 3, 0.6)]
    assert grid.all_rows_dataframe().groupby("trial_id")["trial_segment"].max().to_dict() == {donor: 0, trial: 1}
    assert [step.segment for step in grid[1].lineage] == [0, 1]
    assert "trial_segment" not in grid[0].metrics_dataframe, "where nothing was cloned there is nothing to tell apart"


def test_a_column_changes_its_kind_without_losing_values(written):
    trial = written.trial()
    written.attempt(trial)
    for iteration, value in enumerate([1, 2.5, "x", None, 2**63, {"y": 1}, 3], 1):
        written.report(trial, iteration, {"a": 1.0, "v": value, "b": iteration})
    frame = grid_of(written)[0].metrics_dataframe
    assert frame["v"].tolist()[:5] == [1, 2.5, "x", None, 2**63]
    assert frame["v"].tolist()[6] == 3
    assert frame["v/y"].tolist()[5] == 1
    assert frame["a"].tolist() == [1.0] * 7
    assert frame["b"].tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_one_row_per_trial(written):
    first = run(written, [3.0, 1.0, 2.0], {"lr": 1})
    second = run(written, [5.0, 4.0], {"lr": 2, "wd": 3})
    written.trial({"lr": 9})  # never reported
    grid = grid_of(written)
    frame = grid.get_dataframe()
    assert frame["loss"].tolist() == [2.0, 4.0]
    assert frame["config/lr"].tolist() == [1, 2]
    assert frame["config/wd"].isna().tolist() == [True, False]
    assert frame["done"].tolist() == [True, True]
    assert frame["logdir"].tolist() == [str(written.directory(trial)) for trial in (first, second)]
    assert grid.get_dataframe("loss", "min")["loss"].tolist() == [1.0, 4.0]
    assert grid.get_dataframe("loss", "max")["training_iteration"].tolist() == [1, 1]
    assert len(grid.all_rows_dataframe()) == 5
    with pytest.raises(NoBestTrialError):
        grid.get_dataframe("nope", "max")


def test_without_pandas_the_error_names_the_extra(written, monkeypatch):
    run(written, [1.0])
    import builtins

    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'", name="pandas")
        return real(name, *args, **kwargs)

    grid = grid_of(written)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ModuleNotFoundError, match=r"perdure\[dataframes\]"):
        grid.get_dataframe()
    assert grid[0].metrics["loss"] == 1.0


def test_metrics_are_json_for_the_most_part(written):
    run(written, [1.0], inner={"a": [1, 2]})
    assert json.loads(json.dumps(grid_of(written)[0].metrics))["inner"] == {"a": [1, 2]}
