"""What the tests of whole experiments share: where they live, and how one is started in two lines."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perdure import tune
from perdure.executors.base import ExecutorEvent
from perdure.executors.local import LocalExecutor
from perdure.trainable.messages import Report

Start = Callable[..., tune.Tuner]


class Hurried(LocalExecutor):
    """Runs two trials at a time; once so many `trials` have reported so many `rows` each, a lot of time has gone by."""

    def __init__(self, *, trials: int, rows: int = 1) -> None:
        super().__init__(cpus=2)
        self._trials, self._rows = trials, rows
        self._reported: collections.Counter[str] = collections.Counter()

    def clock(self) -> float:
        """Tell the experiment the time."""
        is_late = sum(count >= self._rows for count in self._reported.values()) >= self._trials
        return time.monotonic() + 100_000 * is_late

    def poll(self, timeout: float) -> list[ExecutorEvent]:
        """Return what has happened, and count the rows."""
        events = super().poll(timeout)
        self._reported.update(key.trial for key, message in events if isinstance(message, Report))
        return events


class Overslept(LocalExecutor):
    """Runs two trials at a time; once a trial has made `file`, a lot of time goes by: a limit on it need not be short.

    Args:
        file: Where nothing is yet.
        with_next: The kind of message that it goes by with; None if the trial is alone, and is silent from then on.
    """

    def __init__(self, file: Path, *, with_next: type | None = None) -> None:
        super().__init__(cpus=2)
        self._file, self._with_next = file, with_next
        self._is_late = self._heard = False

    def clock(self) -> float:
        """Tell the experiment the time."""
        return time.monotonic() + 100_000 * self._is_late

    def poll(self, timeout: float) -> list[ExecutorEvent]:
        """Return what has happened. All that an earlier call returned was taken in before the time goes by."""
        if self._with_next is None and self._heard and self._file.exists():
            self._is_late = True
        events = super().poll(timeout)
        self._heard = self._heard or bool(events)
        kinds = {type(message) for _, message in events}
        if self._with_next in kinds and self._file.exists():
            self._is_late = True
        return events


TUNE_FIELDS = tune.TuneConfig.__dataclass_fields__


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """The directory that experiments are in."""
    return tmp_path / "results"


@pytest.fixture
def tuner(storage: Path) -> Start:
    """Make the Tuner of a silent experiment named "exp"; options are fields of TuneConfig and RunConfig."""

    def make(trainable: Any, param_space: Any = None, **options: Any) -> tune.Tuner:
        chosen = {name: options.pop(name) for name in list(options) if name in TUNE_FIELDS}
        run = {"name": "exp", "storage_path": str(storage), "verbose": 0, **options}
        return tune.Tuner(
            trainable,
            param_space=param_space,
            tune_config=tune.TuneConfig(**chosen),
            run_config=tune.RunConfig(**run),
        )

    return make
