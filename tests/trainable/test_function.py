"""Function trainables, run as a worker runs them."""

import functools
import os
import threading

import pytest

from perdure.checkpoint import Checkpoint
from perdure.checkpoints.manifest import read_manifest
from perdure.core.events import Decision, Outcome
from perdure.errors import CheckpointMissingError, MetricError, TrainableError
from perdure.trainable.messages import Report
from perdure.trainable.session import TrialStopped, checkpoint_dir, get_checkpoint, get_context, report


def three_reports(config):
    for i in range(3):
        report({"loss": i})


def test_each_report_is_a_row_with_iteration_and_times(trial):
    said = trial.run(three_reports)
    assert said.outcome is Outcome.FINISHED
    assert said.rows == [{"loss": 0}, {"loss": 1}, {"loss": 2}]
    reports = said.of(Report)
    assert [row.iteration for row in reports] == [1, 2, 3]
    assert reports[2].time_total_s == pytest.approx(sum(row.time_this_iter_s for row in reports))
    assert reports[2].time_since_restore_s == reports[2].time_total_s


@pytest.mark.parametrize(
    ("returned", "row"), [({"loss": 1}, {"loss": 1}), (5, {"_metric": 5}), (0, {"_metric": 0}), (None, None)]
)
def test_what_is_returned_is_a_row(trial, returned, row):
    assert trial.run(lambda config: returned).rows == ([] if row is None else [row])


def test_what_is_returned_after_reports_is_one_more_row(trial):
    def train(config):
        report({"loss": 1})
        return {"loss": 2}

    assert trial.run(train).rows == [{"loss": 1}, {"loss": 2}]


def test_a_generator_reports_what_it_yields_and_not_what_it_returns(trial):
    def train(config):
        yield {"loss": config["x"]}
        yield 7
        return {"loss": 9}

    said = trial.run(train, config={"x": 3})
    assert said.rows == [{"loss": 3}, {"_metric": 7}]
    assert said.outcome is Outcome.FINISHED


def test_something_else_returned_is_an_error_that_says_what_may_be(trial):
    said = trial.run(lambda config: ["loss"])
    assert said.outcome is Outcome.FAILED
    assert "a dict of metrics, a number or nothing" in said.ended.error.message


def test_partials_bound_methods_and_callable_objects_run(trial):
    class Caller:
        def train(self, config):
            report({"a": 1})

        __call__ = train

    def two(config, b):
        report({"a": b})

    assert [trial.run(f).rows for f in (functools.partial(two, b=1), Caller().train, Caller())] == [[{"a": 1}]] * 3


# --- being told to stop


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [(Decision.STOP, Outcome.STOPPED), (Decision.PAUSE, Outcome.PAUSED), ("stopping", Outcome.INTERRUPTED)],
)
def test_a_stop_unwinds_the_function_through_with_and_finally(trial, answer, outcome):
    ran = []

    class Resource:
        def __enter__(self):
            ran.append("enter")

        def __exit__(self, *error):
            ran.append("exit")

    def train(config):
        try:
            with Resource():
                report({"loss": 1})
                ran.append("after")
        except Exception:
            ran.append("swallowed")
        finally:
            ran.append("finally")

    assert trial.run(train, answer).outcome is outcome
    assert ran == ["enter", "exit", "finally"]


def test_code_that_swallows_the_stop_gets_it_again_and_reports_nothing_more(trial):
    caught = []

    def train(config):
        for i in range(3):
            try:
                report({"loss": i})
            except BaseException as error:
                caught.append(type(error))
        return {"loss": 99}

    said = trial.run(train, Decision.STOP)
    assert said.rows == [{"loss": 0}]
    assert caught == [TrialStopped] * 3
    assert said.outcome is Outcome.STOPPED


def test_a_stopped_generator_winds_up_where_it_yielded(trial):
    ran = []

    def train(config):
        try:
            yield {"loss": 1}
            yield {"loss": 2}
        finally:
            ran.append("finally")

    said = trial.run(train, Decision.STOP)
    assert said.rows == [{"loss": 1}]
    assert ran == ["finally"]
    assert said.outcome is Outcome.STOPPED


def test_an_error_while_winding_up_is_told_and_the_stop_stands(trial):
    def train(config):
        try:
            report({"loss": 1})
        finally:
            raise ValueError("in the way out")

    said = trial.run(train, Decision.STOP)
    assert said.outcome is Outcome.STOPPED
    assert "in the way out" in said.notices[0]


def test_done_in_a_row_is_its_last(trial):
    def train(config):
        for i in range(4):
            report({"loss": i, "done": i == 1})

    said = trial.run(train)
    assert said.rows == [{"loss": 0, "done": False}, {"loss": 1, "done": True}]
    assert [row.done for row in said.of(Report)] == [False, True]
    assert said.outcome is Outcome.FINISHED


def test_a_driver_that_is_gone_unwinds_the_function_and_comes_out(trial, channel):
    from perdure.trainable.channel import DriverGone
    from perdure.trainable.worker import run_attempt

    ran = []

    def train(config):
        try:
            report({"loss": 1})
        finally:
            ran.append("finally")

    with pytest.raises(DriverGone):
        run_attempt(trial.assignment(), channel(None), train)
    assert ran == ["finally"]


def test_report_from_another_thread_is_a_row_and_its_stop_prints_nothing(trial, capfd):
    def train(config):
        thread = threading.Thread(target=report, args=({"loss": 1},))
        thread.start()
        thread.join()
        report({"loss": 2})

    said = trial.run(train, Decision.STOP)
    assert said.rows == [{"loss": 1}]
    assert said.outcome is Outcome.STOPPED
    assert "TrialStopped" not in capfd.readouterr().err


# --- checkpoints


def save_each(config):
    start = 0
    if checkpoint := get_checkpoint():
        with checkpoint.as_directory() as directory, open(os.path.join(directory, "epoch")) as file:
            start = int(file.read()) + 1
    for epoch in range(start, config["epochs"]):
        with checkpoint_dir() as directory:
            with open(os.path.join(directory, "epoch"), "w") as file:
                file.write(str(epoch))
            report({"epoch": epoch}, checkpoint=Checkpoint.from_directory(directory))


def test_a_reported_checkpoint_is_a_folder_of_the_users_files_with_its_row(trial, tmp_path):
    source = tmp_path / "mine"
    source.mkdir()
    (source / "model.pt").write_text("weights")

    def train(config):
        report({"acc": 0.5, "deep": {"er": 2}}, checkpoint=Checkpoint.from_directory(source))

    said = trial.run(train, score_attribute="deep/er")
    (folder,) = trial.checkpoints()
    assert folder.name == "checkpoint_000000"
    assert (folder / "model.pt").read_text() == "weights"
    assert (source / "model.pt").exists()
    assert read_manifest(folder).row == {"acc": 0.5, "deep": {"er": 2}}
    (row,) = said.of(Report)
    assert row.checkpoint.iteration == 1
    assert row.checkpoint.score == 2.0
    assert row.checkpoint.boot_id == "boot"


def test_get_checkpoint_is_the_start_and_then_the_latest_report(trial):
    seen = []

    def train(config):
        seen.append(get_checkpoint())
        for i in range(2):
            with checkpoint_dir() as directory:
                report({"i": i}, checkpoint=Checkpoint.from_directory(directory))
            seen.append(get_checkpoint())
        report({"i": 2})
        seen.append(get_checkpoint())

    trial.run(train)
    names = [checkpoint and os.path.basename(checkpoint.path) for checkpoint in seen]
    assert names == [None, "checkpoint_000000", "checkpoint_000001", "checkpoint_000001"]


def test_a_retry_goes_on_from_the_latest_checkpoint_with_its_counters(trial):
    first = trial.run(save_each, Decision.CONTINUE, Decision.STOP, config={"epochs": 5})
    again = trial.run(save_each, config={"epochs": 4}, **trial.latest())
    assert again.rows == [{"epoch": 2}, {"epoch": 3}]
    reports = again.of(Report)
    assert [row.iteration for row in reports] == [3, 4]
    assert [path.name for path in trial.checkpoints()] == [f"checkpoint_{n:06}" for n in range(4)]
    before = first.of(Report)[-1].time_total_s
    assert reports[0].time_total_s == pytest.approx(before + reports[0].time_this_iter_s)
    assert reports[0].time_since_restore_s == reports[0].time_this_iter_s
    assert read_manifest(trial.checkpoints()[2]).parent.number == 1


def test_checkpoint_dir_lies_on_the_storage_and_leaves_nothing_behind(trial):
    seen = []

    def train(config):
        with checkpoint_dir() as directory:
            seen.append(directory)
        with checkpoint_dir() as directory:  # the first was not reported: it is gone
            assert not os.path.exists(seen[0])
            assert os.path.dirname(directory) == get_context().get_trial_dir()
        with pytest.raises(ZeroDivisionError), checkpoint_dir() as directory:
            seen.append(directory)
            1 / 0
        assert not os.path.exists(seen[1])
        with checkpoint_dir() as directory:
            report({"a": 1})

    assert trial.run(train).outcome is Outcome.FINISHED
    assert list(trial.path.iterdir()) == []


def test_a_checkpoint_dir_may_be_reported_after_its_block(trial):
    def train(config):
        with checkpoint_dir() as directory:
            with open(os.path.join(directory, "f"), "w") as file:
                file.write("1")
        report({"a": 1}, checkpoint=Checkpoint(directory))

    trial.run(train)
    assert (trial.checkpoints()[0] / "f").read_text() == "1"


# --- wrong calls are raised where they were made, and cost nothing


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: report([1]), MetricError, "takes a dict"),
        (lambda: report({"a": object()}), MetricError, "a"),
        (lambda: report({"outer": {"inner": object()}}), MetricError, "inner"),
        (lambda: report({1: 2}), MetricError, "must be strings"),
        (lambda: report({"a": 1}, checkpoint="/tmp"), TrainableError, "Checkpoint.from_directory"),
        (lambda: report({"a": 1}, checkpoint=Checkpoint("/not/there")), CheckpointMissingError, "/not/there"),
    ],
)
def test_wrong_reports_raise_in_the_users_code_and_count_nothing(trial, call, error, words):
    raised = []

    def train(config):
        try:
            call()
        except error as wrong:
            raised.append(str(wrong))
        report({"fine": 1})

    said = trial.run(train)
    assert words in raised[0]
    assert [row.iteration for row in said.of(Report)] == [1]


def test_measured_columns_are_not_taken_from_the_user(trial):
    said = trial.run(lambda config: report({"a": 1, "time_total_s": 99, "training_iteration": 17}))
    assert said.rows == [{"a": 1, "training_iteration": 17}]


def test_nan_and_numpy_are_data(trial):
    numpy = pytest.importorskip("numpy")
    said = trial.run(lambda config: report({"a": float("nan"), "b": numpy.float32(0.5)}), score_attribute="a")
    assert said.rows == [{"a": {"$float": "nan"}, "b": 0.5}]
