"""What a user's callbacks are told, and what of their doings counts."""

import inspect
import logging

import pytest

from perdure.callbacks import Callback, CallbackList
from perdure.loggers.base import LoggerCallback
from perdure.trial_view import TrialView

TRIAL = TrialView(trial_id="t", trial_name="train_t")
ROW = {"loss": 1.0, "inner": {"a": 1}}


class Recorder(Callback):
    def __init__(self):
        self.calls = []

    def __getattribute__(self, name):
        if name == "setup" or name.startswith("on_"):
            calls = object.__getattribute__(self, "calls")
            return lambda **info: calls.append((name, info))
        return object.__getattribute__(self, name)


def test_every_hook_gets_rays_keyword_arguments():
    recorder = Recorder()
    callbacks = CallbackList([recorder])
    callbacks.setup(stop=None, num_samples=2, total_num_samples=4, time_budget_s=1)
    callbacks.on_trial_start(1, [TRIAL], TRIAL)
    callbacks.on_trial_restore(1, [TRIAL], TRIAL)
    callbacks.on_trial_save(1, [TRIAL], TRIAL)
    callbacks.on_checkpoint(1, [TRIAL], TRIAL, "checkpoint")
    callbacks.on_trial_recover(1, [TRIAL], TRIAL)
    callbacks.on_trial_error(1, [TRIAL], TRIAL)
    callbacks.on_trial_complete(1, [TRIAL], TRIAL)
    callbacks.on_experiment_end([TRIAL])
    about = {"iteration": 1, "trials": [TRIAL], "trial": TRIAL}
    assert recorder.calls == [
        ("setup", {"stop": None, "num_samples": 2, "total_num_samples": 4, "time_budget_s": 1}),
        ("on_trial_start", about),
        ("on_trial_restore", about),
        ("on_trial_save", about),
        ("on_checkpoint", {**about, "checkpoint": "checkpoint"}),
        ("on_trial_recover", about),
        ("on_trial_error", about),
        ("on_trial_complete", about),
        ("on_experiment_end", {"trials": [TRIAL]}),
    ]


def test_hooks_and_their_arguments_are_rays():
    assert {name for name, _ in inspect.getmembers(Callback, inspect.isfunction)} == {
        "setup", "on_step_begin", "on_step_end", "on_trial_start", "on_trial_restore", "on_trial_save",
        "on_trial_result", "on_trial_complete", "on_trial_recover", "on_trial_error", "on_checkpoint",
        "on_experiment_end", "get_state", "set_state",
    }  # fmt: skip
    assert list(inspect.signature(Callback.on_trial_result).parameters) == [
        "self", "iteration", "trials", "trial", "result", "info",
    ]  # fmt: skip


def test_should_checkpoint_is_read_back_and_nothing_else():
    warnings = []

    class Asks(Callback):
        def on_trial_result(self, iteration, trials, trial, result, **info):
            result["should_checkpoint"] = result["loss"] < 2
            result["mine"] = 1

    callbacks = CallbackList([Asks()], warn=warnings.append)
    row = dict(ROW)
    assert callbacks.on_trial_result(1, [TRIAL], TRIAL, row) is True
    assert callbacks.on_trial_result(2, [TRIAL], TRIAL, {"loss": 3.0}) is False
    assert row == ROW
    assert len(warnings) == 1
    assert "'mine'" in warnings[0]
    assert "Asks" in warnings[0]


def test_a_row_that_says_should_checkpoint_itself_is_not_asked_for_twice():
    class Idle(Callback):
        def on_trial_result(self, iteration, trials, trial, result, **info):
            pass

    assert CallbackList([Idle()]).on_trial_result(1, [], TRIAL, {"should_checkpoint": True}) is False


def test_an_error_in_on_trial_result_comes_out_and_one_in_on_trial_complete_does_not(caplog):
    class Broken(Callback):
        def on_trial_result(self, iteration, trials, trial, result, **info):
            raise KeyError("mine")

        def on_trial_complete(self, iteration, trials, trial, **info):
            raise RuntimeError("at the end")

    callbacks = CallbackList([Broken()])
    with pytest.raises(KeyError, match="mine"):
        callbacks.on_trial_result(1, [], TRIAL, dict(ROW))
    with caplog.at_level(logging.ERROR):
        callbacks.on_trial_complete(1, [], TRIAL)
    assert "at the end" in caplog.text
    assert "perdure/callbacks.py" not in caplog.messages[0], "the frames are the user's"


def test_each_callback_hears_of_the_end_though_one_raises():
    ended = []

    class Broken(Callback):
        def on_experiment_end(self, trials, **info):
            raise RuntimeError("no")

    class Fine(Callback):
        def on_experiment_end(self, trials, **info):
            ended.append(1)

    with pytest.raises(RuntimeError):
        CallbackList([Broken(), Fine()]).on_experiment_end([])
    assert ended == [1]


def test_state_goes_to_the_callback_it_came_from():
    class Counting(Callback):
        def __init__(self, count):
            self.count = count

        def get_state(self):
            return {"count": self.count}

        def set_state(self, state):
            self.count = state["count"]

    states = CallbackList([Counting(1), Callback(), Counting(3)]).get_state()
    fresh = [Counting(0), Callback(), Counting(0)]
    CallbackList(fresh).set_state(states)
    assert [fresh[0].count, fresh[2].count] == [1, 3]


def test_no_callbacks_are_false():
    assert not CallbackList()
    assert CallbackList([Callback()])
    assert CallbackList([Callback()]).on_trial_result(1, [], TRIAL, dict(ROW)) is False


def test_a_logger_is_a_callback():
    class Mine(LoggerCallback):
        def __init__(self):
            self.ends = []

        def log_trial_end(self, trial, failed=False):
            self.ends.append(failed)

    mine = Mine()
    mine.on_trial_complete(iteration=1, trials=[], trial=TRIAL)
    mine.on_trial_error(iteration=1, trials=[], trial=TRIAL)
    assert mine.ends == [False, True]
