"""`pbt_global.txt` and `pbt_policy_<trial>.txt`: which configurations a population's trials went through.

Each line is [trial's tag, donor's tag, trial's iteration, donor's iteration, donor's configuration, the trial's next
configuration]. A trial's own file begins with the lines of its donor, so it tells how what it is now was trained. The
lines are a fold of the journal: a session writes all of them anew before it adds its own, so that each stands once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path

from perdure.core.events import (
    Action,
    AnyEvent,
    CheckpointCommitted,
    CheckpointInfo,
    Reported,
    TrialActed,
    TrialCreated,
)
from perdure.journal.file import FileJournalReader
from perdure.journal.values import from_data
from perdure.storage.local import write_atomic

GLOBAL = "pbt_global.txt"
_PREFIX = "pbt_policy_"


class PolicyLog:
    """Writes the policies of an experiment. An observer of the runner's.

    Args:
        directory: The experiment's.
        past: The events of earlier sessions.
    """

    def __init__(self, directory: Path, past: Iterable[AnyEvent] = ()) -> None:
        self._directory = directory
        self._tags: dict[str, str] = {}
        self._configs: dict[str, dict[str, object]] = {}
        self._iterations: dict[str, int] = {}
        self._checkpoints: dict[str, CheckpointInfo] = {}
        """The newest of each trial: what a clone was made from just now is one of them."""
        self._all: list[str] = []
        self._policies: dict[str, list[str]] = {}
        for event in past:
            self.fold(event)
        for name, lines in self.files.items():
            self._write(name, lines)

    @property
    def files(self) -> dict[str, list[str]]:
        """The lines of each file by its name; none where nobody was cloned."""
        if not self._all:
            return {}
        return {GLOBAL: self._all, **{_name(trial): lines for trial, lines in self._policies.items()}}

    def observe(self, events: Sequence[AnyEvent]) -> None:
        """Take in what was journaled, and write what follows from it."""
        known = len(self._all)
        changed = [trial for event in events for trial in self.fold(event)]
        if changed:
            self._write(GLOBAL, self._all[known:], append=known > 0)
            for trial in dict.fromkeys(changed):
                self._write(_name(trial), self._policies[trial])

    def tick(self, now: float) -> None:
        """Nothing is due by time."""

    def fold(self, event: AnyEvent) -> list[str]:
        """Take in an event and write nothing; return the trials that went on as clones because of it."""
        if isinstance(event, TrialCreated):
            self._tags[event.trial] = event.tag
            self._configs[event.trial] = event.config
        elif isinstance(event, Reported):
            self._iterations[event.trial] = event.iteration
            if event.checkpoint is not None:
                self._checkpoints[event.trial] = event.checkpoint
            return [action.trial for action in event.actions if self._acted(action)]
        elif isinstance(event, CheckpointCommitted):
            self._checkpoints[event.trial] = event.checkpoint
        elif isinstance(event, TrialActed):
            return [action.trial for action in (event.action, *event.more) if self._acted(action)]
        return []

    def _acted(self, action: Action) -> bool:
        """Take in a decision; return whether it made a clone."""
        if action.config is None:
            return False
        donor = action.donor
        if donor is not None:
            step = [
                self._tags[action.trial],
                self._tags[donor.trial],
                self._iterations.get(action.trial, 0),
                self._checkpoints[donor.trial].iteration,
                from_data(self._configs[donor.trial]),
                from_data(action.config),
            ]
            line = json.dumps(step, default=str) + "\n"
            self._all.append(line)
            inherited = self._policies.get(donor.trial) or self._policies.get(action.trial, [])
            self._policies[action.trial] = [*inherited, line]
        self._configs[action.trial] = action.config
        return donor is not None

    def _write(self, name: str, lines: list[str], *, append: bool = False) -> None:
        path = self._directory / name
        text = "".join(lines).encode()
        try:
            if append:
                with open(path, "ab") as file:
                    file.write(text)
            else:
                write_atomic(os.fspath(path), text)
        except OSError:  # the journal has all of it, and the next session writes it anew
            return


def _name(trial: str) -> str:
    return f"{_PREFIX}{trial}.txt"


def differences(paths: Iterable[Path]) -> dict[Path, str]:
    """Return which of these files of one directory are not what the journal beside them says, and where.

    The journal is read once. Files of other names, and those without a journal beside them, are compared with nothing.

    Raises:
        JournalCorruptError: the journal is damaged.
        OSError: a file, or the journal, cannot be read.
    """
    compared = [path for path in paths if path.name == GLOBAL or path.name.startswith(_PREFIX)]
    if not compared or not any(compared[0].parent.glob("journal-*.jsonl")):
        return {}
    log = PolicyLog(compared[0].parent)
    for _, event in FileJournalReader(compared[0].parent).read():
        log.fold(event)
    files = log.files
    found = ((path, _difference(path, files.get(path.name, ()))) for path in compared)
    return {path: where for path, where in found if where}


def _difference(path: Path, journaled: Sequence[str]) -> str:
    lines = path.read_bytes().splitlines(keepends=True)
    for number, (line, expected) in enumerate(zip_longest(lines, journaled), 1):
        if expected is None or line != expected.encode():
            return f"line {number} is not what the journal says"
    return ""
