"""What cannot work is refused before any trial starts: the message says why, and nothing is left on the disk."""

from __future__ import annotations

import json
import math
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crc32c import crc32c

from perdure import train, tune
from perdure.checkpoints import transfer
from perdure.errors import (
    ConfigurationError,
    ExperimentExistsError,
    ExperimentNotFoundError,
    JournalVersionError,
    MetricError,
    OutsideTrialError,
    ResourceError,
    StorageFullError,
    TrainableError,
    UserError,
)
from perdure.executors.local import LocalExecutor
from perdure.tune.schedulers import TrialScheduler
from perdure.tune.search import BasicVariantGenerator, Searcher
from perdure.tune.search.bohb import TuneBOHB
from tests.end_to_end.conftest import Start


def one_row(config: dict[str, Any]) -> None:
    tune.report({"loss": config.get("x", 1.0)})


def asking_for(resources: Any) -> Any:
    def train_it(config: dict[str, Any]) -> None:
        tune.report({"loss": 1.0})

    return tune.with_resources(train_it, resources)


class Steps(tune.Trainable):
    def step(self) -> dict[str, Any]:
        return {"loss": 1.0, "done": self.iteration >= 2}


class SavingSteps(Steps):
    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"iteration": self.iteration}


def assert_nothing_left(storage: Path) -> None:
    assert not (storage / "exp").exists()
    assert not storage.exists() or not any(storage.iterdir())


# --- the trainable ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trainable", [None, 3, {"lr": 1}, "no_such_name"])
def test_something_that_is_not_callable(tuner: Start, storage: Path, trainable: Any) -> None:
    with pytest.raises(UserError):
        tuner(trainable).fit()
    assert_nothing_left(storage)


@pytest.mark.parametrize("trainable", [lambda: None, lambda a, b: None])
def test_a_function_that_does_not_take_one_config(tuner: Start, storage: Path, trainable: Any) -> None:
    with pytest.raises(UserError, match="config"):
        tuner(trainable).fit()
    assert_nothing_left(storage)


def test_a_class_that_is_no_trainable(tuner: Start, storage: Path) -> None:
    class Model:
        pass

    with pytest.raises(UserError, match="Model"):
        tuner(Model).fit()
    assert_nothing_left(storage)


def test_a_trainable_that_cannot_be_pickled_is_named_down_to_the_leaf(tuner: Start, storage: Path) -> None:
    lock = threading.Lock()
    held = {"model": {"guard": lock}}

    def train_it(config: dict[str, Any]) -> None:
        tune.report({"loss": len(held)})

    with pytest.raises(TrainableError, match="guard"):
        tuner(train_it).fit()
    assert_nothing_left(storage)


def test_a_config_that_cannot_be_pickled_is_named_down_to_the_leaf(tuner: Start, storage: Path) -> None:
    with pytest.raises(UserError, match="guard"):
        tuner(one_row, {"model": {"guard": threading.Lock()}}).fit()
    assert_nothing_left(storage)


def test_a_sampled_config_that_cannot_be_pickled(tuner: Start, storage: Path) -> None:
    def make_lock(_: Any) -> Any:
        return threading.Lock()

    with pytest.raises(UserError, match="guard"):
        tuner(one_row, {"model": {"guard": tune.sample_from(make_lock)}}).fit()
    assert_nothing_left(storage)


@pytest.mark.parametrize("field", [{"checkpoint_frequency": 2}, {"checkpoint_at_end": True}])
def test_saving_by_frequency_or_at_the_end_is_for_classes(tuner: Start, storage: Path, field: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(field))):
        tuner(one_row, checkpoint_config=tune.CheckpointConfig(**field)).fit()
    assert_nothing_left(storage)


@pytest.mark.parametrize("field", [{"checkpoint_frequency": 2}, {"checkpoint_at_end": True}])
def test_a_class_that_cannot_save_is_not_asked_to(tuner: Start, storage: Path, field: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="save_checkpoint"):
        tuner(Steps, checkpoint_config=tune.CheckpointConfig(**field)).fit()
    assert_nothing_left(storage)


def test_a_class_that_cannot_save_runs_where_nobody_asks_it_to(tuner: Start) -> None:
    assert tuner(Steps).fit()[0].checkpoint is None


# --- resources --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [{"TPU": 1}, {"CPU": 1000}, {"GPU": 1}, {"CPU": 1, "memory": 1 << 60}])
@pytest.mark.parametrize("by", ["value", "function of the config"])
def test_resources_that_the_machine_has_not(tuner: Start, storage: Path, wanted: dict[str, float], by: str) -> None:
    asked = wanted if by == "value" else lambda config: wanted
    name = next(name for name in wanted if name != "CPU" or wanted[name] > 1)
    executor = LocalExecutor(cpus=2, gpus=0)
    with pytest.raises(ResourceError, match=name):
        tuner(asking_for(asked), executor=executor).fit()
    assert_nothing_left(storage)


def test_resources_of_a_class_are_looked_at_too(tuner: Start, storage: Path) -> None:
    class Greedy(Steps):
        @classmethod
        def default_resource_request(cls, config: dict[str, Any]) -> Any:
            return tune.PlacementGroupFactory([{"CPU": 1000}])

    with pytest.raises(ResourceError, match="CPU"):
        tuner(Greedy).fit()
    assert_nothing_left(storage)


def test_a_resource_function_that_raises(tuner: Start, storage: Path) -> None:
    with pytest.raises(ResourceError, match=r"(?s)train_it.*KeyError.*'gpus'"):
        tuner(asking_for(lambda config: {"CPU": config["gpus"]})).fit()
    assert_nothing_left(storage)


class OnlySuggests(Searcher):
    def suggest(self, trial_id: str) -> dict[str, Any]:
        return {"x": 1.0}


class NeverStopsAll(tune.Stopper):
    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False


class Decides(TrialScheduler):
    """Nothing at all."""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"search_alg": OnlySuggests(), "metric": "loss", "mode": "min"}, "OnlySuggests .* on_trial_complete.*Search"),
        ({"stop": NeverStopsAll()}, "NeverStopsAll .* stop_all, .* Stopper"),
        ({"stop": [NeverStopsAll()]}, "NeverStopsAll .* stop_all, .* Stopper"),
        ({"scheduler": Decides()}, "Decides .* on_trial_result, .* TrialScheduler"),
    ],
)
def test_a_plugin_that_lacks_a_method(tuner: Start, storage: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        tuner(one_row, **options).fit()
    assert_nothing_left(storage)


# --- metrics ----------------------------------------------------------------------------------------------------------


def test_a_metric_that_is_never_reported(tuner: Start) -> None:
    def train_it(config: dict[str, Any]) -> None:
        tune.report({"los": 1.0, "acc": 0.5})

    with pytest.raises(MetricError, match="(?s)'loss'.*acc, los"):
        tuner(train_it, metric="loss", mode="min").fit()


@pytest.mark.parametrize("value", ["0.5", [0.5], {"mean": 0.5}])
@pytest.mark.parametrize("options", [{"metric": "loss", "mode": "min"}, {"stop": {"loss": 1}}])
def test_a_metric_that_is_no_number(tuner: Start, value: Any, options: dict[str, Any]) -> None:
    def train_it(config: dict[str, Any]) -> None:
        tune.report({"loss": config["value"]})

    with pytest.raises(MetricError, match="(?s)Trial .* reported .*'loss'.*0.5.*number"):
        tuner(train_it, {"value": value}, **options).fit()


def test_a_metric_that_is_none_is_one_that_is_not_known_yet(tuner: Start) -> None:
    def train_it(config: dict[str, Any]) -> None:
        tune.report({"loss": None})
        tune.report({"loss": 1.0})

    assert tuner(train_it, metric="loss", mode="min", stop={"loss": 2}).fit().get_best_result().metrics["loss"] == 1.0


def test_a_space_that_holds_itself(tuner: Start, storage: Path) -> None:
    space: dict[str, Any] = {"layers": []}
    space["layers"].append(space["layers"])
    with pytest.raises(ConfigurationError, match="holds itself"):
        tuner(one_row, space).fit()
    assert_nothing_left(storage)


def test_a_missing_metric_may_be_waved_through(tuner: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
    grid = tuner(one_row, metric="accuracy", mode="min").fit()
    assert grid.num_terminated == 1


@pytest.mark.parametrize("value", [object(), threading.Lock, {"deep": {"er": object()}}, [1, object()], lambda: 1])
def test_a_metric_that_is_not_data_fails_its_trial_and_is_named(tuner: Start, value: Any) -> None:
    def train_it(config: dict[str, Any]) -> None:
        tune.report({"fine": 1})
        tune.report({"bad_one": config["make"]()})

    grid = tuner(train_it, {"make": lambda: value}).fit()
    assert grid.num_errors == 1
    assert "bad_one" in str(grid.errors[0])
    assert grid[0].metrics["fine"] == 1  # the row before it is kept


def test_nan_and_infinities_are_data(tuner: Start) -> None:
    def train_it(config: dict[str, Any]) -> None:
        tune.report({"a": math.nan, "b": math.inf, "c": -math.inf})

    grid = tuner(train_it).fit()
    metrics = grid[0].metrics
    assert math.isnan(metrics["a"])
    assert (metrics["b"], metrics["c"]) == (math.inf, -math.inf)
    row = json.loads((Path(grid[0].path) / "result.json").read_text())
    assert math.isnan(row["a"])
    assert row["c"] == -math.inf


@pytest.mark.parametrize("metrics", [None, [("loss", 1)], 3.0, {1: 2}])
def test_a_report_takes_a_dict_of_names(tuner: Start, metrics: Any) -> None:
    def train_it(config: dict[str, Any]) -> None:
        tune.report(metrics)

    assert tuner(train_it).fit().num_errors == 1


def test_a_report_outside_a_trial() -> None:
    for report in (tune.report, train.report):
        with pytest.raises(OutsideTrialError, match="outside"):
            report({"loss": 1})
    with pytest.raises(OutsideTrialError), tune.checkpoint_dir():
        pass
    assert tune.get_checkpoint() is None
    assert train.get_context().get_trial_id() is None


# --- checkpoints ------------------------------------------------------------------------------------------------------


def test_a_checkpoint_directory_that_does_not_exist(tuner: Start) -> None:
    def train_it(config: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory() as directory:
            checkpoint = tune.Checkpoint.from_directory(directory)
        tune.report({"loss": 1}, checkpoint=checkpoint)

    grid = tuner(train_it).fit()
    assert grid.num_errors == 1
    assert "there is no checkpoint directory" in str(grid.errors[0])
    assert grid[0].metrics == {}
    assert not list(Path(grid[0].path).glob("checkpoint_*"))


def test_a_checkpoint_that_changes_while_it_is_saved(tuner: Start) -> None:
    def train_it(config: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory() as directory:
            growing = Path(directory, "model")
            growing.write_bytes(bytes(8 << 20))
            copy_file = transfer.copy_file

            def copy_while_it_grows(*arguments: Any, **more: Any) -> Any:
                """A thread that writes all the time would be seen only if it happened to run during the copy."""
                method = copy_file(*arguments, **more)
                with growing.open("ab") as file:
                    file.write(b"more")
                return method

            transfer.copy_file = copy_while_it_grows  # in the trial's own process only
            tune.report({"loss": 1}, checkpoint=tune.Checkpoint.from_directory(directory))

    grid = tuner(train_it).fit()
    assert grid.num_errors == 1
    assert "model" in str(grid.errors[0])
    assert "changed" in str(grid.errors[0])
    assert not list(Path(grid[0].path).glob("checkpoint_*"))
    assert not list(Path(grid[0].path).glob(".staging*"))


# --- storage ----------------------------------------------------------------------------------------------------------


def test_a_storage_path_that_is_a_file(tuner: Start, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("precious")
    for path in (file, file / "below"):
        with pytest.raises(ConfigurationError, match="is a file"):
            tuner(one_row, storage_path=str(path)).fit()
    assert file.read_text() == "precious"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc, where not even root may make a directory")
def test_a_storage_path_that_cannot_be_made(tuner: Start) -> None:
    with pytest.raises((ConfigurationError, OSError), match="/proc/perdure"):
        tuner(one_row, storage_path="/proc/perdure").fit()


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB of its own; its test may remount it read-only."""
    path = tmp_path / "mounted"
    path.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"mounting a file system is not permitted here: {made.stderr.strip()}")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_storage_that_is_read_only(tuner: Start, mounted: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    with pytest.raises(ConfigurationError, match="not writable"):
        tuner(one_row, storage_path=str(mounted)).fit()
    assert not any(mounted.iterdir())


def test_a_storage_that_may_not_be_written_to(tuner: Start, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere; the read-only file system stands in for it")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with pytest.raises(ConfigurationError, match="not writable"):
        tuner(one_row, storage_path=str(closed)).fit()


def test_a_storage_that_is_full(tuner: Start, mounted: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        (mounted / "filler").write_bytes(bytes(2 << 20))
    with pytest.raises(StorageFullError, match=str(mounted)):
        tuner(one_row, storage_path=str(mounted)).fit()
    assert [path.name for path in mounted.iterdir()] == ["filler"]


def test_a_storage_that_fills_up_with_checkpoints_loses_nothing(tuner: Start, mounted: Path) -> None:
    def train_it(config: dict[str, Any]) -> None:
        latest = tune.get_checkpoint()
        first = int(Path(latest.path, "step").read_text()) if latest else 0
        for step in range(first + 1, 6):
            with tempfile.TemporaryDirectory() as directory:
                Path(directory, "step").write_text(str(step))
                Path(directory, "weights").write_bytes(bytes(300 << 10))
                tune.report({"step": step}, checkpoint=tune.Checkpoint.from_directory(directory))

    config = tune.CheckpointConfig(num_to_keep=None)
    grid = tuner(train_it, storage_path=str(mounted), checkpoint_config=config).fit()
    assert "space" in str(grid.errors[0])
    reached = grid[0].metrics["step"]
    assert reached >= 1
    assert Path(grid[0].checkpoint.path, "step").read_text() == str(reached)
    subprocess.run(["mount", "-o", "remount,size=16m", str(mounted)], check=True)
    grid = tune.Tuner.restore(mounted / "exp", train_it, resume_errored=True).fit()
    assert list(grid[0].metrics_dataframe["step"]) == [1, 2, 3, 4, 5]


def test_a_storage_of_another_kind(tuner: Start) -> None:
    with pytest.raises(ConfigurationError, match="s3"):
        tuner(one_row, storage_path="s3://bucket/results").fit()


# --- names, restores --------------------------------------------------------------------------------------------------


def test_an_experiment_name_that_exists(tuner: Start, storage: Path) -> None:
    tuner(one_row).fit()
    before = sorted((path.name, path.stat().st_mtime_ns) for path in (storage / "exp").iterdir())
    with pytest.raises(ExperimentExistsError, match=r"(?s)Tuner\.restore.*resume=.auto.*delete"):
        tuner(one_row).fit()
    assert sorted((path.name, path.stat().st_mtime_ns) for path in (storage / "exp").iterdir()) == before


def test_a_directory_of_that_name_that_is_no_experiment_stays_as_it_is(tuner: Start, storage: Path) -> None:
    (storage / "exp").mkdir(parents=True)
    (storage / "exp" / "notes.txt").write_text("mine")
    with pytest.raises(UserError):
        tuner(asking_for({"CPU": 1000})).fit()
    assert [path.name for path in (storage / "exp").iterdir()] == ["notes.txt"]
    assert tuner(one_row).fit().num_terminated == 1
    assert (storage / "exp" / "notes.txt").read_text() == "mine"


def test_a_restore_with_another_trainable(tuner: Start, storage: Path) -> None:
    tuner(one_row).fit()
    with pytest.raises(TrainableError, match=r"(?s)'one_row'.*'Steps'"):
        tune.Tuner.restore(storage / "exp", Steps)
    with pytest.raises(TrainableError, match=r"(?s)'one_row'.*'Steps'"):
        tuner(Steps, resume="auto").fit()
    with pytest.raises(TrainableError, match="5 .an int. is neither"):
        tune.Tuner.restore(storage / "exp", 5)
    assert tune.Tuner.restore(storage / "exp", one_row).get_results().num_terminated == 1


def test_a_restore_of_nothing(storage: Path) -> None:
    assert not tune.Tuner.can_restore(storage / "exp")
    with pytest.raises(ExperimentNotFoundError, match="exp"):
        tune.Tuner.restore(storage / "exp", one_row)


def test_a_restore_that_contradicts_itself(tuner: Start, storage: Path) -> None:
    tuner(one_row).fit()
    with pytest.raises(ConfigurationError, match="exclude"):
        tune.Tuner.restore(storage / "exp", one_row, resume_errored=True, restart_errored=True)


def test_a_journal_of_a_newer_version(tuner: Start, storage: Path) -> None:
    tuner(one_row).fit()
    journal = storage / "exp" / "journal-000001.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    newer = lines[2].replace(b'"v":1', b'"v":99', 1)
    assert newer != lines[2]
    body = newer[: newer.rindex(b',"c":')]
    journal.write_bytes(b"".join([*lines[:2], body + b',"c":"%08x"}\n' % crc32c(body), *lines[3:]]))
    before = journal.read_bytes()
    for attempt in (
        lambda: tune.Tuner.restore(storage / "exp", one_row).fit(),
        lambda: tuner(one_row, resume="auto").fit(),
    ):
        with pytest.raises(JournalVersionError, match=f"^{journal} cannot be read.*newer"):
            attempt()
    assert journal.read_bytes() == before
    assert sorted(path.name for path in storage.glob("exp/journal-*.jsonl")) == ["journal-000001.jsonl"]


# --- configs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stop", [3, "loss", tune.stopper.MaximumIterationStopper, lambda: True, {"loss": "low"}, {"loss": None}]
)
def test_a_stop_rule_that_is_none(tuner: Start, storage: Path, stop: Any) -> None:
    with pytest.raises(UserError, match="(?i)stop"):
        tuner(one_row, stop=stop).fit()
    assert_nothing_left(storage)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: tune.Tuner(one_row, tune_config={"num_samples": 2}), "tune_config"),
        (lambda: tune.Tuner(one_row, run_config="exp"), "run_config"),
        (lambda: tune.Tuner(one_row, param_space=[1, 2]), "param_space"),
        (lambda: tune.RunConfig(checkpoint_config={"num_to_keep": 1}), "checkpoint_config"),
        (lambda: tune.RunConfig(failure_config=3), "failure_config"),
        (lambda: tune.RunConfig(name="a/b"), "name"),
        (lambda: tune.RunConfig(name=7), "name"),
        (lambda: tune.RunConfig(callbacks="MyCallback"), "callbacks"),
        (lambda: tune.RunConfig(callbacks=[print]), "callbacks"),
        (lambda: tune.RunConfig(verbose="loud"), "verbose"),
        (lambda: tune.RunConfig(verbose=7), "verbose"),
        (lambda: tune.RunConfig(verbose=-1), "verbose"),
        (lambda: tune.RunConfig(log_to_file=3), "log_to_file"),
        (lambda: tune.RunConfig(log_to_file=("a", "b", "c")), "log_to_file"),
        (lambda: tune.RunConfig(durability="very"), "durability"),
        (lambda: tune.RunConfig(resume="maybe"), "resume"),
        (lambda: tune.RunConfig(storage_path=7), "storage_path"),
        (lambda: tune.TuneConfig(num_samples=0), "num_samples"),
        (lambda: tune.TuneConfig(num_samples=1.5), "num_samples"),
        (lambda: tune.TuneConfig(num_samples=True), "num_samples"),
        (lambda: tune.TuneConfig(mode="best"), "mode"),
        (lambda: tune.TuneConfig(metric=3), "metric"),
        (lambda: tune.TuneConfig(seed="x"), "seed"),
        (lambda: tune.TuneConfig(max_concurrent_trials=1.5), "max_concurrent_trials"),
        (lambda: tune.TuneConfig(max_concurrent_trials=-2), "max_concurrent_trials"),
        (lambda: tune.TuneConfig(time_budget_s="soon"), "time_budget_s"),
        (lambda: tune.TuneConfig(time_budget_s=-1), "time_budget_s"),
        (lambda: tune.TuneConfig(trial_name_creator="x"), "trial_name_creator"),
        (lambda: tune.CheckpointConfig(num_to_keep=0), "num_to_keep"),
        (lambda: tune.CheckpointConfig(num_to_keep="all"), "num_to_keep"),
        (lambda: tune.CheckpointConfig(checkpoint_frequency=-1), "checkpoint_frequency"),
        (lambda: tune.CheckpointConfig(checkpoint_frequency="often"), "checkpoint_frequency"),
        (lambda: tune.CheckpointConfig(checkpoint_at_end="yes"), "checkpoint_at_end"),
        (lambda: tune.CheckpointConfig(checkpoint_score_order="up"), "checkpoint_score_order"),
        (lambda: tune.CheckpointConfig(checkpoint_score_attribute=3), "checkpoint_score_attribute"),
        (lambda: tune.FailureConfig(max_failures=-2), "max_failures"),
        (lambda: tune.FailureConfig(max_failures="many"), "max_failures"),
        (lambda: tune.FailureConfig(fail_fast="yes"), "fail_fast"),
        (lambda: tune.FailureConfig(fail_fast=True, max_failures=2), "max_failures"),
        (lambda: tune.FailureConfig(report_timeout_s=0), "report_timeout_s"),
        (lambda: tune.FailureConfig(max_trial_time_s="long"), "max_trial_time_s"),
        (lambda: tune.ResumeConfig(errored="again"), "errored"),
        (lambda: tune.FailureConfig(resources_after_oom=2), "resources_after_oom"),
        (lambda: tune.TuneConfig(reuse_actors="yes"), "reuse_actors"),
        (lambda: tune.RunConfig(executor="x"), r"executor='x'\): use \"local\", \"inline\", or an Executor object"),
        (lambda: tune.RunConfig(executor=LocalExecutor), "executor"),
        (lambda: tune.RunConfig(stop="abc"), r"stop='abc'\): use a dict of thresholds"),
        (lambda: tune.RunConfig(stop=3), "stop=3"),
        (lambda: tune.RunConfig(progress_reporter="x"), "progress_reporter"),
        (lambda: tune.RunConfig(progress_reporter=tune.CLIReporter), "progress_reporter"),
        (lambda: tune.RunConfig(name="n" * 300), "name"),
        (lambda: tune.RunConfig(name="a\0b"), "name"),
        (lambda: tune.RunConfig(callbacks=tune.Callback()), "use a list of Callback objects"),
        (lambda: tune.RunConfig(callbacks=[tune.Callback(), 5]), "5 is no Callback object; derive it from"),
        (lambda: tune.RunConfig(callbacks=[tune.Callback]), r"no Callback object; write Callback\(\.\.\.\)"),
    ],
)
def test_configs_refuse_what_they_cannot_mean(make: Any, names: str) -> None:
    with pytest.raises(ConfigurationError, match=names):
        make()


@pytest.mark.parametrize(
    "options",
    [
        {"scheduler": "no_such"},
        {"scheduler": 3},
        {"search_alg": "no_such"},
        {"search_alg": 3},
        {"executor": "no_such"},
        {"executor": 3},
        {"executor": LocalExecutor},
    ],
)
def test_names_that_nobody_knows(tuner: Start, storage: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="(?i)no_such|3|class .*LocalExecutor"):
        tuner(one_row, **options).fit()
    assert_nothing_left(storage)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"search_alg": TuneBOHB(points_to_evaluate=[{"y": 1}]), "metric": "loss", "mode": "min"}, "'y', which is not"),
        (
            {"search_alg": TuneBOHB(points_to_evaluate=[{"x": 9}]), "metric": "loss", "mode": "min"},
            "9 of 'x'",
        ),
        ({"search_alg": BasicVariantGenerator([{"y": 1}])}, "'y', which is not in param_space"),
        ({"search_alg": "no_such"}, "no_such"),
        ({"search_alg": OnlySuggests()}, "on_trial_complete"),
        ({"scheduler": "no_such"}, "no_such"),
        ({"scheduler": Decides()}, "on_trial_result"),
        ({"stop": {"loss": "low"}}, "low"),
        ({"stop": NeverStopsAll()}, "stop_all"),
    ],
)
def test_what_is_seen_to_be_wrong_is_refused_where_the_tuner_is_made(
    tuner: Start, storage: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        tuner(one_row, {"x": tune.uniform(0, 1)}, **options)  # not by fit(), which writes
    assert not storage.exists()


@pytest.mark.parametrize("value", ["often", "-1"])
@pytest.mark.parametrize(
    "variable",
    ["TUNE_GLOBAL_CHECKPOINT_S", "TUNE_FORCE_TRIAL_CLEANUP_S", "PERDURE_LOGGERS_BUSY", "PERDURE_LOGGERS_CLOSE_S"],
)
def test_an_environment_variable_that_is_no_number(
    tuner: Start, storage: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=f"{variable}={value}"):
        tuner(one_row).fit()
    assert_nothing_left(storage)


def test_a_number_may_be_infinite(tuner: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERDURE_LOGGERS_BUSY", "inf")
    assert tuner(one_row).fit().num_errors == 0


def test_a_space_that_cannot_be_sampled(tuner: Start, storage: Path) -> None:
    with pytest.raises(ValueError, match="uniform|0"):
        tuner(one_row, {"lr": tune.loguniform(0, 1)}).fit()
    with pytest.raises(UserError, match="(?i)must be a list"):
        tuner(one_row, {"lr": tune.grid_search(3)}).fit()
    assert_nothing_left(storage)
