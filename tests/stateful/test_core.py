"""Random experiments: whatever happens in whatever order, the invariants hold and a replay gives the same state."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from perdure.core.commands import Delete, Finish, Launch, MakeDurable, Retire, Suggest
from perdure.core.events import (
    Action,
    AnyEvent,
    CheckpointPinned,
    CheckpointsDeleted,
    CheckpointsDurable,
    CheckpointsRetired,
    Decision,
    DriverStarted,
    Outcome,
    RequestsCleared,
    Source,
    TrialActed,
)
from perdure.core.planner import plan
from perdure.core.requests import AnyRequest, Collect, PauseTrials, Pin, ResumeTrials, StopTrials, answer
from perdure.core.state import State, Status, is_there, rearm
from perdure.core.transitions import apply
from tests.core.experiment import Experiment, without_agenda

SPECS = st.fixed_dictionaries(
    {
        "max_failures": st.sampled_from([0, 1, -1]),
        "num_to_keep": st.sampled_from([None, 1, 2]),
        "score_attribute": st.sampled_from([None, "score"]),
        "max_concurrent": st.sampled_from([0, 1, 3]),
    }
)


class CoreMachine(RuleBasedStateMachine):
    """Plays executor, worker, disk, scheduler and fate."""

    def __init__(self) -> None:
        super().__init__()
        self.experiment = Experiment(capacity={"CPU": 3.0})
        self.on_disk: dict[str, Source] = {}
        """Checkpoints whose bytes are there: the model beside the real thing."""
        self.pinned: set[str] = set()
        self.requests = 0

    @rule(spec=SPECS)
    @precondition(lambda self: not self.experiment.state.trials)
    def configure(self, spec: dict[str, object]) -> None:
        self.experiment = Experiment(capacity={"CPU": 3.0}, **spec)

    @rule()
    def carry_out_the_plan(self) -> None:
        experiment = self.experiment
        for command in experiment.plan():
            match command:
                case Suggest():
                    if len(experiment.state.trials) < 6:
                        experiment.create(f"t{experiment.state.created}")
                case Launch(trial):
                    experiment.start(trial)
                    live = experiment.trial(trial).live
                    assert live is not None, trial
                    if live.start is not None:
                        assert self._key(live.start) in self.on_disk, "a trial was started from deleted bytes"
                case Retire(items):
                    experiment.apply(CheckpointsRetired(at=0.0, items=items))
                case Delete(items):
                    for item in items:
                        self.on_disk.pop(self._key(item), None)
                    experiment.apply(CheckpointsDeleted(at=0.0, items=items))
                case MakeDurable() | Finish():
                    pass

    @rule(data=st.data(), save=st.booleans(), decision=st.sampled_from(Decision), score=st.floats(0, 1))
    @precondition(lambda self: self.experiment.state.live)
    def report(self, data: st.DataObject, save: bool, decision: Decision, score: float) -> None:
        name = self._pick(data, self.experiment.state.live)
        trial = self.experiment.trial(name)
        if trial.decision is not None:
            decision = trial.decision
        self.experiment.report(name, save=save, score=score, decision=decision, owed=decision is not Decision.CONTINUE)
        if save:
            latest = trial.latest
            assert latest is not None
            source = Source(trial=name, number=latest.number)
            self.on_disk[self._key(source)] = source

    @rule(data=st.data(), outcome=st.sampled_from([o for o in Outcome if o is not Outcome.REJECTED]))
    @precondition(lambda self: self.experiment.state.live)
    def end(self, data: st.DataObject, outcome: Outcome) -> None:
        self.experiment.end(self._pick(data, self.experiment.state.live), outcome)

    @rule(data=st.data())
    @precondition(lambda self: any(self._start_of(t) for t in self.experiment.state.live))
    def reject(self, data: st.DataObject) -> None:
        name = self._pick(data, [t for t in self.experiment.state.live if self._start_of(t)])
        self.experiment.end(name, Outcome.REJECTED, rejected=self._start_of(name))

    @rule(data=st.data())
    @precondition(lambda self: self.experiment.state.undurable)
    def reach_the_disk(self, data: st.DataObject) -> None:
        name = self._pick(data, self.experiment.state.undurable)
        self.experiment.apply(CheckpointsDurable(at=0.0, items=(self.experiment.state.undurable[name],)))

    @rule(data=st.data(), decision=st.sampled_from(Decision), clone=st.booleans())
    @precondition(lambda self: self.experiment.state.trials)
    def act(self, data: st.DataObject, decision: Decision, clone: bool) -> None:
        trials = self.experiment.state.trials
        name = self._pick(data, trials)
        donors = [Source(trial=t.id, number=n) for t in trials.values() for n in t.checkpoints if t.id != name]
        donor = data.draw(st.sampled_from(donors)) if clone and donors else None
        if donor is not None:
            decision = Decision.PAUSE
        action = Action(trial=name, decision=decision, donor=donor, config={} if donor else None, resume=True)
        self.experiment.apply(TrialActed(at=0.0, action=action))

    @rule(data=st.data(), kind=st.sampled_from([StopTrials, PauseTrials, ResumeTrials]), saves=st.booleans())
    @precondition(lambda self: self.experiment.state.trials)
    def a_person_asks(self, data: st.DataObject, kind: Any, saves: bool) -> None:
        trials = self.experiment.state.trials
        names = data.draw(st.lists(st.sampled_from(sorted(trials)), min_size=1, max_size=2, unique=True))
        self._ask(kind(trials=tuple(names)), saves=saves)

    @rule(data=st.data(), pinned=st.booleans())
    @precondition(lambda self: self.on_disk)
    def pin(self, data: st.DataObject, pinned: bool) -> None:
        source = self.on_disk[self._pick(data, self.on_disk)]
        done = self._ask(Pin(trial=source.trial, number=source.number, pinned=pinned))
        if isinstance(done, CheckpointPinned):
            (self.pinned.add if pinned else self.pinned.discard)(self._key(source))

    @rule()
    @precondition(lambda self: self.on_disk)
    def collect_all(self) -> None:
        self._ask(Collect(items=tuple(self.on_disk.values())))

    @rule()
    @precondition(lambda self: self.experiment.state.answered)
    def clear_requests(self) -> None:
        self.experiment.apply(RequestsCleared(at=0.0, requests=tuple(self.experiment.state.answered)))

    @rule(resumable=st.booleans())
    def stop(self, resumable: bool) -> None:
        self.experiment.stop(resumable=resumable)

    @rule()
    def crash(self) -> None:
        """The driver dies; all that is left is the journal, and a snapshot of the state as JSON."""
        replayed = self.experiment.replayed()
        snapshot = msgspec.json.decode(msgspec.json.encode(self.experiment.state), type=State)
        assert without_agenda(replayed) == without_agenda(snapshot) == without_agenda(self.experiment.state)
        self.experiment.state = replayed
        self.experiment.driver()

    @invariant()
    def every_unfinished_trial_keeps_its_latest_checkpoint(self) -> None:
        for trial in self.experiment.state.trials.values():
            if not trial.status.finished and trial.latest is not None:
                assert f"{trial.id}/{trial.latest.number}" in self.on_disk

    @invariant()
    def what_is_pinned_is_there(self) -> None:
        assert self.pinned <= self.on_disk.keys()

    @invariant()
    def what_a_person_paused_does_not_start(self) -> None:
        state = self.experiment.state
        assert not state.held.keys() & {*state.ahead, *state.pending}

    @invariant()
    def what_a_clone_needs_is_there(self) -> None:
        for trial in self.experiment.state.trials.values():
            if is_there(self.experiment.state, trial.start) and not trial.status.finished:
                assert trial.start is not None
                assert self._key(trial.start) in self.on_disk

    @invariant()
    def at_most_as_much_runs_as_there_is_room_for(self) -> None:
        limit = self.experiment.state.spec.max_concurrent or 3
        assert len(self.experiment.state.live) <= limit

    def teardown(self) -> None:
        """Rearming and planning a replayed state never plans what the live one would not."""
        state = self.experiment.replayed()
        apply(state, DriverStarted(at=0.0, epoch=99, host="h", pid=1, process_start=0.0, capacity={"CPU": 3.0}))
        rearm(state)
        for command in plan(state):
            if isinstance(command, Delete):
                assert all(self._key(item) not in state.in_use for item in command.items)
        assert all(trial.status is not Status.RUNNING for trial in state.trials.values())

    def _ask(self, request: AnyRequest, *, saves: bool = True) -> AnyEvent:
        self.requests += 1
        event = answer(self.experiment.state, request, name=f"request{self.requests}", at=0.0, saves=saves)
        self.experiment.apply(event)
        return event

    def _start_of(self, name: str) -> Source | None:
        live = self.experiment.trial(name).live
        return None if live is None else live.start

    @staticmethod
    def _key(source: Source) -> str:
        return f"{source.trial}/{source.number}"

    @staticmethod
    def _pick(data: st.DataObject, names: object) -> str:
        return data.draw(st.sampled_from(sorted(names)))  # type: ignore[call-overload,no-any-return]


TestCore = pytest.mark.timeout(600)(CoreMachine.TestCase)  # it computes all the time: a busy machine takes minutes
TestCore.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
