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
