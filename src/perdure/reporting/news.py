"""News of an experiment: what displays tell of it, each kind in its own sentence (`sentences`)."""

from __future__ import annotations

import dataclasses
from typing import Union

from perdure.core.events import Decision, ErrorInfo, Reported
from perdure.reporting.snapshot import TrialLine


@dataclasses.dataclass(frozen=True, slots=True)
class Ended:
    """News: a trial came to its end."""

    line: TrialLine


@dataclasses.dataclass(frozen=True, slots=True)
class Failed:
    """News: an attempt of a trial failed."""

    line: TrialLine
    error: ErrorInfo
    new: bool
    """It is the first failure of its kind."""
    final: bool
    """The trial is in ERROR; otherwise it will be tried again."""


@dataclasses.dataclass(frozen=True, slots=True)
class Said:
    """News: something a person should know."""

    text: str
    trial: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """News: a trial reported a result."""

    name: str
    report: Reported


@dataclasses.dataclass(frozen=True, slots=True)
class Stopping:
    """News: the experiment is to stop."""

    reason: str
    running: int
    """How many trials run."""


@dataclasses.dataclass(frozen=True, slots=True)
class WentOn:
    """News: a trial that had run before runs again."""

    line: TrialLine
    checkpoint: int | None
    """The number of the one it goes on from; None is from scratch."""
    donor: str | None
    """Name of the trial whose checkpoint that is, if not its own: the trial is its clone."""
    iteration: int
    """The first it reports."""


@dataclasses.dataclass(frozen=True, slots=True)
class Paused:
    """News: a trial gave its resources back before its end."""

    line: TrialLine


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """News: a person, or another process, asked something of trials, and it is done."""

    trials: tuple[str, ...]
    """Their names."""
    what: Decision


News = Union[Ended, Failed, Said, Row, Stopping, WentOn, Paused, Asked]
