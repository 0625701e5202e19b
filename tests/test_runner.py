"""The loop, by itself: what it does about silence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from perdure import tune
from perdure.checkpoints.manager import Backlog
from perdure.core.events import (
    Action,
    AttemptPlanned,
    AttemptStarted,
    CheckpointInfo,
    Decision,
    DriverStarted,
    ExperimentCreated,
    Reported,
    Spec,
    TrialCreated,
)
from perdure.core.state import State, Status, Trial
from perdure.errors import ResourceError
from perdure.executors.devices import DeviceLedger
from perdure.executors.simulated import SimulatedExecutor
from perdure.journal.file import FileJournal
from perdure.journal.memory import MemoryJournal
from perdure.judge import Judge
from perdure.runner import Runner, Settings
from perdure.trainable.messages import AttemptKey, Report, Verdict

KEY = AttemptKey("a", 1)


class Executor:
    """Keeps what it is asked for."""

    def __init__(self) -> None:
        self.answered: list[AttemptKey] = []
        self.killed: list[AttemptKey] = []

    def poll(self, timeout: float) -> Sequence[Any]:
        return ()

    def wake(self) -> None: ...

    def reply(self, key: AttemptKey, verdict: Verdict) -> None:
        self.answered.append(key)

    def kill(self, key: AttemptKey) -> None:
        self.killed.append(key)


class Checkpoints:
    """A disk that is behind for as long as `oldest_s` says."""

    oldest_s = 0.0

    def poll(self) -> Sequence[Any]:
        return ()

    def make_durable(self, *args: Any, **options: Any) -> None: ...

    @property
    def backlog(self) -> Backlog:
        return Backlog(1, 1, self.oldest_s)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_trial_whose_answer_waits_for_the_disk_is_not_taken_for_silent() -> None:
    executor, checkpoints, clock = Executor(), Checkpoints(), Clock()

    def row(trial: Any, key: AttemptKey, report: Report) -> Reported:
        return Reported(
            at=0.0, trial="a", attempt=1, iteration=report.iteration, metrics={}, checkpoint=report.checkpoint
        )

    judge = SimpleNamespace(
        report=row,
        reported=lambda *_: None,
        wants_end=lambda: False,
        step_begins=lambda: None,
        step_ends=lambda: None,
    )
    runner = Runner(
        state=State(),
        journal=MemoryJournal(),
        executor=executor,  # type: ignore[arg-type]
        judge=judge,  # type: ignore[arg-type]
        checkpoints=checkpoints,  # type: ignore[arg-type]
        ledger=DeviceLedger(()),
        settings=Settings(path=Path("/nowhere"), report_timeout_s=10.0, backlog_s=60.0),
        clock=clock,
        wall_clock=lambda: 0.0,
    )
    for event in (
        ExperimentCreated(at=0.0, name="e", trainable="t", spec=Spec(), version="0"),
        DriverStarted(at=0.0, epoch=1, host="h", pid=1, process_start=0.0),
        TrialCreated(at=0.0, trial="a", number=0, name="a", directory="a", config={}),
        AttemptPlanned(at=0.0, trial="a", attempt=1),
        AttemptStarted(at=0.0, trial="a", attempt=1, host="h", pid=2, process_start=0.0),
    ):
        runner.emit(event)

    def report(number: int) -> None:
        info = CheckpointInfo(number=number, directory=f"checkpoint_{number:06d}", attempt=1, iteration=number + 1)
        runner.receive(KEY, Report(iteration=number + 1, metrics={}, at=0.0, checkpoint=info))
        runner.turn()

    checkpoints.oldest_s = 61.0
    runner.turn()
    report(0)
    clock.now = 100.0
    runner.turn()
    assert (executor.answered, executor.killed) == ([], [])
    checkpoints.oldest_s = 0.0
    clock.now = 101.0
    runner.turn()
    assert (executor.answered, executor.killed) == ([KEY], [])
    clock.now = 112.0
    runner.turn()
    assert executor.killed == [KEY]


def test_a_verdict_is_sent_once_its_row_is_written_and_before_what_follows_is_decided() -> None:
    said: list[str] = []
    journal = MemoryJournal()

    class OneRow(Executor):
        def poll(self, timeout: float) -> Sequence[Any]:
            return [(KEY, Report(iteration=1, metrics={}, at=0.0))]

        def reply(self, key: AttemptKey, verdict: Verdict) -> None:
            said.append(f"answered, {journal.position.sequence} records written")

    judge = SimpleNamespace(
        report=lambda *_: Reported(at=0.0, trial="a", attempt=1, iteration=1, metrics={}),
        reported=lambda *_: None,
        wants_end=lambda: False,
        suggest=lambda: said.append("asked for another trial"),
        step_begins=lambda: None,
        step_ends=lambda: None,
    )
    observer = SimpleNamespace(observe=lambda events: said.append(f"shown {len(events)}"), tick=lambda now: None)
    runner = Runner(
        state=State(),
        journal=journal,
        executor=OneRow(),  # type: ignore[arg-type]
        judge=judge,  # type: ignore[arg-type]
        checkpoints=Checkpoints(),  # type: ignore[arg-type]
        ledger=DeviceLedger(()),
        settings=Settings(path=Path("/nowhere"), directories=False),
        observers=[observer],
    )
    for event in (
        ExperimentCreated(at=0.0, name="e", trainable="t", spec=Spec(), version="0"),
        DriverStarted(at=0.0, epoch=1, host="h", pid=1, process_start=0.0, capacity={"CPU": 2.0}),
        TrialCreated(at=0.0, trial="a", number=0, name="a", directory="a", config={}),
        AttemptPlanned(at=0.0, trial="a", attempt=1),
        AttemptStarted(at=0.0, trial="a", attempt=1, host="h", pid=2, process_start=0.0),
    ):
        runner.emit(event)
    runner.turn()
    assert said == ["answered, 6 records written", "shown 6", "asked for another trial"]


def test_what_follows_from_one_turn_is_written_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred trials start at once: none of them waits for the last to be journaled, and memory holds few events."""
    pieces: list[int] = []
    commit = FileJournal.commit

    def counted(journal: FileJournal) -> None:
        before = journal.position.sequence
        commit(journal)
        pieces.append(journal.position.sequence - before)

    monkeypatch.setattr(FileJournal, "commit", counted)
    monkeypatch.setattr("perdure.runner.LARGE_BATCH", 10)
    results = tune.Tuner(
        lambda config: None,
        param_space={"x": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(num_samples=100),
        run_config=tune.RunConfig(
            storage_path=str(tmp_path),
            verbose=0,
            executor=SimulatedExecutor(lambda config, _: [(1.0 + config["x"], {"loss": 1})], capacity={"CPU": 100.0}),
        ),
    ).fit()
    assert len(results) == 100
    assert max(pieces[:15]) < 20  # of two hundred events in the first turn: created, and planned


def test_a_restore_with_less_refuses_what_is_paused_too() -> None:
    """Once it was woken it would stand at the head of the queue, and nothing behind it would ever start."""
    runner = SimpleNamespace(state=State(capacity={"CPU": 1.0}))
    trial = Trial(id="a", number=0, name="a", directory="a", status=Status.PAUSED, resources={"CPU": 2.0})
    runner.state.trials["a"] = trial
    runner.state.paused["a"] = None
    with pytest.raises(ResourceError, match="Trial a asks for 2 CPU"):
        Runner._check_resources(runner)  # type: ignore[arg-type]


@pytest.mark.parametrize("saves", [True, False])
def test_a_pause_with_a_row_that_was_judged_before_saves_where_the_trainable_can(saves: bool) -> None:
    state = State()
    trial = Trial(id="a", number=0, name="a", directory="a", judged=3, decision=Decision.PAUSE, by_person=True)
    judge: Any = SimpleNamespace(state=state, saves=saves, view=lambda trial: SimpleNamespace())
    judge._row = lambda trial, report: {}
    judge._event = lambda trial, key, report, adopted, **fields: fields
    event: Any = Judge._repeated(judge, trial, KEY, Report(iteration=1, metrics={}, at=0.0), False)
    assert (event["decision"], event["save"], event["judged"]) == (Decision.PAUSE, saves, False)


@pytest.mark.parametrize("decision", Decision)
def test_a_trial_that_stops_at_a_row_that_was_judged_before_is_done(decision: Decision) -> None:
    """As is said of it wherever it is read, and as its searcher was told when the row was judged."""
    trial = Trial(id="a", number=0, name="a", directory="a", judged=3, decision=decision, decided_at=3)
    view = SimpleNamespace(config={}, last_result={})
    judge: Any = SimpleNamespace(state=State(), saves=False, view=lambda trial: view)
    for name in ("_row", "_origin", "_event"):
        setattr(judge, name, getattr(Judge, name).__get__(judge))
    for iteration, done in ((2, False), (3, decision is Decision.STOP)):
        Judge._repeated(judge, trial, KEY, Report(iteration=iteration, metrics={}, at=0.0), False)
        assert view.last_result["done"] == done


def test_a_trial_that_can_never_start_is_refused_where_nothing_runs() -> None:
    """However it came to ask for so much: here it was woken, and nobody had looked."""
    runner = Runner(
        state=State(),
        journal=MemoryJournal(),
        executor=Executor(),  # type: ignore[arg-type]
        judge=SimpleNamespace(),  # type: ignore[arg-type]
        checkpoints=Checkpoints(),  # type: ignore[arg-type]
        ledger=DeviceLedger(()),
        settings=Settings(path=Path("/nowhere"), directories=False),
    )
    for event in (
        ExperimentCreated(at=0.0, name="e", trainable="t", spec=Spec(), version="0"),
        DriverStarted(at=0.0, epoch=1, host="h", pid=1, process_start=0.0, capacity={"CPU": 1.0}),
        TrialCreated(at=0.0, trial="a", number=0, name="a", directory="a", config={}, resources={"CPU": 2.0}),
    ):
        runner.emit(event)
    with pytest.raises(ResourceError, match="Trial a asks for 2 CPU, and this machine has 1 in all"):
        runner.follow_up()


def test_trials_that_ask_for_nothing_run_where_there_is_nothing(tmp_path: Path) -> None:
    executor = SimulatedExecutor(lambda config, _: [(1.0, {"loss": 1})], capacity={"CPU": 0.0})
    results = tune.Tuner(
        tune.with_resources(lambda config: None, {"CPU": 0}),
        tune_config=tune.TuneConfig(num_samples=3),
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0, executor=executor),
    ).fit()
    assert [result.status for result in results] == ["TERMINATED"] * 3


@pytest.mark.parametrize(
    ("answers", "woken", "asked"),
    [
        ((["held"], ["other"], ["third"]), ["other"], 2),
        ((["held", "other"],), ["other"], 1),
        ((["held"], ["held"], ["other"]), [], 2),  # it answers the same for ever
        (([], ["other"]), [], 1),
    ],
)
def test_who_names_a_trial_that_is_held_is_asked_for_another(
    answers: tuple[list[str], ...], woken: list[str], asked: int
) -> None:
    calls: list[list[str]] = []

    def wake(controller: object) -> list[Action]:
        calls.append(answers[len(calls)])
        return [Action(trial=name, decision=Decision.CONTINUE, resume=True) for name in calls[-1]]

    class Held(Judge):
        def __init__(self) -> None:
            self.scheduler = cast("Any", SimpleNamespace(wake=wake))
            self.controller = cast("Any", None)

        def _counts(self, action: Action) -> bool:
            return action.trial != "held"

    assert [action.trial for action in Held().wake(early=False)] == woken
    assert len(calls) == asked
