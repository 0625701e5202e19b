"""Runs of experiment trackers, read back with their own libraries: what a restore and a rollback leave there."""

from __future__ import annotations

import json
import struct
import sys
import zipfile
from pathlib import Path

import pytest

from perdure import tune
from perdure.core.events import Outcome, Source, Spec
from perdure.journal.file import FileJournalReader
from perdure.loggers import follower as follower_module
from perdure.loggers.follower import WATERMARK_FILE, Follower
from perdure.loggers.tracker import readable_run_id, run_key
from perdure.testing.written import WrittenExperiment


@pytest.fixture(autouse=True)
def watermark_at_once(monkeypatch):
    monkeypatch.setattr(follower_module, "WATERMARK_S", 0.0)


@pytest.fixture(autouse=True)
def no_account(monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_PROJECT_NAME", "WANDB_GROUP_NAME", "MLFLOW_EXPERIMENT_NAME", "COMET_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def follow(experiment, logger):
    problems = []
    made = Follower(experiment.path, FileJournalReader(experiment.path), [logger], on_problem=problems.append)
    made.follow()
    made.flush()
    assert problems == []
    return made


class Story:
    """Two trials in three sessions.

    The first session is killed when its last row was logged and that was not yet written down. The second goes back to
    the checkpoint of row 2, reports row 3 anew and is stopped; the third adds row 4 and the end.
    """

    def __init__(self, path, make_logger, *, orderly=False):
        self.path = path / "exp"
        first = WrittenExperiment(self.path, spec=Spec(metric="loss", mode="min", max_failures=3))
        self.trial = first.trial({"lr": 0.5, "net": {"width": 3}, "name": "x"})
        self.failing = first.trial({"lr": 0.1})
        logger = make_logger()
        first.attempt(self.trial)
        first.attempt(self.failing)
        first.report(self.trial, 1, {"loss": 1.0, "nested": {"deep": 10}, "note": "text"})
        first.report(self.trial, 2, {"loss": 2.0}, checkpoint=0)
        first.report(self.failing, 1, {"loss": 7.0})
        first.end(self.failing, Outcome.FAILED)
        follower = follow(first, logger)
        known = (self.path / WATERMARK_FILE).read_bytes()
        first.report(self.trial, 3, {"loss": 3.0})
        follower.follow()
        if orderly:
            follower.end_experiment()
        (self.path / WATERMARK_FILE).write_bytes(known)
        first.crash()

        second = WrittenExperiment(self.path, resumed=True)
        second.go_on(first)
        second.attempt(self.trial, Source(trial=self.trial, number=0), iteration=2)
        second.report(self.trial, 3, {"loss": 33.0}, checkpoint=1)
        follow(second, make_logger()).end_experiment()
        second.crash()

        third = WrittenExperiment(self.path, resumed=True)
        third.go_on(second)
        third.attempt(self.trial, Source(trial=self.trial, number=1), iteration=3)
        third.report(self.trial, 4, {"loss": 4.0})
        third.end(self.trial)
        follow(third, make_logger()).end_experiment()
        third.close()
        self.directory = third.directory(self.trial)


@pytest.fixture(scope="module")
def mlflow_uri(tmp_path_factory):
    """One database for all: making its tables takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


def test_mlflow(tmp_path, mlflow_uri):
    from mlflow import MlflowClient

    from perdure.tune.logger.mlflow import MLflowLoggerCallback

    uri = mlflow_uri
    (tmp_path / "artifacts").mkdir()
    client = MlflowClient(tracking_uri=uri)
    client.create_experiment("mine", artifact_location=(tmp_path / "artifacts").as_uri())
    story = Story(
        tmp_path, lambda: MLflowLoggerCallback(uri, experiment_name="mine", tags={"who": "me"}, save_artifact=True)
    )

    runs = {
        run.data.tags["trial_id"]: run
        for run in client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    }
    assert sorted(runs) == [story.trial, story.failing]
    run = runs[story.trial]
    assert run.data.params == {"lr": "0.5", "net/width": "3", "name": "x"}
    assert run.data.tags["who"] == "me"
    assert run.data.tags["perdure.run"] == run_key("exp", story.trial)
    history = [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "loss")]
    # Row 3 was told twice and stands once; the row that replaced it stands beside it.
    assert sorted(history) == [(1, 1.0), (2, 2.0), (3, 3.0), (3, 33.0), (4, 4.0)]
    assert run.data.metrics["loss"] == 4.0
    assert run.data.metrics["nested/deep"] == 10.0
    assert "note" not in run.data.metrics
    assert run.info.status == "FINISHED"
    assert "checkpoint_000000" in [file.path for file in client.list_artifacts(run.info.run_id)]
    assert client.get_run(runs[story.failing].info.run_id).data.metrics["loss"] == 7.0


def test_a_retried_trial_goes_on_with_the_mlflow_run_it_set_up(tuner, mlflow_uri):
    from mlflow import MlflowClient

    from perdure.air.integrations.mlflow import setup_mlflow

    def train(config):
        mlflow = setup_mlflow(
            config,
            tracking_uri=mlflow_uri,
            experiment_name="inside",
            create_experiment_if_not_exists=config["creates"],
            tags={"who": "me"},
        )
        start = int(tune.get_checkpoint() is not None)
        for step in range(start, 2):
            mlflow.log_metric("loss", 1.0 + step, step=step)
            with tune.checkpoint_dir() as path:
                tune.report({"step": step}, checkpoint=tune.Checkpoint(path))
            if step == 0:
                raise RuntimeError("fails")
        mlflow.end_run()

    refused = tuner(train, {"creates": False}, name="refused", executor="inline").fit()[0]
    assert "MLflow has no experiment 'inside'" in str(refused.error)
    retries = tune.FailureConfig(max_failures=1)
    assert tuner(train, {"creates": True}, failure_config=retries, executor="inline").fit()[0].error is None
    client = MlflowClient(tracking_uri=mlflow_uri)
    (run,) = client.search_runs([client.get_experiment_by_name("inside").experiment_id])
    history = [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "loss")]
    assert history == [(0, 1.0), (1, 2.0)]
    assert run.data.params == {"creates": "True"}
    assert run.data.tags["who"] == "me"


def test_a_whole_experiment_logs_to_mlflow_and_a_logger_that_cannot_ends_no_trial(tuner, mlflow_uri, tmp_path):
    from mlflow import MlflowClient

    from perdure.tune.logger.mlflow import MLflowLoggerCallback

    def train(config):
        for step in range(3):
            tune.report({"loss": config["lr"] * step})

    nowhere = MLflowLoggerCallback(f"sqlite:///{tmp_path}/no/such/directory/mlflow.db", experiment_name="whole")
    works = MLflowLoggerCallback(mlflow_uri, experiment_name="whole")
    space = {"lr": tune.grid_search([1.0, 2.0])}
    grid = tuner(train, space, callbacks=[nowhere, works], executor="inline").fit()
    assert [result.error for result in grid] == [None, None]
    client = MlflowClient(tracking_uri=mlflow_uri)
    runs = client.search_runs([client.get_experiment_by_name("whole").experiment_id])
    assert sorted((run.data.params["lr"], run.data.metrics["loss"], run.info.status) for run in runs) == [
        ("1.0", 2.0, "FINISHED"),
        ("2.0", 4.0, "FINISHED"),
    ]


def points_of_wandb(path):
    """What an offline run's file holds: its runs, its history and its configuration."""
    from wandb.proto import wandb_internal_pb2

    data = path.read_bytes()
    assert data[:4] == b":W&B"
    runs, rows, config = [], [], {}
    position, record = 7, b""
    while position + 7 <= len(data):
        if 32768 - position % 32768 < 7:  # too little is left of the block for a header
            position += 32768 - position % 32768
            continue
        length, kind = struct.unpack_from("<HB", data, position + 4)
        record += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole record, or the last piece of one
            parsed = wandb_internal_pb2.Record.FromString(record)
            record = b""
            if parsed.HasField("run"):
                runs.append(parsed.run)
            elif parsed.HasField("history"):
                items = parsed.history.item
                rows.append({"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items})
            elif parsed.HasField("config"):
                config |= {i.key: json.loads(i.value_json) for i in parsed.config.update}
    return runs, rows, config


def test_wandb_offline(tmp_path):
    from perdure.tune.logger.wandb import WandbLoggerCallback

    story = Story(tmp_path, lambda: WandbLoggerCallback(project="p", mode="offline", excludes=["nested"]), orderly=True)

    files = sorted(story.directory.glob("wandb/offline-run-*/*.wandb"), key=lambda file: file.stat().st_mtime_ns)
    sessions = [points_of_wandb(file) for file in files]
    runs = [runs[0] for runs, *_ in sessions]
    assert {(run.run_id, run.project, run.run_group) for run in runs} == {
        (readable_run_id("exp", story.trial), "p", "exp")
    }
    losses = [[(row["_step"], row["loss"]) for row in rows] for _, rows, _ in sessions]
    # Each session is a file of the same run, with a row per step: the second was told row 3 twice, with two values.
    assert losses == [[(1, 1.0), (2, 2.0), (3, 3.0)], [(3, 33.0)], [(4, 4.0)]]
    assert all("nested/deep" not in row and "note" not in row for _, rows, _ in sessions for row in rows)
    config = sessions[0][2]
    assert (config["lr"], config["net"], config["trial_id"]) == (0.5, {"width": 3}, story.trial)
    assert list(tmp_path.glob(f"exp/train_{story.failing}/wandb/offline-run-*/*.wandb"))


def test_a_retried_trial_goes_on_with_the_wandb_run_it_set_up(tuner):
    from perdure.air.integrations.wandb import setup_wandb

    def train(config):
        resumed = tune.get_checkpoint() is not None
        run = setup_wandb(config, project="p", mode="offline", dir=tune.get_context().get_trial_dir())
        run.log({"loss": 2.0 if resumed else 1.0}, step=int(resumed))
        with tune.checkpoint_dir() as path:
            tune.report({"ids": run.id, "name": run.name}, checkpoint=tune.Checkpoint(path))
        if not resumed:
            raise RuntimeError("fails")
        run.finish()

    retries = tune.FailureConfig(max_failures=1)
    result = tuner(train, {"lr": 0.5}, failure_config=retries, executor="inline").fit()[0]
    assert result.error is None
    assert list(result.metrics_dataframe["ids"]) == [f"{readable_run_id('exp', result.metrics['trial_id'])}-inside"] * 2
    files = sorted(Path(result.path).glob("wandb/offline-run-*/*.wandb"), key=lambda file: file.stat().st_mtime_ns)
    rows = [[(row["_step"], row["loss"]) for row in points_of_wandb(file)[1]] for file in files]
    assert rows == [[(0, 1.0)], [(1, 2.0)]]


def messages_of_comet(archive):
    with zipfile.ZipFile(archive) as file:
        about = json.loads(file.read("experiment.json"))
        messages = [json.loads(line)["payload"] for line in file.read("messages.json").splitlines()]
    metrics = [message["metric"] for message in messages if "metric" in message]
    points = [(metric["step"], metric["metricValue"]) for metric in metrics if metric["metricName"] == "loss"]
    others = {m["key"]: m["value"] for m in messages if "key" in m}
    parameters = {m["param"]["paramName"]: m["param"]["paramValue"] for m in messages if "param" in m}
    return about, points, others, parameters


def test_comet_offline(tmp_path):
    from perdure.tune.logger.comet import CometLoggerCallback

    story = Story(
        tmp_path, lambda: CometLoggerCallback(online=False, project_name="p", tags=["t"], log_code=False), orderly=True
    )

    archives = sorted(story.directory.glob("*.zip"), key=lambda file: file.stat().st_mtime_ns)
    sessions = [messages_of_comet(archive) for archive in archives]
    assert {about["offline_id"] for about, *_ in sessions} == {run_key("exp", story.trial)}
    # The first archive makes the experiment, the others go on with it.
    assert [about["resume_strategy"] for about, *_ in sessions] == ["create", "get", "get"]
    losses = [points for _, points, *_ in sessions]
    # Comet keeps all it is given: row 3 was told twice, and then replaced.
    assert losses == [[(1, 1.0), (2, 2.0), (3, 3.0)], [(3, 3.0), (3, 33.0)], [(4, 4.0)]]
    assert sessions[0][3]["net/width"] == 3
    assert sessions[-1][2]["status"] == "finished"


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="AIM WAS NOT TESTED: it has no wheels for Python 3.13")
def test_aim(tmp_path):
    from aim import Run

    from perdure.loggers.aim import RUN_FILE
    from perdure.tune.logger.aim import AimLoggerCallback

    story = Story(tmp_path, AimLoggerCallback)

    run = Run((story.directory / RUN_FILE).read_text(), repo=str(story.path))
    try:
        values = {metric.name: metric.values.sparse_list()[1] for metric in run.metrics()}
        # One value per step: what was told twice stands once, and the row that replaced row 3 has replaced it.
        assert sorted(values["ray/tune/loss"]) == [1.0, 2.0, 4.0, 33.0]
        assert values["ray/tune/nested/deep"] == [10]
        assert run["hparams"] == {"lr": 0.5, "net/width": 3, "name": "x"}
        assert run["status"] == "finished"
        assert run["perdure_run"] == run_key("exp", story.trial)
        assert len(list((story.path / ".aim" / "meta" / "chunks").iterdir())) == 2
    finally:
        run.close()
