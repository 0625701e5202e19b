import os
import signal
import sys

import pytest

from perdure.core.events import Outcome
from perdure.executors.base import Executor
from perdure.executors.inline import InlineExecutor
from perdure.testing.executor import Driver, ExecutorTests
from perdure.trainable.base import dump_trainable
from perdure.trainable.messages import Ended, Lost, Report, Verdict


class TestInlineExecutor(ExecutorTests):
    isolated = False

    def make(self) -> Executor:
        return InlineExecutor()


@pytest.fixture
def executor():
    executor = InlineExecutor()
    yield executor
    executor.close()


def driver_of(executor, directory, trainable, **program):
    dump_trainable(trainable, directory / "trainable.pkl")
    return Driver(executor, directory, **program)


def test_user_code_runs_in_this_process_and_under_the_callers_frames(executor, tmp_path):
    def trainable(config):
        from perdure.trainable.session import report

        names = []
        frame = sys._getframe()
        while frame is not None:
            names.append(frame.f_code.co_name)
            frame = frame.f_back
        report(
            {"pid": os.getpid(), "seen": "test_user_code_runs_in_this_process_and_under_the_callers_frames" in names}
        )

    driver = driver_of(executor, tmp_path, trainable)
    key = driver.start()
    driver.end(key)
    assert driver.reports(key)[0].metrics == {"pid": os.getpid(), "seen": True}


def test_surroundings_are_as_before(executor, tmp_path):
    def trainable(config):
        os.chdir("/")
        os.environ["INLINE_LEFT_BEHIND"] = "yes"
        os.environ.pop("INLINE_NEEDED")
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    os.environ["INLINE_NEEDED"] = "1"
    try:
        directory, handler = os.getcwd(), signal.getsignal(signal.SIGTERM)
        driver = driver_of(executor, tmp_path, trainable)
        end = driver.end(driver.start())
        assert end.outcome is Outcome.FINISHED
        assert os.getcwd() == directory
        assert "INLINE_LEFT_BEHIND" not in os.environ
        assert os.environ["INLINE_NEEDED"] == "1"
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        del os.environ["INLINE_NEEDED"]


def test_an_answer_may_take_several_turns(executor, tmp_path):
    class Slow(Driver):
        held = 0

        def turn(self):
            for key, message in self.executor.poll(0):
                self.said[key].append(message)
            for key, said in self.said.items():
                if said and isinstance(said[-1], Report):
                    self.held += 1
                    if self.held % 3 == 0:
                        self.executor.reply(key, Verdict())

    driver = Slow(executor, tmp_path)
    key = driver.start(count=3)
    end = driver.end(key)
    assert end.outcome is Outcome.FINISHED
    assert len(driver.reports(key)) == 3
    assert driver.held == 9


def test_an_error_of_the_loop_is_not_the_trials(executor, tmp_path):
    caught = []

    def trainable(config):
        from perdure.trainable.session import report

        try:
            report({"a": 1})
        except Exception as error:
            caught.append(error)

    class Broken(Driver):
        def turn(self):
            events = self.executor.poll(0)
            if any(isinstance(message, Report) for _, message in events):
                raise ZeroDivisionError("the loop's own")
            for key, message in events:
                self.said[key].append(message)

    dump_trainable(trainable, tmp_path / "trainable.pkl")
    driver = Broken(executor, tmp_path)
    key = driver.start()
    with pytest.raises(ZeroDivisionError, match="the loop's own"):
        driver.end(key)
    assert caught == []
    assert isinstance(driver.end(key), Lost)


def test_kill_unwinds_the_code_at_its_next_report(executor, tmp_path):
    class Killing(Driver):
        def turn(self):
            for key, message in self.executor.poll(0):
                self.said[key].append(message)
                if isinstance(message, Report):
                    self.executor.kill(key)

    driver = Killing(executor, tmp_path)
    key = driver.start(count=5)
    end = driver.end(key)
    assert isinstance(end, Lost)
    assert len(driver.reports(key)) == 1


def test_stop_before_its_turn_runs_nothing(executor, tmp_path):
    driver = Driver(executor, tmp_path)
    key = driver.start()
    executor.stop(key, grace_s=1)
    assert driver.end(key) == Ended(outcome=Outcome.INTERRUPTED)
    assert len(driver.said[key]) == 1
