"""Experiments as commands see them: found on the disk and read from the journal, their trials named."""

from __future__ import annotations

import dataclasses
import heapq
import json
import math
import os
import sys
from pathlib import Path

from perdure.core.events import Data
from perdure.core.state import Status
from perdure.errors import ExperimentNotFoundError, UserError
from perdure.history import ExperimentHistory, TrialHistory, read_experiment
from perdure.journal.claim import ClaimInfo, read_claim
from perdure.journal.file import FileJournalReader
from perdure.reporting.advice import by_command
from perdure.reporting.frame import STATUS_STYLES
from perdure.reporting.snapshot import Best, TrialLine, best_of, leaves, score_of, sign_of
from perdure.storage.uri import parse_storage_path

INTERRUPTED = "INTERRUPTED"
"""What a RUNNING trial is called when no driver is alive to run it."""
_SHORTEST_PREFIX = 3
"""Characters of an id that stand for all of it."""
_FIRST = 8
"""Trials, those that reported first, whose first rows tell in which order metrics were first reported."""
_NAMED = 10
"""Trials that a message names at most."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One experiment, read."""

    path: Path
    history: ExperimentHistory
    claim: ClaimInfo | None

    @property
    def code(self) -> int:
        """The exit code of a command that read it: 1 where not all of it could be read."""
        return 0 if self.history.damage is None else 1

    @property
    def alive(self) -> bool:
        """Whether a driver runs it now."""
        return self.claim is not None and self.claim.alive

    @property
    def begun(self) -> bool:
        """Whether its first record was written: before that nothing says what it is to run."""
        return bool(self.history.state.name)

    @property
    def condition(self) -> str:
        """One of "running", "finished" and "interrupted" (a restore would go on with it)."""
        if self.alive:
            return "running"
        return "finished" if self.history.state.finished else "interrupted"

    @property
    def condition_text(self) -> str:
        """The condition, and what stopped it where something did: "interrupted (fail_fast)"."""
        reason = None if self.alive else self.history.state.stopping
        return self.condition if reason is None else f"{self.condition} ({reason})"

    @property
    def created_at(self) -> float | None:
        """When its first record was written, in Unix seconds."""
        first = next(iter(FileJournalReader(self.path).read()), None)
        return None if first is None else first[1].at

    @property
    def total(self) -> int | None:
        """How many trials there will be, if nothing ends it before; None where the journal does not simply say so."""
        state = self.history.state
        return len(self.history.trials) if state.search_ended else total_of(state.definition, state.spec.num_samples)

    @property
    def trials_text(self) -> str:
        """How many trials there are, and of how many where more were to come: "3", "3 of 12"."""
        created, total = len(self.history.trials), self.total
        return str(created) if total is None or total <= created else f"{created} of {total}"

    @property
    def resumable(self) -> bool:
        """Whether a restore would find something to do that no driver is doing."""
        return self.begun and self.condition == "interrupted"

    @property
    def counts(self) -> dict[str, int]:
        """Trials by status; every status is there."""
        return {status.value: self.history.state.counts.get(status.value, 0) for status in Status}

    @property
    def how_to_retry(self) -> str:
        """One line of shell that runs its failed trials again."""
        return by_command(self.path).retry

    @property
    def how_to_resume(self) -> str:
        """One line of shell that goes on with it."""
        return by_command(self.path).resume

    def status_word(self, status: Status) -> str:
        """Return a trial's status as it is shown: nothing runs without a driver."""
        return INTERRUPTED if status is Status.RUNNING and not self.alive else str(status.value)

    def status_style(self, status: Status) -> str:
        """Return the style a status is shown in."""
        return "yellow" if status is Status.RUNNING and not self.alive else STATUS_STYLES[status]

    def lines(self) -> list[TrialLine]:
        """Return every trial as a row of a table, in the order they were created."""
        return [self.line(trial) for trial in self.history.trials.values()]

    def line(self, trial: TrialHistory) -> TrialLine:
        """Return one trial as a row of a table."""
        last = trial.last_row()
        line = TrialLine(
            id=trial.id,
            number=trial.number,
            name=trial.name,
            searched=trial.searched_now,
            status=trial.status,
            failures=trial.failures,
        )
        if last is not None:
            line.iteration, line.time_s, line.metrics = last.iteration, last.time_total_s, last.metrics
        metric, mode = self.history.metric, self.history.mode
        if metric is not None and mode is not None:
            line.score = score_of(line, metric, sign_of(mode))
        return line

    def best(self) -> Best | None:
        """Return the trial whose last value of the metric is the best; None, too, where no mode says which is."""
        return best_of(self.lines(), sign_of(self.history.mode))

    def metric_names(self) -> list[str]:
        """Return the metrics of the trials' last rows, in the order of the displays.

        The optimised one is first, the others as they were first reported: by the rows with which trials began.
        """
        names: dict[str, None] = {}
        if self.history.metric is not None:
            names[self.history.metric] = None
        trials = self.history.trials.values()
        for trial in heapq.nsmallest(_FIRST, (trial for trial in trials if trial.row_count), key=_first_reported):
            names.update(dict.fromkeys(leaves(trial.first_row().metrics)))
        for trial in trials:
            last = trial.last_row()
            if last is not None:
                names.update(dict.fromkeys(leaves(last.metrics)))
        return list(names)


def _first_reported(trial: TrialHistory) -> int:
    return trial.index.sequence(0)


def open_experiment(path: str | os.PathLike[str], *, salvage: bool = True) -> Experiment:
    """Read the experiment at `path`; of a damaged one what can be read, saying on stderr what could not.

    Raises:
        ExperimentNotFoundError: there is none; the message says what is there instead.
        JournalCorruptError, JournalVersionError: as `read_experiment`.
    """
    directory = locate(path)
    if directory.is_dir() and not is_experiment(directory):
        inside = find_experiments(directory)
        if inside:
            names = ", ".join(found.name for found in inside[:5]) + (", ..." if len(inside) > 5 else "")
            raise ExperimentNotFoundError(f"{directory} is no experiment, but holds some: {names}. Name one of them.")
    history = read_experiment(directory, salvage=salvage)
    if history.damage is not None:
        print(f"perdure: {history.damage} What follows was made from the records before it.", file=sys.stderr)
    return Experiment(directory, history, read_claim(directory))


def locate(path: str | os.PathLike[str] | None) -> Path:
    """Return the absolute path that a command line names.

    A relative one that is not in the working directory is looked up in the default storage path, which is what None
    stands for; one that begins with "./" or "../" is not.

    Raises:
        ExperimentNotFoundError: it is in neither.
    """
    if path is None:
        return parse_storage_path(None)
    given = Path(path).expanduser()
    here = given.absolute()
    if given.is_absolute() or here.exists() or os.fspath(path).startswith(("./", "../")):
        return _without_detours(here)
    stored = parse_storage_path(None) / given
    if not stored.exists():
        raise ExperimentNotFoundError(f"There is neither {here} nor {stored}.")
    return stored


def _without_detours(path: Path) -> Path:
    """Return a path without "..", as it is shown and copied, if that is the same place: behind a link it may not be."""
    direct = Path(os.path.normpath(path))
    return direct if direct.exists() and path.exists() and direct.samefile(path) else path


def is_experiment(directory: Path) -> bool:
    """Return whether there is a journal in `directory`."""
    return any(directory.glob("journal-*.jsonl"))


def find_experiments(directory: Path) -> list[Path]:
    """Return the experiments in a storage path, by name."""
    try:
        inside = sorted(entry for entry in directory.iterdir() if entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        raise ExperimentNotFoundError(f"There is no directory {directory}.") from None
    return [entry for entry in inside if is_experiment(entry)]


def find_trial(experiment: Experiment, text: str) -> TrialHistory:
    """Return the trial that `text` names.

    A bare integer is the trial's number and nothing else: ids are random hexadecimal digits, and which of them happen
    to be decimal must not choose the trial that is stopped. Anything else is an id, a name, a directory, or the first
    three characters or more of one id only.

    Raises:
        UserError: no trial is called so, or several are; the message names those there are.
    """
    trials = list(experiment.history.trials.values())
    if text.isdecimal():
        found = [trial for trial in trials if trial.number == int(text)]
    else:
        exact = [trial for trial in trials if text in (trial.id, trial.name, trial.directory)]
        found = exact or [trial for trial in trials if len(text) >= _SHORTEST_PREFIX and trial.id.startswith(text)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"{len(found)} trials of {experiment.path} fit {text!r}: {_named(found)}. Name one.")
    wrong = f"No trial of {experiment.path} " + ("has the number " if text.isdecimal() else "is called ")
    raise UserError(f"{wrong}{text if text.isdecimal() else repr(text)}. {_there_are(trials)}")


def _there_are(trials: list[TrialHistory]) -> str:
    if not trials:
        return "It has no trials yet."
    return (
        f"There {'is' if len(trials) == 1 else 'are'} {_named(trials)}. "
        f"Give a number, an id, a name, or the beginning of an id ({_SHORTEST_PREFIX} characters or more)."
    )


def _named(trials: list[TrialHistory]) -> str:
    more = f" and {len(trials) - _NAMED} more" if len(trials) > _NAMED else ""
    return ", ".join(f"{trial.name} (number {trial.number})" for trial in trials[:_NAMED]) + more


def total_of(definition: Data, num_samples: int) -> int | None:
    """Return how many trials a definition asks for, as it is journaled; None for no end, and where it is not known.

    A journal of before there were definitions has none. Grids within grids, and points to evaluate, which may fix a
    grid's value, make another number than the product of the grids.
    """
    grids, searcher = definition.get("grids"), definition.get("search_alg")
    if num_samples < 0 or not isinstance(grids, list) or "grid_search" in json.dumps(grids):
        return None
    if isinstance(searcher, dict):
        generator = searcher.get("BasicVariantGenerator")
        if ("points_to_evaluate" in generator) if isinstance(generator, dict) else grids:
            return None
    return num_samples * math.prod(len(values) for _, values in grids)
