"""A small driver for tests of the core: says events in one line each, and checks the invariants after every one."""

from __future__ import annotations

import msgspec

from perdure.core.commands import Command
from perdure.core.events import (
    AnyEvent,
    AttemptEnded,
    AttemptPlanned,
    AttemptStarted,
    CheckpointCommitted,
    CheckpointInfo,
    CheckpointsDurable,
    Decision,
    DriverStarted,
    ErrorInfo,
    ExperimentCreated,
    Outcome,
    Reported,
    Source,
    Spec,
    StopRequested,
    TrialCreated,
)
from perdure.core.invariants import violations
from perdure.core.planner import plan, segment_of, source_of
from perdure.core.state import State, Status, Trial, let_go
from perdure.core.transitions import apply


class Experiment:
    """One experiment whose events a test makes up."""

    def __init__(self, *, capacity: dict[str, float] | None = None, **spec: object) -> None:
        self.state = State()
        self.events: list[AnyEvent] = []
        self.told: list[str] = []
        """Trials whose end was told, in order."""
        self.capacity = capacity or {"CPU": 2.0}
        self.epoch = 0
        self.apply(ExperimentCreated(at=0.0, name="e", trainable="f", spec=Spec(**spec), version="0"))  # type: ignore[arg-type]
        self.driver()

    def apply(self, event: AnyEvent) -> None:
        apply(self.state, event)
        self.told += [trial.id for trial in self.let_go(self.state)]
        self.events.append(event)
        assert violations(self.state) == []

    def plan(self) -> list[Command]:
        return plan(self.state)

    def plan_all(self) -> list[Command]:
        """Return what is planned once housekeeping has had its say."""
        self.plan()
        return self.plan()

    def trial(self, name: str) -> Trial:
        return self.state.trials[name]

    def status(self, name: str) -> Status:
        return self.trial(name).status

    def driver(self) -> None:
        self.epoch += 1
        self.apply(DriverStarted(at=0.0, epoch=self.epoch, host="h", pid=1, process_start=0.0, capacity=self.capacity))

    def create(self, *names: str, **resources: float) -> None:
        for name in names:
            self.apply(
                TrialCreated(
                    at=0.0,
                    trial=name,
                    number=self.state.created,
                    name=name,
                    directory=name,
                    config={"lr": 0.1},
                    resources=resources or {"CPU": 1.0},
                )
            )

    def start(self, *names: str) -> None:
        for name in names:
            trial = self.trial(name)
            source = source_of(self.state, trial)
            info = None if source is None else self.trial(source.trial).checkpoints[source.number]
            self.apply(
                AttemptPlanned(
                    at=0.0,
                    trial=name,
                    attempt=trial.attempts + 1,
                    start=source,
                    segment=segment_of(self.state, trial),
                    iteration=0 if info is None else info.iteration,
                )
            )
            self.apply(
                AttemptStarted(
                    at=0.0,
                    trial=name,
                    attempt=trial.attempts,
                    host="h",
                    pid=2,
                    process_start=0.0,
                    iteration=trial.iteration,
                )
            )

    def report(
        self, name: str, *, save: bool = False, owed: bool = False, score: float | None = None, **fields: object
    ) -> None:
        trial = self.trial(name)
        iteration = trial.iteration + 1
        info = self.info(name, iteration=iteration, score=score) if save else None
        decision = fields.pop("decision", Decision.CONTINUE)
        self.apply(
            Reported(
                at=0.0,
                trial=name,
                attempt=trial.attempts,
                segment=trial.segment,
                iteration=iteration,
                metrics={"m": iteration},
                checkpoint=info,
                save=owed,
                judged=iteration > trial.judged,
                decision=decision,  # type: ignore[arg-type]
                **fields,  # type: ignore[arg-type]
            )
        )

    def info(self, name: str, *, iteration: int, score: float | None = None) -> CheckpointInfo:
        trial = self.trial(name)
        number = trial.next_checkpoint
        return CheckpointInfo(
            number=number,
            directory=f"checkpoint_{number:06d}",
            attempt=trial.attempts,
            segment=trial.segment,
            iteration=iteration,
            score=score,
        )

    def save(self, name: str) -> None:
        info = self.info(name, iteration=self.trial(name).iteration)
        self.apply(CheckpointCommitted(at=0.0, trial=name, checkpoint=info))

    def durable(self, name: str, *numbers: int) -> None:
        items = tuple(Source(trial=name, number=number) for number in numbers)
        self.apply(CheckpointsDurable(at=0.0, items=items))

    def end(self, name: str, outcome: Outcome, rejected: Source | None = None) -> None:
        failed = outcome in (Outcome.FAILED, Outcome.LOST, Outcome.REJECTED)
        self.apply(
            AttemptEnded(
                at=0.0,
                trial=name,
                attempt=self.trial(name).attempts,
                outcome=outcome,
                error=ErrorInfo(kind="E") if failed else None,
                rejected=rejected,
            )
        )

    def stop(self, *, resumable: bool) -> None:
        self.apply(StopRequested(at=0.0, reason="test", resumable=resumable))

    def replayed(self) -> State:
        """Return the state that a replay of the journaled events gives."""
        state = State()
        for event in self.events:
            decoded = msgspec.json.decode(msgspec.json.encode(event), type=AnyEvent)  # type: ignore[arg-type]
            apply(state, decoded)
            self.let_go(state)
        return state

    @staticmethod
    def let_go(state: State) -> list[Trial]:
        """Do as the runner does with trials that have ended."""
        trials = [state.trials[trial] for trial in state.agenda.finished]
        for trial in trials:
            let_go(state, trial)
        return trials


def without_agenda(state: State) -> bytes:
    """Return a state as JSON but for the agenda, which planning empties."""
    data = msgspec.to_builtins(state)
    data.pop("agenda", None)
    return msgspec.json.encode(data)
