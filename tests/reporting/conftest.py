"""An experiment as a stream of events, made the way a runner makes them: state first, then observers."""

from __future__ import annotations

import dataclasses
import io

import pytest

from perdure.core.events import (
    AnyEvent,
    AttemptEnded,
    AttemptPlanned,
    AttemptStarted,
    DriverStarted,
    ErrorInfo,
    ExperimentCreated,
    Outcome,
    Reported,
    Spec,
    TrialCreated,
)
from perdure.core.state import State
from perdure.core.transitions import apply
from perdure.reporting.base import RunInfo

TRACEBACK = (
    "Traceback (most recent call last):\n"
    '  File "train.py", line 31, in train\n'
    "    loss = step(model)\n"
    '  File "train.py", line 12, in step\n'
    '    raise ValueError(f"rate {rate}")\n'
    "ValueError: rate {n}\n"
)


@dataclasses.dataclass
class Story:
    """Tells a display what happens, trial by trial."""

    display: object = None
    spec: Spec = dataclasses.field(default_factory=lambda: Spec(metric="accuracy", mode="max"))
    cpus: float = 8.0
    state: State = dataclasses.field(default_factory=State)
    events: list[AnyEvent] = dataclasses.field(default_factory=list)
    attempts: dict[int, int] = dataclasses.field(default_factory=dict)

    def begin(self) -> Story:
        self.tell(
            ExperimentCreated(at=0, name="digits", trainable="train", spec=self.spec, version="0"),
            DriverStarted(at=0, epoch=1, host="h", pid=1, process_start=0, capacity={"CPU": self.cpus}),
        )
        return self

    def tell(self, *events: AnyEvent) -> None:
        for event in events:
            apply(self.state, event)
        self.events += events
        if self.display is not None:
            self.display.observe(events)

    def create(self, n: int, **searched: object) -> None:
        searched = searched or {"lr": 0.1 / (n + 1)}
        self.tell(
            TrialCreated(
                at=0,
                trial=f"t{n}",
                number=n,
                name=f"train_t{n}",
                directory=f"train_t{n}",
                config=dict(searched),
                searched=dict(searched),
                resources={"CPU": 1.0},
            )
        )

    def start(self, n: int, **searched: object) -> None:
        if f"t{n}" not in self.state.trials:
            self.create(n, **searched)
        attempt = self.attempts[n] = self.attempts.get(n, 0) + 1
        self.tell(
            AttemptPlanned(at=0, trial=f"t{n}", attempt=attempt),
            AttemptStarted(at=0, trial=f"t{n}", attempt=attempt, host="h", pid=n, process_start=0),
        )

    def report(self, n: int, iteration: int, **metrics: object) -> None:
        self.tell(
            Reported(
                at=0,
                trial=f"t{n}",
                attempt=self.attempts[n],
                iteration=iteration,
                metrics=metrics,
                time_total_s=0.5 * iteration,
            )
        )

    def end(self, n: int, outcome: Outcome = Outcome.FINISHED, error: ErrorInfo | None = None) -> None:
        self.tell(AttemptEnded(at=0, trial=f"t{n}", attempt=self.attempts[n], outcome=outcome, error=error))

    def fail(self, n: int, error: ErrorInfo | None = None) -> None:
        error = error or ErrorInfo(kind="ValueError", message=f"rate {n}", traceback=TRACEBACK.replace("{n}", str(n)))
        self.end(n, Outcome.FAILED, error)

    def whole(self, n: int, accuracy: float) -> None:
        self.start(n)
        self.report(n, 1, accuracy=accuracy)
        self.end(n)


@pytest.fixture
def story():
    return Story().begin()


@pytest.fixture
def info():
    return RunInfo(name="digits", path="/results/digits", metric="accuracy", mode="max", total=20)


@pytest.fixture
def new_story():
    return Story


class Screen(io.StringIO):
    """A stream that says what it is told to say of itself."""

    def __init__(self, *, encoding: str = "utf-8", terminal: bool = False, closed_pipe: bool = False) -> None:
        super().__init__()
        self._encoding, self._terminal, self.closed_pipe = encoding, terminal, closed_pipe

    @property
    def encoding(self) -> str:
        return self._encoding

    def isatty(self) -> bool:
        return self._terminal

    def write(self, text: str) -> int:
        if self.closed_pipe:
            raise BrokenPipeError(32, "Broken pipe")
        text.encode(self._encoding)
        return super().write(text)


@pytest.fixture
def screen():
    return Screen


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()
