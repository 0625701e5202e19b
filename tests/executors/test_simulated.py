import pytest

from perdure.core.events import Decision, Outcome
from perdure.errors import ConfigurationError
from perdure.executors.base import Executor
from perdure.executors.simulated import Hang, Reject, Say, SimulatedExecutor, Step
from perdure.testing.executor import ExecutorTests, simulate
from perdure.trainable.messages import Assignment, AttemptKey, Ended, Lost, Notice, Report, Saved, Started, Verdict


class TestSimulatedExecutor(ExecutorTests):
    loads = False

    def make(self) -> Executor:
        return SimulatedExecutor(simulate)


def assignment(trial="one", **fields):
    fields = {
        "attempt": 1,
        "name": trial,
        "experiment": "e",
        "experiment_path": "/e",
        "path": "/e/t",
        "config": {},
        **fields,
    }
    return Assignment(trial=trial, **fields)


def run(executor, *assignments, verdict=lambda key, report: Verdict()):
    for one in assignments:
        executor.start(one)
    told, left = [], len(assignments)
    while left:
        for key, message in executor.poll(1000):
            told.append((executor.clock(), key.trial, message))
            if isinstance(message, (Report, Saved)):
                executor.reply(key, verdict(key, message))
            left -= isinstance(message, (Ended, Lost))
    return told


def steps(*given):
    return lambda config, assignment: given


def test_time_passes_only_by_what_the_script_says():
    told = run(SimulatedExecutor(steps((2.0, {"a": 1}), (3.0, {"a": 2})), start_s=1.0), assignment())
    assert [(at, type(message)) for at, _, message in told] == [(1, Started), (3, Report), (6, Report), (6, Ended)]


def test_trials_run_side_by_side():
    def script(config, assignment):
        return [(config["pace"], {})] * 3

    told = run(
        SimulatedExecutor(script), assignment("slow", config={"pace": 5.0}), assignment("fast", config={"pace": 2.0})
    )
    reports = [(at, trial) for at, trial, message in told if isinstance(message, Report)]
    assert reports == [(2, "fast"), (4, "fast"), (5, "slow"), (6, "fast"), (10, "slow"), (15, "slow")]


def test_the_same_calls_give_the_same_messages():
    def once():
        trials = [assignment(str(index), config={"count": 3}) for index in range(20)]
        return run(SimulatedExecutor(simulate), *trials)

    assert once() == once()


def test_a_poll_that_nothing_ends_takes_its_time():
    executor = SimulatedExecutor(steps(Hang()))
    executor.start(assignment())
    assert [type(message) for _, message in executor.poll(10)] == [Started]
    assert executor.poll(7.5) == []
    assert executor.clock() == 7.5


def test_time_stands_still_for_a_trial_that_waits_for_its_verdict():
    executor = SimulatedExecutor(steps((1.0, {}), (1.0, {})))
    executor.start(assignment())
    executor.poll(10)
    executor.poll(10)
    assert executor.poll(100) == []
    executor.reply(AttemptKey("one", 1), Verdict())
    [(_, report)] = executor.poll(10)
    assert report.iteration == 2
    assert executor.clock() == 102


def test_checkpoints_are_references_with_numbers_and_scores():
    executor = SimulatedExecutor(
        steps(Step(1.0, {"acc": 0.5}, checkpoint=True, nbytes=9), Step(1.0, {"acc": 0.7}, checkpoint=True))
    )
    told = run(executor, assignment(next_checkpoint=4, score_attribute="acc"))
    infos = [message.checkpoint for _, _, message in told if isinstance(message, Report)]
    assert [(info.number, info.directory, info.iteration, info.score) for info in infos] == [
        (4, "checkpoint_000004", 1, 0.5),
        (5, "checkpoint_000005", 2, 0.7),
    ]
    assert infos[0].nbytes == 9


def test_a_class_trainable_saves_when_it_is_paused():
    executor = SimulatedExecutor(simulate, saves=True)
    told = run(executor, assignment(config={"count": 5}), verdict=lambda key, message: Verdict(decision=Decision.PAUSE))
    assert [type(message) for _, _, message in told] == [Started, Report, Saved, Ended]
    assert told[-1][-1].outcome is Outcome.PAUSED


@pytest.mark.parametrize("decision", [Decision.PAUSE, Decision.STOP])
def test_what_it_was_told_holds_when_the_checkpoint_is_answered_for(decision):
    executor = SimulatedExecutor(simulate, saves=True)
    answer = lambda key, message: Verdict(decision=decision, save=True) if isinstance(message, Report) else Verdict()
    told = run(executor, assignment(config={"count": 5}), verdict=answer)
    assert [type(message) for _, _, message in told] == [Started, Report, Saved, Ended]


def test_a_save_on_request_does_not_end_the_trial():
    executor = SimulatedExecutor(simulate, saves=True)
    asked = lambda key, message: Verdict(save=isinstance(message, Report) and message.iteration == 1)
    told = run(executor, assignment(config={"count": 2}), verdict=asked)
    assert [type(message) for _, _, message in told] == [Started, Report, Saved, Report, Ended]


def test_a_frequency_saves_with_the_report():
    executor = SimulatedExecutor(simulate)
    told = run(executor, assignment(config={"count": 4}, checkpoint_frequency=2))
    assert [message.checkpoint is not None for _, _, message in told if isinstance(message, Report)] == [
        False,
        True,
        False,
        True,
    ]


def test_a_rejected_checkpoint():
    told = run(SimulatedExecutor(steps(Reject(1.0, "bytes differ"))), assignment())
    end = told[-1][-1]
    assert (end.outcome, end.rejected, end.error.message) == (Outcome.REJECTED, True, "bytes differ")


def test_a_notice():
    told = run(SimulatedExecutor(steps(Say("look"), (1.0, {}))), assignment())
    assert [type(message) for _, _, message in told] == [Started, Notice, Report, Ended]


def test_a_result_that_says_done_is_the_last():
    told = run(SimulatedExecutor(steps((1.0, {"done": True}), (1.0, {}))), assignment())
    assert [type(message) for _, _, message in told] == [Started, Report, Ended]
    assert told[-1][-1].outcome is Outcome.FINISHED


def test_what_is_no_step_is_named():
    executor = SimulatedExecutor(steps("tired"))
    with pytest.raises(ConfigurationError, match="'tired'"):
        run(executor, assignment())
