"""An experiment at one moment, as displays and commands show it: trials as rows of a table, and the best of them."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator, Mapping

from perdure.core.events import Data, ErrorInfo
from perdure.core.state import Status
from perdure.rows import leaf


@dataclasses.dataclass(slots=True)
class TrialLine:
    """One trial, as a row of a table."""

    id: str
    number: int
    name: str
    searched: Data
    status: Status = Status.PENDING
    iteration: int = 0
    time_s: float = 0.0
    metrics: Data = dataclasses.field(default_factory=dict)
    score: float | None = None
    """The metric's last value, turned round where less is better; None until there is one that can be compared."""
    failures: int = 0

    def copy(self) -> TrialLine:
        """Return a row of its own with the same cells."""
        return dataclasses.replace(self)


@dataclasses.dataclass(frozen=True, slots=True)
class Best:
    """The trial whose last value of the metric is the best: what `get_best_result()` returns by default."""

    value: float
    trial: str
    name: str
    iteration: int
    searched: Data


@dataclasses.dataclass(slots=True)
class FailureGroup:
    """Failures of this session that came by the same way: the same lines of code, or the same death."""

    error: ErrorInfo
    first: str
    """Name of the trial that failed so first."""
    count: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A tally at one moment, small and its own: nothing in it changes any more."""

    counts: Mapping[str, int]
    created: int
    total: int | None
    used: Mapping[str, float]
    capacity: Mapping[str, float]
    running: list[TrialLine]
    waiting: list[TrialLine]
    """Paused ones, and ones to be tried again."""
    best_finished: list[TrialLine]
    recent: list[TrialLine]
    """Finished ones, the latest first."""
    best: Best | None
    metric_names: list[str]
    """Metrics in the order they were first reported, at most a few."""
    failed: list[tuple[TrialLine, ErrorInfo]]
    groups: list[FailureGroup]
    stopping: str | None
    resumable: bool
    """With `stopping`: a restore goes on where this stops."""
    finished: bool
    """The driver ended and left nothing to do."""
    left_s: float | None
    """Seconds until the last trial ends, guessed from the ended ones."""
    over: bool = False
    """Whoever ran it has ended: trials that still ran are interrupted."""

    def count(self, status: Status) -> int:
        """Return how many trials have that status."""
        return self.counts.get(status.value, 0)

    @property
    def ended(self) -> int:
        """How many trials are TERMINATED or in ERROR."""
        return self.count(Status.TERMINATED) + self.count(Status.ERROR)

    @property
    def unfinished(self) -> int:
        """How many of the trials created so far have not ended."""
        return self.created - self.ended

    @property
    def left(self) -> int:
        """How many trials a restore would run: what has not ended, and what was to come."""
        if self.finished or (self.stopping is not None and not self.resumable):
            return 0
        return max(self.total or 0, self.created) - self.ended


def sign_of(mode: str | None) -> float:
    """Return what scores are values times of: a score is the greater the better."""
    return -1.0 if mode == "min" else 1.0


def score_of(line: TrialLine, metric: str, sign: float) -> float | None:
    """Return a trial's last value of a metric times `sign`; None where it is no number that can be compared."""
    value = metric_of(line, metric)
    return sign * value if isinstance(value, (int, float)) and math.isfinite(value) else None


def best_of(lines: Iterable[TrialLine], sign: float = 1.0) -> Best | None:
    """Return the best of `lines`; of equals the earliest. `sign` is that of their scores."""
    best: TrialLine | None = None
    for line in lines:
        if line.score is None:
            continue
        if best is None or best.score is None or (line.score, -line.number) > (best.score, -best.number):
            best = line
    if best is None or best.score is None:
        return None
    return Best(sign * best.score, best.id, best.name, best.iteration, best.searched)


def leaves(metrics: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    """Yield the names of metrics, those of nested ones joined by "/". A tagged value is a leaf."""
    for name, value in metrics.items():
        tagged = isinstance(value, dict) and len(value) == 1 and next(iter(value)).startswith("$")
        if isinstance(value, dict) and value and not tagged:
            yield from leaves(value, f"{prefix}{name}/")
        else:
            yield prefix + name


def metric_of(line: TrialLine, metric: str) -> object:
    """Return a metric of a trial's last row by its name, its "/"-joined path, or the name of an automatic column."""
    metrics = line.metrics
    if metric in metrics:
        return metrics[metric]
    if "/" in metric:
        return leaf(metrics, metric)
    if metric == "training_iteration":
        return line.iteration
    if metric == "time_total_s":
        return line.time_s
    return None


def failure_key(error: ErrorInfo) -> object:
    """Return what tells one way of failing from another: the code it came through, not the values it named."""
    frames = tuple(text for text in error.traceback.splitlines() if text.lstrip().startswith('File "'))
    if frames:
        return (error.kind, frames)
    return (error.kind, error.exit_code, error.signal, re.sub(r"\d+", "#", error.message))
