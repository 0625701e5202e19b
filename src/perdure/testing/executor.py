"""What every executor must do. Inherit `ExecutorTests`, say how yours is made, and run pytest.

    class TestMine(ExecutorTests):
        def make(self) -> Executor:
            return MyExecutor()

The attempts run `behave`, a function trainable whose configuration says what it does. An executor that runs no user
code is given a script that does the same, see `simulate`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from perdure.core.events import Data, Decision, Outcome
from perdure.errors import InternalError
from perdure.executors.base import Executor, Program
from perdure.executors.simulated import Die, Fail, Hang, ScriptStep
from perdure.trainable.base import dump_trainable
from perdure.trainable.messages import (
    Assignment,
    AttemptKey,
    Ended,
    FromWorker,
    Lost,
    Notice,
    Report,
    Saved,
    Started,
    Verdict,
)

LONG_S = 600.0
"""Longer than any test may take."""


def behave(config: dict[str, Any]) -> None:
    """Report `count` times, with `size` characters each time, and then do what `then` says."""
    from perdure.trainable.session import report

    for index in range(config.get("count", 1)):
        report({"index": index, "text": "x" * config.get("size", 0)})
    match config.get("then"):
        case "raise":
            raise LookupError("as it was told")
        case "die":
            os.kill(os.getpid(), config["signal"])
        case "exit":
            os._exit(config["code"])
        case "hang":
            while True:
                time.sleep(1)


def simulate(config: Data, assignment: Assignment) -> Iterator[ScriptStep]:
    """Do as `behave` does, in the terms of the simulated executor."""
    count, size = config.get("count", 1), config.get("size", 0)
    assert isinstance(count, int)
    assert isinstance(size, int)
    for index in range(count):
        yield (1.0, {"index": index, "text": "x" * size})
    match config.get("then"), config.get("signal"), config.get("code"):
        case "raise", _, _:
            yield Fail(0.0, "as it was told")
        case "die", int(number), _:
            yield Die(0.0, signal=number)
        case "exit", _, int(code):
            yield Die(0.0, signal=None, exit_code=code)
        case "hang", _, _:
            yield Hang()


class Driver:
    """A small driver: starts attempts, answers each report, remembers what was said.

    `verdicts` says how an attempt's reports are answered, by the number of the report; CONTINUE where it says nothing.
    """

    def __init__(self, executor: Executor, directory: Path, **program: Any) -> None:
        self.executor = executor
        self.directory = directory
        self.said: dict[AttemptKey, list[FromWorker]] = {}
        self.verdicts: dict[tuple[AttemptKey, int], Verdict] = {}
        self.on_report: Callable[[AttemptKey, int], None] | None = None
        """Called with the number of each report before it is answered."""
        trainable = directory / "trainable.pkl"
        if not trainable.exists():
            dump_trainable(behave, trainable)
        executor.setup(Program(trainable=trainable, **program), turn=self.turn)

    def start(
        self, trial: str = "one", attempt: int = 1, *, more: dict[str, Any] | None = None, **config: Any
    ) -> AttemptKey:
        """Start an attempt that behaves as `config` says; `more` are further fields of its assignment."""
        path = self.directory / trial
        path.mkdir(exist_ok=True)
        fields = {"hide_devices": False, **(more or {})}
        assignment = Assignment(
            trial=trial,
            attempt=attempt,
            name=trial,
            experiment="experiment",
            experiment_path=str(self.directory),
            path=str(path),
            config=config,
            **fields,
        )
        key = AttemptKey(trial, attempt)
        self.said[key] = []
        self.executor.start(assignment)
        return key

    def turn(self) -> None:
        """Take what has happened, and answer it."""
        for key, message in self.executor.poll(LONG_S):
            self.said[key].append(message)
            if isinstance(message, (Report, Saved)):
                number = len(self.reports(key))
                if self.on_report is not None:
                    self.on_report(key, number)
                self.executor.reply(key, self.verdicts.get((key, number), Verdict()))

    def until(self, key: AttemptKey, *kinds: type[FromWorker]) -> FromWorker:
        """Go on until the attempt's last message is of one of these kinds, and return it."""
        while not (self.said[key] and isinstance(self.said[key][-1], kinds)):
            self.turn()
        return self.said[key][-1]

    def end(self, key: AttemptKey) -> Ended | Lost:
        """Go on until the attempt is over, and return how."""
        message = self.until(key, Ended, Lost)
        assert isinstance(message, (Ended, Lost))
        return message

    def reports(self, key: AttemptKey) -> list[Report]:
        """Return what the attempt has reported."""
        return [message for message in self.said[key] if isinstance(message, Report)]


class ExecutorTests:
    """The conformance suite."""

    isolated: ClassVar[bool] = True
    """Attempts can die, be killed and run at the same time as others."""
    loads: ClassVar[bool] = True
    """Attempts run the trainable that `Program` names."""

    def make(self) -> Executor:
        """Return a new executor, with room for four attempts."""
        raise NotImplementedError

    @pytest.fixture
    def executor(self) -> Iterator[Executor]:
        """An executor that is closed afterwards."""
        executor = self.make()
        yield executor
        executor.close()

    @pytest.fixture
    def driver(self, executor: Executor, tmp_path: Path) -> Driver:
        """A driver of that executor."""
        return Driver(executor, tmp_path)

    def needs_isolation(self) -> None:
        """Skip a test that ends the process it runs in."""
        if not self.isolated:
            pytest.skip("attempts share the driver's process")

    def needs_loading(self) -> None:
        """Skip a test about the trainable itself."""
        if not self.loads:
            pytest.skip("attempts run no trainable")

    def test_messages_of_an_attempt_come_in_order(self, driver: Driver) -> None:
        key = driver.start(count=20)
        end = driver.end(key)
        assert isinstance(driver.said[key][0], Started)
        assert [report.iteration for report in driver.reports(key)] == list(range(1, 21))
        assert [report.metrics["index"] for report in driver.reports(key)] == list(range(20))
        assert isinstance(end, Ended)
        assert end.outcome is Outcome.FINISHED

    def test_an_attempt_goes_on_where_the_one_before_ended(self, driver: Driver) -> None:
        key = driver.start(attempt=2, more={"iteration": 7, "time_total_s": 100.0}, count=2)
        driver.end(key)
        assert [report.iteration for report in driver.reports(key)] == [8, 9]
        assert driver.reports(key)[-1].time_total_s >= 100.0

    def test_each_attempt_ends_once(self, driver: Driver) -> None:
        keys = [driver.start(f"t{index}", count=index % 3) for index in range(12)]
        keys += [driver.start(f"failing{index}", then="raise") for index in range(3)]
        for key in keys:
            driver.end(key)
        last = driver.start("last")
        driver.end(last)
        for key in keys:
            assert sum(isinstance(message, (Ended, Lost)) for message in driver.said[key]) == 1
            assert isinstance(driver.said[key][-1], (Ended, Lost))

    def test_an_attempt_may_be_started_again_under_the_next_number(self, driver: Driver) -> None:
        first = driver.start("one", 1, then="raise")
        driver.end(first)
        second = driver.start("one", 2)
        end = driver.end(second)
        assert isinstance(end, Ended)
        assert end.outcome is Outcome.FINISHED

    def test_a_key_that_is_live_cannot_be_started(self, driver: Driver) -> None:
        driver.start("one")
        with pytest.raises(InternalError, match="one"):
            driver.start("one")

    @pytest.mark.parametrize(
        ("decision", "outcome"), [(Decision.STOP, Outcome.STOPPED), (Decision.PAUSE, Outcome.PAUSED)]
    )
    def test_a_verdict_ends_the_attempt(self, driver: Driver, decision: Decision, outcome: Outcome) -> None:
        key = driver.start(count=5)
        driver.verdicts[key, 2] = Verdict(decision=decision)
        end = driver.end(key)
        assert isinstance(end, Ended)
        assert end.outcome is outcome
        assert len(driver.reports(key)) == 2

    def test_user_code_that_raises_is_shown(self, driver: Driver) -> None:
        end = driver.end(driver.start(then="raise"))
        assert isinstance(end, Ended)
        assert end.outcome is Outcome.FAILED
        assert end.error is not None
        assert "as it was told" in end.error.message
        assert "as it was told" in end.error.traceback

    def test_megabytes_go_both_ways(self, driver: Driver) -> None:
        key = driver.start(count=2, size=3_000_000, more={"tag": "y" * 3_000_000})
        end = driver.end(key)
        assert isinstance(end, Ended)
        assert end.outcome is Outcome.FINISHED
        assert [len(str(report.metrics["text"])) for report in driver.reports(key)] == [3_000_000] * 2

    def test_an_answer_to_an_attempt_that_is_over_changes_nothing(self, driver: Driver) -> None:
        key = driver.start()
        driver.end(key)
        driver.executor.reply(key, Verdict(decision=Decision.STOP))
        driver.executor.stop(key, grace_s=0)
        driver.executor.kill(key)
        other = driver.start("other", count=2)
        end = driver.end(other)
        assert isinstance(end, Ended)
        assert end.outcome is Outcome.FINISHED
        assert isinstance(driver.said[key][-1], Ended)

    def test_stop_ends_the_attempt_at_its_next_report(self, driver: Driver) -> None:
        driver.on_report = lambda key, number: driver.executor.stop(key, grace_s=LONG_S) if number == 3 else None
        key = driver.start(count=1_000_000)
        end = driver.end(key)
        assert isinstance(end, Ended)
        assert end.outcome is Outcome.INTERRUPTED
        assert len(driver.reports(key)) == 3

    def test_wake_ends_a_poll(self, driver: Driver) -> None:
        driver.end(driver.start())
        driver.executor.wake()
        assert driver.executor.poll(LONG_S * 10) == []

    def test_close_forgets_what_runs(self, driver: Driver) -> None:
        driver.start("one", count=0 if not self.isolated else 1, then="hang")
        driver.executor.close()
        driver.executor.close()
        assert driver.executor.poll(0) == []

    def test_devices_are_what_capacity_counts(self, executor: Executor) -> None:
        assert executor.capacity().get("GPU", 0) == len(executor.devices())
        assert executor.capacity()["CPU"] >= 1

    # --- attempts that can be ended from outside --------------------------------------------------------------------

    def test_kill_ends_an_attempt_that_does_nothing(self, driver: Driver) -> None:
        self.needs_isolation()
        key = driver.start(then="hang")
        driver.until(key, Report)
        driver.executor.kill(key)
        assert isinstance(driver.end(key), Lost)

    def test_kill_before_anything_was_said(self, driver: Driver) -> None:
        key = driver.start(count=3)
        driver.executor.kill(key)
        assert isinstance(driver.end(key), Lost)
        assert driver.reports(key) == []

    def test_stop_kills_when_the_grace_is_over(self, driver: Driver) -> None:
        self.needs_isolation()
        key = driver.start(count=0, then="hang")
        driver.until(key, Started)
        driver.executor.stop(key, grace_s=0.2)
        end = driver.end(key)
        assert isinstance(end, Lost)
        assert end.error.kind == "WorkerTimeoutError"
        assert "0.2 s" in end.error.message

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
    def test_a_death_names_its_signal(self, driver: Driver, number: int) -> None:
        self.needs_isolation()
        key = driver.start(then="die", signal=int(number))
        end = driver.end(key)
        assert isinstance(end, Lost)
        assert end.error.signal == number
        assert signal.Signals(number).name in end.error.message
        assert len(driver.reports(key)) == 1

    def test_an_early_exit_names_its_code(self, driver: Driver) -> None:
        self.needs_isolation()
        end = driver.end(driver.start(then="exit", code=7))
        assert isinstance(end, Lost)
        assert end.error.exit_code == 7
        assert "7" in end.error.message

    def test_one_death_leaves_the_others_alone(self, driver: Driver) -> None:
        self.needs_isolation()
        steady = driver.start("steady", then="hang")
        driver.until(steady, Report)
        driver.end(driver.start("dying", then="die", signal=9))
        other = driver.end(driver.start("other", count=3))
        assert isinstance(other, Ended)
        assert not any(isinstance(message, (Ended, Lost)) for message in driver.said[steady])

    # --- the trainable itself ---------------------------------------------------------------------------------------

    def test_a_trainable_that_cannot_be_loaded_fails_each_attempt(self, executor: Executor, tmp_path: Path) -> None:
        self.needs_loading()
        (tmp_path / "trainable.pkl").write_bytes(b"cno_such_module\nno_such_name\n.")
        driver = Driver(executor, tmp_path)
        for attempt in (1, 2):
            end = driver.end(driver.start(attempt=attempt))
            assert isinstance(end, Ended)
            assert end.outcome is Outcome.FAILED
            assert end.error is not None
            assert "no_such_module" in end.error.message

    def test_reused_workers_run_attempt_after_attempt(self, executor: Executor, tmp_path: Path) -> None:
        self.needs_loading()
        driver = Driver(executor, tmp_path, reuse=True)
        keys = [driver.start(f"t{index}", count=2) for index in range(1)]
        for index in range(1, 6):
            end = driver.end(keys[-1])
            assert isinstance(end, Ended)
            assert end.outcome is Outcome.FINISHED
            keys.append(driver.start(f"t{index}", count=2))
        driver.end(keys[-1])
        pids = {message.pid for key in keys for message in driver.said[key] if isinstance(message, Started)}
        assert len(pids) == 1
        assert not any(isinstance(message, Notice) for key in keys for message in driver.said[key])
