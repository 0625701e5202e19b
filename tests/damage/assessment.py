"""Damaging one file of an experiment, and judging what perdure makes of it."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from perdure.cli.verify import Findings, examine
from perdure.core.events import Noticed
from perdure.core.state import Status
from perdure.errors import PerdureError
from perdure.history import ExperimentHistory, TrialHistory, read_experiment
from perdure.journal.file import FileJournalReader
from perdure.trainable.failure import ERROR_PICKLE
from perdure.trainable.pickling import unsealed
from tests.damage.experiment import asked_for, expected, factor_of, go_on, rows_of

VIEWS = ("result.json", "progress.csv", "params.json", "error.txt", "loggers.json", "claim.json", "events.out.tfevents")
"""Made from the journal, or of the moment: nothing is restored from them."""

MAY_BE_LACKING = (".perdure-metadata.json", "error.pkl")


@dataclasses.dataclass(frozen=True)
class Damage:
    """One change to one file."""

    file: str
    """Relative to the experiment's directory."""
    kind: str
    """"flip" (one bit), "cut" (what follows is gone), "zero" (16 bytes) or "remove"."""
    at: int = 0
    """Byte; for "flip" the bit besides, as byte * 8 + bit."""

    def inflict(self, path: Path) -> bool:
        """Do it. False: the file is what it was before."""
        target = path / self.file
        before = target.read_bytes()
        if self.kind == "remove":
            target.unlink()
            return True
        after = bytearray(before)
        if self.kind == "flip":
            after[self.at // 8] ^= 1 << self.at % 8
        elif self.kind == "cut":
            del after[self.at :]
        elif self.kind == "zero":
            after[self.at : self.at + 16] = bytes(len(after[self.at : self.at + 16]))
        target.write_bytes(after)
        return bytes(after) != before

    @property
    def is_of_view(self) -> bool:
        return Path(self.file).name.startswith(VIEWS)

    @property
    def is_untold(self) -> bool:
        """Whether what is gone need not ever have been there: nothing is lost but what was in it."""
        return self.kind == "remove" and (Path(self.file).name in MAY_BE_LACKING or self.file.startswith("control"))

    @property
    def is_of_journal(self) -> bool:
        return Path(self.file).name.startswith("journal-")


def files_of(path: Path) -> list[str]:
    """Return every file of the experiment, relative to its directory."""
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())


def damages(path: Path, rng: random.Random, *, flips: int, cuts: int, zeros: int) -> Iterator[Damage]:
    """Yield damages to every file: so many of each kind for each, in different places, and each file removed once."""
    for file in files_of(path):
        size = (path / file).stat().st_size
        for bit in _spread(rng, size * 8, flips):
            yield Damage(file, "flip", bit)
        for at in _spread(rng, size, cuts):
            yield Damage(file, "cut", at)
        for at in _spread(rng, size, zeros):
            yield Damage(file, "zero", at)
        yield Damage(file, "remove")


def _spread(rng: random.Random, size: int, count: int) -> list[int]:
    """Return `count` places, one in each of as many equal parts: all of a file is hit, however large."""
    return sorted({rng.randrange(size * part // count, size * (part + 1) // count + 1) % size for part in range(count)})


def assess(original: Path, damage: Damage, scratch: Path) -> list[str]:
    """Damage a copy, verify it, go on with it; return what is wrong with how perdure took that."""
    path = scratch / original.name
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(original, path)
    if not damage.inflict(path):
        return []
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            findings = _examined(path)
            history = _continued(path)
    except PerdureError:
        raise
    except Exception as error:
        return [f"a raw {type(error).__name__}: {error}"]
    before = read_experiment(original)
    wrong = _about_verify(damage, findings, before)
    if isinstance(history, PerdureError):
        return wrong + _about_refusal(damage, findings, str(history))
    return wrong + _about_results(damage, history, before)


def _examined(path: Path) -> Findings | PerdureError:
    try:
        return examine(path)
    except PerdureError as error:
        return error


def _continued(path: Path) -> ExperimentHistory | PerdureError:
    try:
        return go_on(path)
    except PerdureError as error:
        return error


def _about_verify(damage: Damage, findings: Findings | PerdureError, before: ExperimentHistory) -> list[str]:
    if damage.is_of_view or damage.is_untold or is_of_a_seal_alone(damage, Path(before.path)):
        return []
    if _is_superseded(damage, before) or _is_undigested(damage, before):
        return []
    if isinstance(findings, PerdureError):
        return [] if _names(damage, str(findings)) else [f"verify raised without naming the file: {findings}"]
    told = [f"{problem.file} {problem.line} {problem.offset} {problem.what}" for problem in findings.problems]
    return [] if any(_names(damage, text) for text in told) else [f"verify did not find it, but {told}"]


def _about_refusal(damage: Damage, findings: Findings | PerdureError, text: str) -> list[str]:
    wrong = []
    if damage.is_of_view:
        wrong.append(f"refused because of a view: {text}")
    if not _names(damage, text):
        wrong.append(f"the refusal does not name the file: {text}")
    has_position = damage.is_of_journal and damage.kind != "remove"
    if has_position and not re.search(r"line \d+, byte \d+", text):
        wrong.append(f"the refusal does not name the position: {text}")
    if isinstance(findings, Findings) and findings.ok:
        wrong.append(f"refused, and verify said it was fine: {text}")
    return wrong


def is_of_a_seal_alone(damage: Damage, original: Path) -> bool:
    """Whether an exception is all there, without its digest: so an older perdure left it, and nothing of it is lost."""
    if damage.kind != "cut" or Path(damage.file).name != ERROR_PICKLE:
        return False
    return damage.at == len(unsealed((original / damage.file).read_bytes(), damage.file))


def _is_superseded(damage: Damage, before: ExperimentHistory) -> bool:
    """Whether it is in a checkpoint that was about to be deleted, or in a pickle that another one has replaced."""
    if damage.file.startswith(("trainable", "tuner")):
        return damage.file not in before.state.pickles
    trial, name = _checkpoint_of(damage, before)
    return trial is not None and name not in {info.directory for info in trial.checkpoints.values()}


def _is_undigested(damage: Damage, before: ExperimentHistory) -> bool:
    """Whether it is in a checkpoint that was saved a moment before the kill, and had no digests yet.

    Such a one is trusted for as long as the machine is not started anew: it was whole when it was committed.
    """
    trial, name = _checkpoint_of(damage, before)
    if trial is None:
        return False
    info = next(info for info in trial.checkpoints.values() if info.directory == name)
    return not info.digested and not trial.is_durable(info.number)


def _checkpoint_of(damage: Damage, before: ExperimentHistory) -> tuple[TrialHistory | None, str]:
    """Return trial and directory of the checkpoint that the file belongs to."""
    directory, _, rest = damage.file.partition("/")
    name = rest.partition("/")[0]
    trial = next((trial for trial in before.trials.values() if trial.directory == directory), None)
    return (trial if name.startswith("checkpoint_") else None), name


def _about_results(damage: Damage, history: ExperimentHistory, before: ExperimentHistory) -> list[str]:
    wrong = []
    rows = rows_of(history)
    for trial in history.trials.values():
        factor = factor_of(trial.config)
        if trial.status is Status.ERROR:
            if trial.error is None or not _names(damage, trial.error.message):
                wrong.append(f"trial {trial.id} failed without naming the file: {trial.error}")
        elif trial.status is not Status.TERMINATED or rows[factor] != expected()[factor]:
            wrong.append(f"trial {trial.id} is {trial.status} with rows {rows[factor]}")
        wrong += _about_restarts(trial, before.trials[trial.id])
    if set(rows) != set(expected()):
        wrong.append(f"trials: {sorted(rows)}")
    wrong += _about_pins(history, before)
    notices = [e.text for _, e in FileJournalReader(history.path).read() if isinstance(e, Noticed)]
    if damage.is_of_journal and not any(_names(damage, text) for text in notices):
        wrong.append(f"the journal was cut silently; notices: {notices}")
    return wrong


def _about_pins(history: ExperimentHistory, before: ExperimentHistory) -> list[str]:
    """Nothing is pinned that nobody asked for."""
    pinned = {trial.id for trial in history.state.trials.values() if trial.pinned}
    return [f"pinned: {sorted(pinned)}"] if pinned - {asked_for(before)} else []


def _about_restarts(trial: TrialHistory, before: TrialHistory) -> list[str]:
    """A trial that had a checkpoint goes on from one."""
    started = [attempt.iteration for attempt in trial.attempts[len(before.attempts) :]]
    return [f"trial {trial.id} began again from scratch: {started}"] if before.checkpoints and 0 in started else []


def _names(damage: Damage, text: str) -> bool:
    """Whether a text names the file: by its own name, and that of the checkpoint it is in."""
    parts = Path(damage.file).parts
    checkpoint = [part for part in parts if part.startswith(("checkpoint_", "snapshot-"))]
    return all(part in text for part in [*checkpoint, parts[-1]])
