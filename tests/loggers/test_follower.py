"""The files of trials and what loggers are told, whatever is killed or fails."""

import csv
import json
import math
import os
import pickle
import shutil
import time

import pytest

from perdure.core.events import Action, Decision, Outcome, Source, Spec, StopRequested, TrialActed, TrialRequeued
from perdure.journal.file import FileJournalReader
from perdure.loggers import follower as follower_module
from perdure.loggers.base import LoggerCallback
from perdure.loggers.csv import CSVLoggerCallback
from perdure.loggers.follower import Follower
from perdure.loggers.json import JsonLoggerCallback
from perdure.loggers.tensorboard import TBXLoggerCallback
from perdure.loggers.tracker import TrackerCallback
from perdure.testing.written import WrittenExperiment


@pytest.fixture(autouse=True)
def watermark_at_once(monkeypatch):
    monkeypatch.setattr(follower_module, "WATERMARK_S", 0.0)


@pytest.fixture
def written(tmp_path):
    experiment = WrittenExperiment(tmp_path / "exp", spec=Spec(metric="loss", mode="min", max_failures=3))
    yield experiment
    experiment.close()


def files():
    return [JsonLoggerCallback(), CSVLoggerCallback(), TBXLoggerCallback()]


def follow(experiment, loggers=None, **options):
    """A follower that has followed up to now and flushed."""
    chosen = files() if loggers is None else loggers
    made = Follower(experiment.path, FileJournalReader(experiment.path), chosen, **options)
    made.follow()
    made.flush()
    return made


def json_rows(experiment, trial):
    with open(experiment.directory(trial) / "result.json") as file:
        return [json.loads(line) for line in file]


def csv_rows(experiment, trial):
    with open(experiment.directory(trial) / "progress.csv", newline="") as file:
        return list(csv.DictReader(file))


def tensorboard(path):
    """What TensorBoard reads in a directory: {tag: [(step, value)]}."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(path), size_guidance={"scalars": 0})
    accumulator.Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]
    }


def losses_everywhere(experiment, trial):
    """The losses in all three files, which must agree."""
    from_json = [(row["training_iteration"], row["loss"]) for row in json_rows(experiment, trial)]
    from_csv = [(int(row["training_iteration"]), float(row["loss"])) for row in csv_rows(experiment, trial)]
    assert from_csv == from_json
    assert tensorboard(experiment.directory(trial))["loss"] == from_json
    return from_json


def test_the_files_of_a_trial(written):
    trial = written.trial({"lr": 0.5, "net": {"width": 3}})
    written.attempt(trial)
    written.report(trial, 1, {"loss": 2.0, "inner": {"acc": 0.5}, "note": "a,b\nc"}, checkpoint=0)
    written.report(trial, 2, {"loss": float("nan"), "inner": {"acc": float("inf")}, "shape": (1, 2)})
    written.end(trial)
    follow(written)
    directory = written.directory(trial)

    rows = json_rows(written, trial)
    assert rows[0]["inner"] == {"acc": 0.5}
    assert rows[0]["checkpoint_dir_name"] == "checkpoint_000000"
    assert rows[0]["config"] == {"lr": 0.5, "net": {"width": 3}}
    assert math.isnan(rows[1]["loss"])
    assert rows[1]["inner"]["acc"] == math.inf
    assert list(rows[0])[3:] == list(rows[1])[3:]

    table = csv_rows(written, trial)
    assert table[0]["inner/acc"] == "0.5"
    assert table[0]["note"] == "a,b\nc"
    assert table[1]["loss"] == "nan"
    assert table[1]["shape"] == "(1, 2)"
    assert table[0]["shape"] == table[1]["note"] == ""
    assert not any("config" in name for name in table[0])

    assert json.loads((directory / "params.json").read_text()) == {"lr": 0.5, "net": {"width": 3}}
    assert pickle.loads((directory / "params.pkl").read_bytes()) == {"lr": 0.5, "net": {"width": 3}}
    assert not (directory / "error.txt").exists()


def test_objects_in_params_pkl_are_left_alone(written):
    trial = written.trial({"optimizer": object(), "lr": 1})
    (written.directory(trial) / "params.pkl").write_bytes(b"written by the runner")
    written.attempt(trial)
    follow(written)
    assert (written.directory(trial) / "params.pkl").read_bytes() == b"written by the runner"
    assert "object" in json.loads((written.directory(trial) / "params.json").read_text())["optimizer"]


def test_a_rollback_leaves_each_row_once(written):
    trial = written.trial()
    following = follow(written)
    written.attempt(trial)
    for iteration in range(1, 5):
        written.report(trial, iteration, {"loss": float(iteration)}, checkpoint=0 if iteration == 2 else None)
    following.follow()
    following.flush()
    assert losses_everywhere(written, trial) == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]

    written.fail(trial)
    written.attempt(trial, Source(trial=trial, number=0), iteration=2)
    following.follow()
    following.flush()
    assert losses_everywhere(written, trial) == [(1, 1.0), (2, 2.0)]

    written.report(trial, 3, {"loss": 33.0})
    written.end(trial)
    following.follow()
    following.close()
    assert losses_everywhere(written, trial) == [(1, 1.0), (2, 2.0), (3, 33.0)]


def test_a_rollback_between_two_looks(written):
    trial = written.trial()
    following = follow(written)
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.0})
    written.fail(trial)
    written.attempt(trial)
    written.report(trial, 1, {"loss": 10.0})
    written.report(trial, 2, {"loss": 20.0})
    written.end(trial)
    following.follow()
    following.close()
    assert losses_everywhere(written, trial) == [(1, 10.0), (2, 20.0)]


def test_a_metric_first_seen_late_gets_its_column(written):
    trial = written.trial()
    following = follow(written)
    written.attempt(trial)
    for iteration in range(1, 60):
        written.report(trial, iteration, {"loss": 1.0, **({"late": iteration} if iteration >= 50 else {})})
        if iteration % 10 == 0:
            following.follow()
            following.flush()
    written.end(trial)
    following.follow()
    table = csv_rows(written, trial)
    assert [row["late"] for row in table] == [""] * 49 + [str(i) for i in range(50, 60)]
    assert [int(row["training_iteration"]) for row in table] == list(range(1, 60))
    assert not list(written.directory(trial).glob("progress.csv.*"))


def test_many_new_columns_rewrite_the_file_a_few_times(written, monkeypatch):
    from perdure.loggers.csv import CsvFile

    rewrites = []
    real = CsvFile._rewrite

    def slow(self, header):
        rewrites.append(1)
        time.sleep(0.01)
        real(self, header)

    monkeypatch.setattr(CsvFile, "_rewrite", slow)
    trial = written.trial()
    following = follow(written, [CSVLoggerCallback()])
    written.attempt(trial)
    for iteration in range(1, 101):
        written.report(trial, iteration, {f"m{iteration}": iteration})
        following.follow()
        following.flush()
    written.end(trial)
    following.follow()
    assert len(rewrites) < 50
    table = csv_rows(written, trial)
    assert [row[f"m{i}"] for i, row in enumerate(table, 1)] == [str(i) for i in range(1, 101)]


def test_a_clone_shows_both_of_its_lives(written):
    donor, clone = written.trial({"lr": 1}), written.trial({"lr": 2})
    following = follow(written)
    for trial in (donor, clone):
        written.attempt(trial)
    written.report(donor, 5, {"loss": 0.5}, checkpoint=0)
    written.report(clone, 1, {"loss": 9.0})
    following.follow()
    action = Action(
        trial=clone, decision=Decision.PAUSE, config={"lr": 3}, donor=Source(trial=donor, number=0), resume=True
    )
    written.report(donor, 6, {"loss": 0.4}, actions=(action,))
    written.end(clone, Outcome.PAUSED)
    written.attempt(clone, Source(trial=donor, number=0), iteration=5, segment=1)
    written.report(clone, 6, {"loss": 0.75})
    following.follow()
    following.flush()
    assert losses_everywhere(written, clone) == [(1, 9.0), (6, 0.75)]
    assert [row["config"] for row in json_rows(written, clone)] == [{"lr": 2}, {"lr": 3}]
    assert json.loads((written.directory(clone) / "params.json").read_text()) == {"lr": 3}


# --- crashes


def crash_and_go_on(written):
    written.crash()
    after = WrittenExperiment(written.path, resumed=True)
    after.go_on(written)
    return after


def test_after_a_crash_stale_and_torn_files_are_made_anew(written):
    trial = written.trial()
    following = follow(written)
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.0}, checkpoint=0)
    written.report(trial, 2, {"loss": 2.0})
    following.follow()
    following.flush()
    written.report(trial, 3, {"loss": 3.0})  # journaled, and the logger never saw it
    with open(written.directory(trial) / "result.json", "a") as file:
        file.write('{"loss": 3.0, "trai')
    with open(written.directory(trial) / "progress.csv", "a") as file:
        file.write("3.0,17")
    with open(next(written.directory(trial).glob("events.*")), "ab") as file:
        file.write(b"\x55\x00\x00")

    after = crash_and_go_on(written)
    again = follow(after)
    assert losses_everywhere(written, trial) == [(1, 1.0), (2, 2.0), (3, 3.0)]
    after.attempt(trial, Source(trial=trial, number=0), iteration=1)
    after.report(trial, 2, {"loss": 22.0})
    again.follow()
    again.flush()
    assert losses_everywhere(written, trial) == [(1, 1.0), (2, 22.0)]
    after.end(trial)
    again.follow()
    again.close()
    after.close()
    assert losses_everywhere(written, trial) == [(1, 1.0), (2, 22.0)]


def test_rows_that_reached_the_files_before_the_watermark_did_are_not_doubled(written, monkeypatch):
    trial = written.trial()
    following = follow(written)
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.0})
    written.end(trial)
    monkeypatch.setattr(follower_module, "WATERMARK_S", 1e9)
    following.follow()
    following.flush()
    after = crash_and_go_on(written)
    follow(after).close()
    after.close()
    assert losses_everywhere(written, trial) == [(1, 1.0)]


def test_a_trial_untouched_since_the_watermark_keeps_its_files(written):
    finished, other = written.trial(), written.trial()
    for trial in (finished, other):
        written.attempt(trial)
        written.report(trial, 1, {"loss": 1.0}, checkpoint=0)
    written.end(finished)
    follow(written).close()
    before = {path: path.stat().st_ino for path in written.directory(finished).iterdir()}
    after = crash_and_go_on(written)
    after.attempt(other, Source(trial=other, number=0), iteration=1)
    after.report(other, 2, {"loss": 2.0})
    follow(after).close()
    after.close()
    assert {path: path.stat().st_ino for path in written.directory(finished).iterdir()} == before
    assert losses_everywhere(written, other) == [(1, 1.0), (2, 2.0)]


@pytest.mark.parametrize("flushed_at", range(1, 14))
def test_a_crash_anywhere_leaves_each_row_once(tmp_path, flushed_at):
    """The logger dies after any number of events, having flushed some of them and written the watermark or not."""
    from perdure.journal.file import FileJournalReader as Reader

    class Cut:
        def __init__(self, path, limit):
            self.reader, self.limit = Reader(path), limit

        def read(self, after):
            return [(at, event) for at, event in self.reader.read(after) if at.sequence <= self.limit]

    written = WrittenExperiment(tmp_path / "exp", spec=Spec(max_failures=3))
    trial = written.trial()
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.0}, checkpoint=0)
    written.report(trial, 2, {"loss": 2.0})
    written.fail(trial)
    written.attempt(trial, Source(trial=trial, number=0), iteration=1)
    written.report(trial, 2, {"loss": 22.0, "late": 1})
    written.report(trial, 3, {"loss": 33.0})
    cut = Cut(written.path, flushed_at)
    first = Follower(written.path, cut, files())
    first.follow()
    first.flush()
    cut.limit = flushed_at + 2
    first.follow()
    for logger in first._files:
        logger.flush()  # and the watermark is not written
    after = crash_and_go_on(written)
    follow(after).close()
    after.close()
    assert losses_everywhere(written, trial) == [(1, 1.0), (2, 22.0), (3, 33.0)]
    assert (written.directory(trial) / "error.txt").read_text().count("ValueError: boom") == 1


def watermark(written):
    return json.loads((written.path / "loggers.json").read_text())


def test_what_has_not_caught_up_claims_nothing(written):
    trial = written.trial()
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.0})
    follow(written).close()
    known = watermark(written)
    idle = Follower(written.path, FileJournalReader(written.path), files())
    idle.flush()
    assert idle.close()
    assert watermark(written) == known


def test_a_file_that_lacks_a_row_is_not_said_to_be_right(written):
    class Failing(JsonLoggerCallback):
        def log_trial_result(self, iteration, trial, result):
            if result["training_iteration"] == 2:
                raise OSError("disk is full")
            super().log_trial_result(iteration, trial, result)

    trial = written.trial()
    following = follow(written, [Failing()], on_problem=lambda _text: None)
    written.attempt(trial)
    for iteration in (1, 2, 3):
        written.report(trial, iteration, {"loss": float(iteration)})
    following.follow()
    following.flush()
    assert not following.close()
    assert [row["loss"] for row in json_rows(written, trial)] == [1.0, 3.0]
    assert follow(written, [JsonLoggerCallback()]).close()
    assert [row["loss"] for row in json_rows(written, trial)] == [1.0, 2.0, 3.0]


def test_to_go_on_exactly_is_to_catch_up_first_and_write_nothing_meanwhile(written):
    trial = written.trial()
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.0})
    assert follow(written).close()
    written.report(trial, 2, {"loss": 2.0})
    following = follow(written, exact=True)
    assert losses_everywhere(written, trial) == [(1, 1.0)]
    following.follow()
    following.close()
    assert losses_everywhere(written, trial) == [(1, 1.0), (2, 2.0)]


def test_to_go_on_exactly_takes_no_memory_for_finished_trials_but_those_that_ran_again(written):
    trials = [written.trial() for _ in range(20)]
    again = trials[3]
    for trial in trials:
        written.attempt(trial)
        written.report(trial, 1, {"loss": 1.0}, checkpoint=0)
        written.end(trial)
    written.write(TrialRequeued(at=written.now, trial=again))
    written.attempt(again, Source(trial=again, number=0), iteration=1)
    assert follow(written).close()

    class Counting:
        def __init__(self):
            self.reader, self.held = FileJournalReader(written.path), []

        def read(self, after):
            for record in self.reader.read(after):
                self.held.append(len(following._history.trials) - created(following._history))
                yield record

    def created(history):
        return sum(not trial.attempts for trial in history.trials.values())

    reader = Counting()
    following = Follower(written.path, reader, files(), exact=True)
    following.follow()
    assert max(reader.held) <= 2
    written.report(again, 2, {"loss": 2.0})
    written.end(again)
    following.follow()
    following.close()
    assert losses_everywhere(written, again) == [(1, 1.0), (2, 2.0)]


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("how", ["ends", "is stopped while it is paused", "is paused when all is stopped"])
def test_the_end_of_a_trial_that_reported_to_another_follower_is_logged(written, how, exact):
    trial = written.trial()
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.0})
    paused = how != "ends"
    if paused:
        written.end(trial, Outcome.PAUSED)
    assert follow(written).close()
    following = follow(written, exact=exact)
    if how == "is paused when all is stopped":
        written.write(StopRequested(at=written.now, reason="stopper"))
    elif paused:
        written.write(TrialActed(at=written.now, action=Action(trial=trial, decision=Decision.STOP)))
    else:
        written.end(trial)
    following.follow()
    following.close()
    events = b"".join(path.read_bytes() for path in written.directory(trial).glob("events.*"))
    assert events.count(b"session_end_info") == 1
    assert losses_everywhere(written, trial) == [(1, 1.0)]


def test_the_end_of_a_paused_trial_that_nobody_logged_is_made_up_for(written):
    trial = written.trial()
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.0})
    written.end(trial, Outcome.PAUSED)
    assert follow(written).close()
    written.write(TrialActed(at=written.now, action=Action(trial=trial, decision=Decision.STOP)))
    follow(written).close()
    events = b"".join(path.read_bytes() for path in written.directory(trial).glob("events.*"))
    assert events.count(b"session_end_info") == 1


def test_a_trial_without_rows_that_is_run_again_shows_its_rows(written):
    trial = written.trial()
    written.attempt(trial)
    written.end(trial)
    for _ in range(2):
        (written.path / "loggers.json").unlink(missing_ok=True)
        assert follow(written).close()
    following = follow(written)
    written.write(TrialRequeued(at=written.now, trial=trial, from_scratch=True))
    written.attempt(trial)
    following.follow()
    written.report(trial, 1, {"loss": 1.0})  # at a time that is before that of the files
    following.follow()
    following.close()
    assert losses_everywhere(written, trial) == [(1, 1.0)]


def test_a_finished_trial_that_is_run_again(written):
    trial, other = written.trial(), written.trial()
    following = follow(written)
    written.attempt(other)
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.0}, checkpoint=0)
    written.end(trial)
    following.follow()
    following.flush()
    written.write(TrialRequeued(at=5.0, trial=trial))
    written.attempt(trial, Source(trial=trial, number=0), iteration=1)
    written.report(trial, 2, {"loss": 2.0})
    written.report(other, 1, {"loss": 7.0})
    following.follow()
    following.close()
    assert losses_everywhere(written, trial) == [(1, 1.0), (2, 2.0)]
    assert losses_everywhere(written, other) == [(1, 7.0)]


def test_each_failure_stands_once_in_error_txt(written):
    trial = written.trial()
    following = follow(written)
    for number in range(2):
        written.attempt(trial)
        written.fail(trial, f"number {number}")
        following.follow()
    following.flush()
    text = (written.directory(trial) / "error.txt").read_text()
    assert text.index("ValueError: number 0") < text.index("ValueError: number 1")
    after = crash_and_go_on(written)
    after.attempt(trial)
    after.fail(trial, "number 2")
    follow(after).close()
    after.close()
    text = (written.directory(trial) / "error.txt").read_text()
    assert [text.count(f"ValueError: number {number}") for number in range(3)] == [1, 1, 1]


# --- loggers of users


class Told(LoggerCallback):
    def __init__(self):
        self.calls = []

    def setup(self, *args, **info):
        self.calls.append("setup")

    def log_trial_start(self, trial):
        self.calls.append(("start", trial.trial_id, trial.config))

    def log_trial_restore(self, trial):
        self.calls.append(("restore", trial.trial_id))

    def log_trial_save(self, trial):
        self.calls.append(("save", os.path.basename(trial.checkpoint.path)))

    def log_trial_result(self, iteration, trial, result):
        self.calls.append(("result", result["training_iteration"], result["loss"]))

    def log_trial_end(self, trial, failed=False):
        self.calls.append(("end", trial.status, failed))


def test_a_logger_written_for_ray_is_told_the_same(written):
    told = Told()
    trial = written.trial({"lr": 1})
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.0}, checkpoint=0)
    written.fail(trial)
    written.attempt(trial, Source(trial=trial, number=0), iteration=1)
    written.report(trial, 2, {"loss": 2.0})
    written.end(trial)
    follow(written, [told])
    assert told.calls == [
        "setup",
        ("start", trial, {"lr": 1}),
        ("result", 1, 1.0),
        ("save", "checkpoint_000000"),
        ("start", trial, {"lr": 1}),
        ("restore", trial),
        ("result", 2, 2.0),
        ("end", "TERMINATED", False),
    ]


def test_a_failed_trial_ends_failed_and_a_stopped_one_is_told_too(tmp_path):
    written = WrittenExperiment(tmp_path / "exp")
    failing, waiting = written.trial(), written.trial()
    written.attempt(failing)
    written.fail(failing)
    written.attempt(waiting)
    written.end(waiting, Outcome.PAUSED)
    told = Told()
    following = follow(written, [told])
    assert told.calls[-2:] == [("end", "ERROR", True), ("start", waiting, {"lr": 0.1})]
    written.write(StopRequested(at=1.0, reason="stopper"))
    following.follow()
    written.close()
    assert told.calls[-1] == ("end", "TERMINATED", False)


def test_after_a_restore_a_logger_is_not_told_of_old_rows(written):
    trial = written.trial()
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.0}, checkpoint=0)
    follow(written, [Told()]).close()
    after = crash_and_go_on(written)
    after.attempt(trial, Source(trial=trial, number=0), iteration=1)
    after.report(trial, 2, {"loss": 2.0})
    told = Told()
    follow(after, [told])
    after.close()
    assert [call for call in told.calls if call[0] == "result"] == [("result", 2, 2.0)]
    assert told.calls[0] == "setup", "it is a new object: it prepares again"
    assert told.calls.count("setup") == 1


def test_a_logger_that_raises_harms_nobody(written):
    class Broken(LoggerCallback):
        def log_trial_result(self, iteration, trial, result):
            raise RuntimeError("no network")

    problems = []
    told = Told()
    trial = written.trial()
    written.attempt(trial)
    for iteration in range(1, 4):
        written.report(trial, iteration, {"loss": 1.0})
    follow(written, [Broken(), told, *files()], on_problem=problems.append)
    assert len(problems) == 1
    assert problems[0].startswith("A logger failed (Broken.on_trial_result). ")
    assert problems[0].endswith("RuntimeError: no network\n")
    assert os.path.join("perdure", "loggers", "follower.py") not in problems[0], "the user's frames are enough"
    assert len([call for call in told.calls if call[0] == "result"]) == 3
    assert len(json_rows(written, trial)) == 3


def test_a_subclass_of_a_built_in_logger(written):
    class Rounded(JsonLoggerCallback):
        def log_trial_result(self, iteration, trial, result):
            super().log_trial_result(iteration, trial, {**result, "loss": round(result["loss"])})

    trial = written.trial()
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.2})
    following = follow(written, [Rounded()])
    written.report(trial, 2, {"loss": 2.7})
    following.follow()
    following.close()
    assert json_rows(written, trial)[-1]["loss"] == 3


def test_hundreds_of_live_trials_need_few_open_files(written):
    trials = [written.trial() for _ in range(200)]
    logger = JsonLoggerCallback()
    following = follow(written, [logger])
    for trial in trials:
        written.attempt(trial)
    for iteration in (1, 2):
        for trial in trials:
            written.report(trial, iteration, {"loss": 1.0})
        following.follow()
        following.flush()
        assert len(logger._files) <= 128
    assert all(len(json_rows(written, trial)) == 2 for trial in trials)
    following.close()
    assert len(logger._files) == 0


# --- trackers


def test_a_checkpoint_that_is_gone_already_is_not_given_to_a_tracker(written):
    """It was committed and retired before the logger, which lags, came to it."""

    class Tracker(TrackerCallback):
        saved = []

        def _open(self, trial):
            return trial.trial_id

        def _save(self, run, trial):
            self.saved.append(os.listdir(trial.checkpoint.path))

        def _start(self, run, trial): ...

        def _row(self, run, trial, row): ...

    trial = written.trial()
    written.attempt(trial)
    written.directory(trial).mkdir(parents=True, exist_ok=True)
    written.report(trial, 1, {"loss": 2.0}, checkpoint=0)
    written.report(trial, 2, {"loss": 1.0}, checkpoint=1)
    shutil.rmtree(written.directory(trial) / "checkpoint_000000")
    problems = []
    follow(written, [Tracker()], on_problem=problems.append)
    assert problems == []
    assert Tracker.saved == [os.listdir(written.directory(trial) / "checkpoint_000001")]
