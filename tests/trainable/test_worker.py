"""An attempt from the outside: errors, surroundings, the checkpoint it starts from, its configuration."""

import os
import pickle
import random
import subprocess
import sys

import pytest
from tests.trainable.conftest import ScriptedChannel

from perdure.checkpoint import Checkpoint
from perdure.core.events import Decision, Outcome
from perdure.errors import StorageError
from perdure.journal.values import encode_config
from perdure.trainable import worker
from perdure.trainable.messages import RestorePoint, Started
from perdure.trainable.pickling import dump_objects
from perdure.trainable.session import checkpoint_dir, report
from perdure.trainable.worker import run_attempt


def helper_that_fails():
    raise KeyError("the cause")


def failing(config):
    try:
        helper_that_fails()
    except KeyError as error:
        raise ValueError("the trial's own error") from error


def test_the_trials_directory_is_there_once_its_attempt_is_said_to_have_started(trial, tmp_path):
    trial.path = tmp_path / "experiment" / "trial"
    there = []

    class Channel(ScriptedChannel):
        def send(self, message):
            there.append(trial.path.is_dir())
            super().send(message)

    run_attempt(trial.assignment(), Channel(), lambda config: report({"here": os.getcwd()}))
    run_attempt(trial.assignment(), Channel(), lambda config: report({"here": os.getcwd()}))
    assert all(there)
    assert len(there) == 4


def test_an_attempt_whose_directory_cannot_be_made_fails(trial, tmp_path):
    (tmp_path / "file").write_text("")
    trial.path = tmp_path / "file" / "trial"
    channel = ScriptedChannel()
    assert run_attempt(trial.assignment(), channel, failing) is Outcome.FAILED
    assert channel.said[-1].error.kind == "NotADirectoryError"
    assert str(trial.path) in channel.said[-1].error.message


# --- errors


def test_an_error_is_told_with_the_users_frames_alone_and_its_cause(trial):
    said = trial.run(failing)
    assert said.outcome is Outcome.FAILED
    error = said.ended.error
    assert (error.kind, error.message) == ("ValueError", "the trial's own error")
    assert "helper_that_fails" in error.traceback
    assert "KeyError: 'the cause'" in error.traceback
    assert "direct cause" in error.traceback
    assert f"{os.sep}perdure{os.sep}trainable{os.sep}" not in error.traceback.replace("tests/trainable", "")


def test_an_error_raised_by_report_shows_the_users_line(trial):
    def train(config):
        report({"bad": object()})

    traceback = trial.run(train).ended.error.traceback
    assert 'report({"bad": object()})' in traceback
    assert "session.py" not in traceback


def test_the_exception_itself_is_left_in_the_trials_directory(trial):
    trial.run(failing)
    error = pickle.loads((trial.path / "error.pkl").read_bytes())
    assert repr(error) == repr(ValueError("the trial's own error"))


def test_an_exception_that_cannot_be_pickled_is_told_all_the_same(trial):
    class Odd(Exception):
        def __init__(self, a, b):
            super().__init__("odd")

    def train(config):
        raise Odd(1, 2)

    assert trial.run(train).ended.error.kind == "Odd"
    assert not (trial.path / "error.pkl").exists()


@pytest.mark.parametrize("code", [None, 0])
def test_sys_exit_of_success_is_an_end(trial, code):
    def train(config):
        report({"a": 1})
        sys.exit(code)

    assert trial.run(train).outcome is Outcome.FINISHED


@pytest.mark.parametrize(("code", "number"), [(3, 3), ("no data", 1)])
def test_any_other_sys_exit_is_a_failure_that_names_the_code(trial, code, number):
    said = trial.run(lambda config: sys.exit(code))
    assert said.outcome is Outcome.FAILED
    assert repr(code) in said.ended.error.message
    assert said.ended.error.exit_code == number


def test_keyboard_interrupt_is_a_failure(trial):
    def train(config):
        raise KeyboardInterrupt

    assert trial.run(train).ended.error.kind == "KeyboardInterrupt"


# --- surroundings


def test_runs_in_its_directory_and_puts_everything_back(trial, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    seen = {}

    def train(config):
        seen.update(cwd=os.getcwd(), cuda=os.environ["CUDA_VISIBLE_DEVICES"], orig=os.environ["TUNE_ORIG_WORKING_DIR"])

    trial.run(train, devices=("2", "3"))
    assert seen == {"cwd": str(trial.path), "cuda": "2,3", "orig": str(tmp_path)}
    assert os.getcwd() == str(tmp_path)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"
    assert "TUNE_ORIG_WORKING_DIR" not in os.environ
    trial.run(train)
    assert seen["cuda"] == ""
    trial.run(train, chdir=False, hide_devices=False)
    assert (seen["cwd"], seen["cuda"]) == (str(tmp_path), "7")


def test_output_goes_to_files_from_every_level_and_comes_back(trial, capfd):
    def train(config):
        print("from python")
        os.system("echo from a child; echo to stderr >&2")

    trial.run(train, log_to_file=("stdout", "stderr"))
    trial.run(train, log_to_file=("stdout", "stderr"))
    assert (trial.path / "stdout").read_text() == "from python\nfrom a child\n" * 2
    assert (trial.path / "stderr").read_text() == "to stderr\n" * 2
    print("afterwards")
    assert capfd.readouterr().out == "afterwards\n"


def test_output_is_there_line_by_line_before_the_trial_ends(trial):
    lines = []

    def train(config):
        print("one")
        lines.append((trial.path / "out").read_text())

    trial.run(train, log_to_file=("out", "out"))
    assert lines == ["one\n"]


def test_a_seed_makes_random_numbers_repeat(trial):
    numpy = pytest.importorskip("numpy")

    def train(config):
        report({"a": random.random(), "b": numpy.random.random()})

    one, same, other = (trial.run(train, seed=seed).rows for seed in (5, 5, 6))
    assert one == same
    assert one != other


def test_started_names_this_process(trial):
    (started,) = trial.run(lambda config: None).of(Started)
    assert started.pid == os.getpid()
    assert started.host
    assert started.process_start > 0


def test_config_comes_back_with_its_objects(trial):
    seen = {}
    config = {"lr": 0.1, "shape": (2, 3), "model": {"optimizer": random.Random}, "bad": float("inf")}
    data, objects = encode_config(config)
    dump_objects(objects, trial.path / "params.pkl")
    trial.run(seen.update, config=data)
    assert seen == config


# --- the checkpoint it starts from


def one_checkpoint(config):
    with checkpoint_dir() as directory:
        with open(os.path.join(directory, "weights"), "w") as file:
            file.write("good")
        report({"a": 1}, checkpoint=Checkpoint(directory))


def test_a_damaged_checkpoint_is_rejected_and_no_user_code_runs(trial):
    trial.run(one_checkpoint)
    (trial.checkpoints()[0] / "weights").write_text("evil")
    ran = []
    said = trial.run(ran.append, **trial.latest())
    assert said.outcome is Outcome.REJECTED
    assert said.ended.rejected
    assert "weights" in said.ended.error.message
    assert ran == []


def test_a_checkpoint_that_is_gone_is_rejected(trial):
    start = RestorePoint(path=str(trial.path / "checkpoint_000009"), trial="t0", number=9, iteration=3)
    said = trial.run(lambda config: None, start=start, iteration=3)
    assert said.outcome is Outcome.REJECTED
    assert "checkpoint_000009" in said.ended.error.message


def flaky(failures):
    calls = []

    def verify(path, *, trusted):
        calls.append(path)
        if len(calls) <= failures:
            raise StorageError("the disk does not answer")

    return verify


def test_a_storage_that_does_not_answer_is_asked_again(monkeypatch):
    monkeypatch.setattr(worker, "verify_checkpoint", flaky(2))
    start = RestorePoint(path="/c", trial="t0", number=0, iteration=1)
    notices, slept = [], []
    worker.verify_start(start, notices.append, sleep=slept.append)
    assert len(slept) == 2
    assert len(notices) == 1
    assert "does not answer" in notices[0]


def test_a_storage_that_never_answers_is_a_failure_and_no_rejection(monkeypatch, trial):
    monkeypatch.setattr(worker, "verify_checkpoint", flaky(99))
    monkeypatch.setattr(worker, "RETRY_DELAYS_S", (0.0, 0.0))
    start = RestorePoint(path="/c", trial="t0", number=0, iteration=1)
    said = trial.run(lambda config: None, start=start)
    assert said.outcome is Outcome.FAILED
    assert not said.ended.rejected
    assert "does not answer" in said.ended.error.message


# --- a checkpoint whose report was never answered is whole on the disk, with its row


def test_a_worker_killed_between_commit_and_answer_leaves_a_whole_checkpoint(trial):
    script = f"""
import os, signal
from perdure.checkpoint import Checkpoint
from perdure.trainable.messages import Assignment, Report, Verdict
from perdure.trainable.session import checkpoint_dir, report
from perdure.trainable.worker import run_attempt
from tests.trainable.conftest import ScriptedChannel
from perdure.trainable.worker import run_attempt

class Killer:
    stopping = False
    def send(self, message): pass
    def ask(self, message, meanwhile=None): os.kill(os.getpid(), signal.SIGKILL)

def train(config):
    with checkpoint_dir() as directory:
        open(directory + "/weights", "w").write("good")
        report({{"loss": 0.5}}, checkpoint=Checkpoint(directory))

run_attempt(Assignment(trial="t0", name="n", attempt=0, experiment="exp", experiment_path={str(trial.path.parent)!r},
                       path={str(trial.path)!r}, config={{}}), Killer(), train)
"""
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.returncode == -9
    from perdure.checkpoints.manifest import read_manifest, verify_checkpoint

    (folder,) = trial.checkpoints()
    verify_checkpoint(folder)
    manifest = read_manifest(folder)
    assert manifest.row == {"loss": 0.5}
    assert manifest.iteration == 1


def test_no_session_outlives_its_attempt(trial):
    from perdure.trainable.session import current_session

    trial.run(one_checkpoint, Decision.STOP)
    assert current_session() is None
