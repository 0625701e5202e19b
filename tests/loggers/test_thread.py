"""A follower on its thread, and in the process that it moves into."""

import csv
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from perdure.core.events import AttemptEnded, AttemptPlanned, ErrorInfo, Outcome, Spec
from perdure.journal.file import FileJournalReader
from perdure.loggers.apart import FollowerProcess
from perdure.loggers.base import LoggerCallback
from perdure.loggers.csv import CSVLoggerCallback
from perdure.loggers.files import OpenFiles
from perdure.loggers.follower import WATERMARK_FILE
from perdure.loggers.json import JsonLoggerCallback
from perdure.loggers.replay import DEFAULT_LOGGERS
from perdure.loggers.tensorboard import TBXLoggerCallback
from perdure.loggers.thread import LoggerFollower
from perdure.storage import children
from perdure.storage.processes import is_alive
from perdure.testing.written import WrittenExperiment


@pytest.fixture
def written(tmp_path):
    experiment = WrittenExperiment(tmp_path / "exp", spec=Spec(metric="loss", mode="min", max_failures=3))
    yield experiment
    experiment.close()


class Following:
    """A follower of an experiment on a thread, and what it has complained of."""

    def __init__(self, experiment, loggers=None, **options):
        self.problems = []
        self.thread = LoggerFollower(
            experiment.path,
            FileJournalReader(experiment.path),
            [JsonLoggerCallback(), CSVLoggerCallback(), TBXLoggerCallback()] if loggers is None else loggers,
            on_problem=self.problems.append,
            **options,
        )
        self.thread.start()

    def drain(self):
        self.thread.wake()
        assert self.thread.drain(60)

    def close(self):
        self.thread.wake()
        assert self.thread.close(60)

    @property
    def process(self):
        follower = self.thread._follower
        return follower if isinstance(follower, FollowerProcess) else None


@pytest.fixture
def away(written):
    """A follower in its process, with a trial that has reported once here and once there."""
    trial = written.trial()
    written.attempt(trial)
    following = Following(written, busy=1)
    following.drain()
    assert following.process is None, "what was there before is no reason to move"
    written.report(trial, 1, {"loss": 1.0})
    following.drain()
    assert following.process is not None
    written.report(trial, 2, {"loss": 2.0})
    following.drain()
    assert losses(written, trial) == [1.0, 2.0]
    following.trial = trial
    return following


ONLY_WHEN_ASKED = 3600.0
"""Seconds between looks at the journal, where a look in the middle of what a test writes would be another case."""


def lines_of(experiment, trial):
    """How many lines each of them has, while the thread may be making or writing them."""
    files = [experiment.directory(trial) / name for name in ("result.json", "progress.csv")]
    return [file.read_bytes().count(b"\n") if file.exists() else 0 for file in files]


def losses(experiment, trial):
    """The losses in both files, which must agree."""
    with open(experiment.directory(trial) / "result.json") as file:
        from_json = [json.loads(line)["loss"] for line in file]
    with open(experiment.directory(trial) / "progress.csv", newline="") as file:
        assert [float(row["loss"]) for row in csv.DictReader(file)] == from_json
    return from_json


def test_the_thread_keeps_the_files_up_to_date(written):
    following = Following(written)
    trial = written.trial()
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.0})
    following.drain()
    assert losses(written, trial) == [1.0]
    written.report(trial, 2, {"loss": 2.0})
    following.thread.observe([])
    deadline = time.monotonic() + 30
    while lines_of(written, trial) != [2, 3] and time.monotonic() < deadline:
        time.sleep(0.01)
    written.end(trial)
    following.close()
    assert losses(written, trial) == [1.0, 2.0]
    assert following.problems == []
    assert not following.thread.drain(1)


@pytest.mark.parametrize("kind", ["tracker", "file"])
def test_what_a_failed_logger_missed_can_be_told_later_and_how_is_said(written, kind):
    class Tracker(LoggerCallback):
        def log_trial_start(self, trial):
            raise RuntimeError("no network")

    class Rows(JsonLoggerCallback):
        def rebuild(self, trial, rows):
            raise OSError("disk is full")

    trial = written.trial()
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.0})
    following = Following(written, [Tracker() if kind == "tracker" else Rows()])
    following.close()
    how = f"perdure replay-loggers {written.path}" + (" --logger MODULE:NAME" if kind == "tracker" else "")
    assert following.problems[0].splitlines()[-1] == f"Trials go on. To tell a logger what it missed: {how}"


def test_a_journal_that_cannot_be_read_stops_the_loggers_only(written):
    class Unreadable:
        def read(self, after):
            raise OSError("disk on fire")

    problems = []
    thread = LoggerFollower(written.path, Unreadable(), [JsonLoggerCallback()], on_problem=problems.append)
    thread.start()
    assert thread.close(30)
    assert problems == ["The loggers have stopped; trials go on. disk on fire"]


def test_a_logger_that_does_not_return_is_told_of_while_trials_go_on(written, monkeypatch):
    monkeypatch.setattr("perdure.loggers.thread.STUCK_S", 0.05)
    entered, left = threading.Event(), threading.Event()

    class Blocks(LoggerCallback):
        def log_trial_result(self, iteration, trial, result):
            entered.set()
            assert left.wait(60)

    following = Following(written, [Blocks()])
    trial = written.trial()
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.0})
    following.thread.wake()
    assert entered.wait(60)
    following.thread.tick(0.0)
    time.sleep(0.1)
    following.thread.tick(0.0)
    following.thread.tick(0.0)
    (problem,) = following.problems
    assert problem.startswith("A logger has not returned for 0.05 s (Blocks.on_trial_result). Trials go on")
    assert problem.endswith(f"perdure replay-loggers {written.path} --logger MODULE:NAME")
    left.set()
    following.close()
    following.thread.tick(0.0)
    assert following.problems == [problem]


def test_a_look_that_finds_more_than_a_portion_tells_all_of_it(written):
    following = Following(written)
    trial = written.trial()
    written.attempt(trial)
    following.drain()
    for iteration in range(1, 2501):
        written.report(trial, iteration, {"loss": float(iteration)})
    following.drain()
    assert losses(written, trial) == [float(iteration) for iteration in range(1, 2501)]
    following.close()


# --- in a process


def test_it_goes_on_in_a_process_where_there_is_much(written, away):
    pid = away.process.pid
    other = written.trial()
    written.attempt(other)
    written.report(other, 1, {"loss": 5.0})
    written.end(other)
    written.end(away.trial)
    away.close()
    assert losses(written, other) == [5.0]
    assert losses(written, away.trial) == [1.0, 2.0]
    assert away.problems == []
    assert not is_alive(pid)


def test_a_process_that_is_killed_is_done_without(written, away):
    os.kill(away.process.pid, signal.SIGKILL)
    written.report(away.trial, 3, {"loss": 3.0})
    away.drain()
    assert away.process is None
    assert losses(written, away.trial) == [1.0, 2.0, 3.0]
    written.report(away.trial, 4, {"loss": 4.0})
    written.end(away.trial)
    away.close()
    assert losses(written, away.trial) == [1.0, 2.0, 3.0, 4.0]
    assert len(away.problems) == 1
    assert "exit code -9" in away.problems[0]


def test_a_process_that_is_killed_before_the_end_is_done_without(written, away):
    written.end(away.trial)
    away.drain()
    os.kill(away.process.pid, signal.SIGKILL)
    away.close()
    assert losses(written, away.trial) == [1.0, 2.0]
    assert len(away.problems) == 1


def test_in_a_new_experiment_what_the_first_look_finds_counts_and_files_are_written_once(written, monkeypatch):
    def refuse(*_):
        raise AssertionError("nothing is made anew")

    for kind in DEFAULT_LOGGERS:
        monkeypatch.setattr(kind, "rebuild", refuse)
    following = Following(written, busy=3, fresh=True, interval_s=ONLY_WHEN_ASKED)
    trial = written.trial()
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.0})
    following.drain()
    assert following.process is not None
    written.end(trial)
    following.close()
    assert losses(written, trial) == [1.0]
    assert following.problems == []


def test_hastened_loggers_write_what_there_is_without_being_waited_for(written):
    following = Following(written, interval_s=ONLY_WHEN_ASKED)
    trial = written.trial()
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.0})
    following.thread.hasten()
    deadline = time.monotonic() + 30
    while lines_of(written, trial) != [1, 2] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert losses(written, trial) == [1.0]
    written.end(trial)
    following.close()


def test_an_attempt_that_ends_before_its_process_is_there_leaves_its_error(written):
    following = Following(written)
    following.drain()
    trial = written.trial()
    written.directory(trial).rmdir()
    error = ErrorInfo(kind="WorkerDiedError", message="It did not even begin.")
    written.write(
        AttemptPlanned(at=written.now, trial=trial, attempt=1),
        AttemptEnded(at=written.now, trial=trial, attempt=1, outcome=Outcome.LOST, error=error),
    )
    following.close()
    assert "It did not even begin." in (written.directory(trial) / "error.txt").read_text()
    assert following.problems == []


@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("point", ["files.appended", "files.written", "files.replaced"])
def test_a_process_that_dies_in_the_middle_of_its_work_leaves_no_trace(written, monkeypatch, point, nth):
    monkeypatch.setenv("PERDURE_FAULT", f"{point}:{nth}")  # for processes that start from here on
    trials = [written.trial() for _ in range(2)]
    for trial in trials:
        written.attempt(trial)
    following = Following(written, busy=1, interval_s=ONLY_WHEN_ASKED)
    following.drain()
    for iteration in range(1, 5):
        for trial in trials:
            written.report(trial, iteration, {"loss": float(iteration), f"late {iteration}": 1})
        following.drain()
    assert following.process is None
    for trial in trials:
        written.end(trial)
    following.close()
    assert len(following.problems) == 1
    assert "exit code -9" in following.problems[0]
    for trial in trials:
        assert losses(written, trial) == [1.0, 2.0, 3.0, 4.0]
        assert not [path for path in written.directory(trial).iterdir() if path.suffix in (".tmp", ".wide")]


def test_a_problem_of_a_logger_is_told_from_there(written, away):
    other = written.trial()
    (written.directory(other) / "result.json").mkdir(parents=True)
    written.attempt(other)
    written.report(other, 1, {"loss": 5.0})
    away.drain()
    written.report(away.trial, 3, {"loss": 3.0})
    away.drain()
    assert losses(written, away.trial) == [1.0, 2.0, 3.0]
    assert "IsADirectoryError" in away.problems[0]
    written.end(other)
    written.end(away.trial)
    away.close()


def test_after_a_take_over_nothing_is_written_there_either(written):
    lost = []
    following = Following(written, busy=1, is_lost=lambda: bool(lost))
    trial = written.trial()
    written.attempt(trial)
    for iteration in (1, 2):
        written.report(trial, iteration, {"loss": float(iteration)})
        following.drain()
    pid = following.process.pid
    known = (written.directory(trial) / "result.json").read_bytes()
    lost.append(True)
    written.report(trial, 3, {"loss": 3.0})
    following.drain()
    following.close()
    assert (written.directory(trial) / "result.json").read_bytes() == known
    assert not is_alive(pid)


def test_loggers_of_the_users_own_stay(written):
    class Mine(JsonLoggerCallback):
        pass

    following = Following(written, [Mine()], busy=0)
    for _ in range(3):
        trial = written.trial()
        written.attempt(trial)
        written.report(trial, 1, {"loss": 1.0})
        following.drain()
    assert following.process is None
    following.close()
    assert following.problems == []


def test_objects_in_configurations_show_the_same_here_and_there(written):
    def refuse(_directory):
        raise AssertionError("the code of the user's is not needed")

    following = Following(written, busy=1, load_objects=refuse)
    for _ in range(2):
        trial = written.trial(config={"kernel": pytest.fixture})
        written.attempt(trial)
        written.report(trial, 1, {"loss": 1.0})
        following.drain()
        with open(written.directory(trial) / "result.json") as file:
            assert json.loads(file.read())["config"] == {"kernel": repr(pytest.fixture)}
    assert following.process is not None
    following.close()
    assert following.problems == []


def test_without_processes_it_stays(written, monkeypatch):
    def refuse(*_args, **_options):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(children, "launch", refuse)
    following = Following(written, busy=0)
    trial = written.trial()
    written.attempt(trial)
    for iteration in (1, 2, 3):
        written.report(trial, iteration, {"loss": float(iteration)})
        following.drain()
    assert following.process is None
    written.end(trial)
    following.close()
    assert losses(written, trial) == [1.0, 2.0, 3.0]
    assert following.problems == []


def test_what_could_not_be_written_here_is_not_written_twice(written, monkeypatch):
    def refuse(_self, path, _data):
        raise OSError(errno.ENOSPC, "No space left on device", path)

    trial = written.trial()
    written.attempt(trial)
    following = Following(written, busy=1, interval_s=ONLY_WHEN_ASKED)
    following.drain()
    written.report(trial, 1, {"loss": 1.0})
    with monkeypatch.context() as patch:
        patch.setattr(OpenFiles, "append", refuse)
        following.drain()
    following.drain()
    assert losses(written, trial) == [1.0], "the process has made the files anew"
    deadline = time.monotonic() + 30
    while json.loads((written.path / "loggers.json").read_text())["sequence"] < 6 and time.monotonic() < deadline:
        written.trial()  # until the process has said that they are right
        following.drain()
    os.kill(following.process.pid, signal.SIGKILL)
    written.trial()
    following.drain()
    assert following.process is None
    following.close()
    assert losses(written, trial) == [1.0]


def test_signals_to_every_process_are_no_end_of_one_that_starts(written):
    process = FollowerProcess(
        written.path,
        DEFAULT_LOGGERS,
        on_problem=pytest.fail,
        watermark=WATERMARK_FILE,
        keeps_errors=True,
        exact=False,
    )
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        os.kill(process.pid, number)
    written.trial()
    assert process.follow() == 3
    process.close()


@pytest.fixture
def stuck(away, monkeypatch):
    """The same with a process that does not answer, and that no SIGKILL ends: a disk holds it up."""
    pid = away.process.pid
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(subprocess.Popen, "kill", lambda _self: None)
    yield away
    monkeypatch.undo()
    os.kill(pid, signal.SIGKILL)
    away.thread._thread.join(60)
    assert not away.thread._thread.is_alive()


def test_a_process_that_hangs_is_told_of_and_left_behind(written, stuck, monkeypatch):
    monkeypatch.setattr("perdure.loggers.thread.STUCK_S", -1.0)
    written.report(stuck.trial, 3, {"loss": 3.0})
    stuck.thread.observe([])
    deadline = time.monotonic() + 30
    while not stuck.problems and time.monotonic() < deadline:
        stuck.thread.tick(0.0)
    assert "has not returned for -1 s (the loggers' process: follow). Trials go on" in stuck.problems[0]
    assert not stuck.thread.close(0.5)
    assert "did not end within 0.5 s and were left behind" in stuck.problems[-1]


def test_loggers_that_were_left_behind_move_nowhere(written, monkeypatch):
    """They hang while they are to move: when they come back, nobody waits for them any more."""
    hangs, goes_on = threading.Event(), threading.Event()
    real = JsonLoggerCallback.close

    def close(self):
        hangs.set()
        assert goes_on.wait(60)
        real(self)

    following = Following(written, busy=1)
    following.drain()
    monkeypatch.setattr(JsonLoggerCallback, "close", close)
    monkeypatch.setattr(children, "launch", lambda *_args, **_options: pytest.fail("it moves"))
    written.trial()
    following.thread.observe([])
    assert hangs.wait(60)
    assert not following.thread.close(0.1)
    goes_on.set()
    following.thread._thread.join(60)
    assert len(following.problems) == 1


def test_a_driver_that_learns_that_it_has_lost_stops_where_it_is(written):
    lost = []

    class Losing(JsonLoggerCallback):
        def log_trial_result(self, iteration, trial, result):
            super().log_trial_result(iteration, trial, result)
            if result["training_iteration"] == 2:
                lost.append(True)

    following = Following(written, [Losing()], is_lost=lambda: bool(lost), interval_s=ONLY_WHEN_ASKED)
    trial = written.trial()
    written.attempt(trial)
    following.drain()
    for iteration in (1, 2, 3):
        written.report(trial, iteration, {"loss": float(iteration)})
    following.drain()
    following.close()
    assert (written.directory(trial) / "result.json").read_bytes() == b""


DRIVER = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from test_thread import Following, WrittenExperiment
written = WrittenExperiment(sys.argv[1])
following = Following(written, busy=0)
following.drain()
written.trial()
following.drain()
print(following.process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_process_dies_with_its_driver(tmp_path):
    command = [sys.executable, "-c", DRIVER, str(tmp_path / "exp"), os.path.dirname(__file__)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=200, check=False)
    assert ran.returncode == -signal.SIGKILL
    pid = int(ran.stdout)
    deadline = time.monotonic() + 30
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_alive(pid)
