"""The port through which trials are run. One conformance suite, `perdure.testing.ExecutorTests`, holds for all.

An executor knows attempts, not trials: it starts what it is told to start, carries messages both ways, and tells of
every death. It decides nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, Union

from perdure.trainable.messages import (
    Asked,
    Assignment,
    AttemptKey,
    Ended,
    Lost,
    Notice,
    Report,
    Saved,
    Started,
    Verdict,
)

Resources = dict[str, float]
"""Amounts by name: "CPU", "GPU", "memory" (bytes) and whatever else a user names."""

ExecutorEvent = tuple[AttemptKey, Union[Started, Report, Saved, Asked, Ended, Notice, Lost]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """What every attempt of an experiment has in common."""

    trainable: Path
    """`trainable.pkl`: see `perdure.trainable.base.load_trainable`."""
    reuse: bool = False
    """A worker whose attempt ended may be given another."""
    forward_output: bool = False
    """Lines that trials print are brought to the driver (`on_output`) instead of going straight to the terminal."""
    on_output: Callable[[str, str], None] | None = None
    """Called with (trial, line) for each forwarded line."""


class Executor(Protocol):
    """Runs attempts.

    `start`, `reply`, `stop` and `kill` never block on a worker. A key for which `Ended` or `Lost` was returned by
    `poll` is over: nothing further comes for it, and exactly one of the two comes for each key that was started.
    """

    def capacity(self) -> Resources:
        """What can be used at a time, in all."""
        ...

    def devices(self) -> Sequence[str]:
        """Ids of the GPUs behind `capacity()["GPU"]`."""
        ...

    def setup(self, program: Program, *, turn: Callable[[], None]) -> None:
        """Get ready to start attempts. `turn` runs one turn of the loop, for an executor that has no process of its
        own to wait in (inline).
        """
        ...

    def start(self, assignment: Assignment) -> None:
        """Start an attempt in a process of its own; its `Started` comes from `poll`."""
        ...

    def reply(self, key: AttemptKey, verdict: Verdict) -> None:
        """Answer the attempt's outstanding `Report`, `Saved` or `Asked`. A no-op for an attempt that is over."""
        ...

    def stop(self, key: AttemptKey, *, grace_s: float) -> None:
        """Have the attempt end at its next report; kill it when `grace_s` is over."""
        ...

    def kill(self, key: AttemptKey) -> None:
        """End the attempt's process, and all that it started, now."""
        ...

    def poll(self, timeout: float) -> list[ExecutorEvent]:
        """Return what has happened since the last call, waiting at most `timeout` seconds for the first of it.

        Messages of one attempt come in the order they were sent.
        """
        ...

    def wake(self) -> None:
        """Make a `poll` that is waiting return at once. May be called from any thread or signal handler."""
        ...

    def close(self) -> None:
        """Kill whatever still runs and leave no process behind."""
        ...
