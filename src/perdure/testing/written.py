"""An experiment that was never run: its journal is written by hand, event by event, to test what reads journals."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perdure.checkpoints.manifest import VERSION, Manifest, encode_manifest
from perdure.core.events import (
    Action,
    AnyEvent,
    AttemptEnded,
    AttemptPlanned,
    AttemptStarted,
    Decider,
    Decision,
    DriverStarted,
    ErrorInfo,
    ExperimentCreated,
    Outcome,
    Reported,
    Source,
    Spec,
    TrialCreated,
)
from perdure.journal.file import FileJournal
from perdure.journal.values import encode_config, to_data
from perdure.storage.layout import MANIFEST

START_TIME = 1_767_225_600.0


class WrittenExperiment:
    """Writes the journal of an experiment as a driver would, each event as it is asked for.

    Args:
        path: The experiment's directory.
        spec: Its limits.
        resumed: It is the next driver of an experiment that is there already.
    """

    def __init__(self, path: str | os.PathLike[str], *, spec: Spec | None = None, resumed: bool = False) -> None:
        self.path = Path(path)
        self.journal = FileJournal(self.path)
        self.now = START_TIME
        self._attempts: dict[str, int] = {}
        self._segments: dict[str, int] = {}
        self._count = 0
        if not resumed:
            self.write(
                ExperimentCreated(at=self.now, name=self.path.name, trainable="train", spec=spec or Spec(), version="0")
            )
        self.write(DriverStarted(at=self.now, epoch=self.journal.epoch, host="here", pid=1, process_start=0.0))

    def write(self, *events: AnyEvent) -> None:
        """Append events."""
        self.journal.append(list(events))

    def go_on(self, earlier: WrittenExperiment) -> None:
        """Take over the counters of the driver before this one."""
        self._attempts, self._segments = earlier._attempts, earlier._segments
        self._count, self.now = earlier._count, earlier.now + 60

    def crash(self) -> None:
        """End this driver without a word in the journal."""
        self.journal.close()

    def trial(self, config: Mapping[str, Any] | None = None) -> str:
        """Create a trial, and return its id."""
        number, self._count = self._count, self._count + 1
        trial = f"abcde_{number:05d}"
        data, _ = encode_config(dict(config or {"lr": 0.1}))
        directory = f"train_{trial}"
        (self.path / directory).mkdir(exist_ok=True)
        self.write(
            TrialCreated(
                at=self.now,
                trial=trial,
                number=number,
                name=f"train_{trial}",
                directory=directory,
                config=data,
                searched=data,
                tag=f"{number}_lr",
            )
        )
        return trial

    def directory(self, trial: str) -> Path:
        """Return the trial's directory."""
        return self.path / f"train_{trial}"

    def attempt(
        self, trial: str, start: Source | None = None, *, iteration: int = 0, segment: int | None = None
    ) -> None:
        """Plan and start an attempt."""
        number = self._attempts[trial] = self._attempts.get(trial, 0) + 1
        self._segments[trial] = self._segments.get(trial, 0) if segment is None else segment
        self.write(
            AttemptPlanned(
                at=self.now,
                trial=trial,
                attempt=number,
                start=start,
                segment=self._segments[trial],
                iteration=iteration,
            ),
            AttemptStarted(
                at=self.now,
                trial=trial,
                attempt=number,
                host="here",
                pid=100 + number,
                process_start=0.0,
                node_ip="127.0.0.1",
                iteration=iteration,
            ),
        )

    def report(
        self,
        trial: str,
        iteration: int,
        metrics: Mapping[str, Any],
        *,
        checkpoint: int | None = None,
        decision: Decision = Decision.CONTINUE,
        actions: tuple[Action, ...] = (),
        stopped_by: Decider | None = None,
    ) -> None:
        """Report a row; with `checkpoint`, the number of the checkpoint that came with it."""
        self.now += 1
        attempt, segment = self._attempts[trial], self._segments[trial]
        info = None
        data = to_data(dict(metrics))
        assert isinstance(data, dict)
        if checkpoint is not None:
            manifest = Manifest(
                version=VERSION,
                trial=trial,
                attempt=attempt,
                segment=segment,
                number=checkpoint,
                iteration=iteration,
                row=data,
                files={},
            )
            info = manifest.info()
            (self.directory(trial) / info.directory).mkdir()
            (self.directory(trial) / info.directory / MANIFEST).write_bytes(encode_manifest(manifest))
        self.write(
            Reported(
                at=self.now,
                trial=trial,
                attempt=attempt,
                segment=segment,
                iteration=iteration,
                metrics=data,
                time_this_iter_s=1.0,
                time_total_s=float(iteration),
                time_since_restore_s=float(iteration),
                checkpoint=info,
                decision=decision,
                actions=actions,
                stopped_by=stopped_by,
            )
        )

    def end(self, trial: str, outcome: Outcome = Outcome.FINISHED, error: ErrorInfo | None = None) -> None:
        """End the trial's attempt."""
        self.write(AttemptEnded(at=self.now, trial=trial, attempt=self._attempts[trial], outcome=outcome, error=error))

    def fail(self, trial: str, message: str = "boom") -> None:
        """End the trial's attempt with an error of the user's."""
        text = f'Traceback (most recent call last):\n  File "train.py", line 3, in train\nValueError: {message}\n'
        self.end(trial, Outcome.FAILED, ErrorInfo(kind="ValueError", message=message, traceback=text))

    def close(self) -> None:
        """Close the journal."""
        self.journal.close()
