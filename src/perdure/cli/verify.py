"""`perdure verify EXPERIMENT`: is everything that was written still what was written?"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.core.events import CheckpointInfo, Data
    from perdure.history import ExperimentHistory, TrialHistory


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("experiment", help="the experiment's directory", metavar="EXPERIMENT")
    parser.add_argument("--quick", action="store_true", help="compare sizes of checkpoints' files, not their digests")
    parser.add_argument(
        "--verbose", "-v", action="store_true", help="also name every trial whose checkpoints are whole"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is not as it was written."""

    part: str
    """One of "journal", "snapshot", "pickle", "checkpoint", "request" and "view"."""
    what: str
    file: str
    line: int | None = None
    offset: int | None = None
    trial: str | None = None
    serious: bool = True
    """It costs something; otherwise it is what a crash may leave, and perdure deals with it by itself."""

    def document(self) -> Data:
        """Return it as --json says it."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(kw_only=True)
class Findings:
    """What was looked at, and what was found."""

    path: Path
    problems: list[Problem] = dataclasses.field(default_factory=list)
    records: int | None = None
    """None where the journal cannot be read to its end."""
    pickles: int = 0
    checkpoints: int = 0
    nbytes: int = 0
    trials: dict[str, int] = dataclasses.field(default_factory=dict)
    """Whole checkpoints by trial name."""

    @property
    def ok(self) -> bool:
        """Whether nothing serious was found."""
        return not any(problem.serious for problem in self.problems)


def run(arguments: argparse.Namespace) -> int:
    """Verify."""
    from perdure.cli.reading import locate
    from perdure.cli.writing import write_json

    findings = examine(locate(arguments.experiment), deep=not arguments.quick)
    if arguments.json:
        write_json(
            {
                "path": str(findings.path),
                "ok": findings.ok,
                "records": findings.records,
                "pickles": findings.pickles,
                "checkpoints": findings.checkpoints,
                "nbytes": findings.nbytes,
                "digests_compared": not arguments.quick,
                "problems": [problem.document() for problem in findings.problems],
            }
        )
    else:
        _tell(findings, quick=arguments.quick, verbose=arguments.verbose)
    return 0 if findings.ok else 1


def examine(path: Path, *, deep: bool = True) -> Findings:
    """Check the journal, the pickles and every checkpoint of the experiment at `path`.

    Raises:
        ExperimentNotFoundError: there is none.
        JournalVersionError: it was written by a newer perdure.
    """
    from perdure.cli.reading import is_experiment
    from perdure.errors import ExperimentNotFoundError, JournalCorruptError
    from perdure.history import read_experiment
    from perdure.journal.file import verify_journal
    from perdure.snapshots import check_snapshots

    directory = path.expanduser().absolute()
    if not is_experiment(directory):
        raise ExperimentNotFoundError(f"There is no experiment at {directory}.")
    findings = Findings(path=directory)
    for damage in verify_journal(directory):
        findings.problems.append(
            Problem(
                part="journal",
                what=damage.what,
                file=damage.file,
                line=damage.line or None,
                offset=damage.offset,
                serious=damage.refused,
            )
        )
    try:
        history = read_experiment(directory)
    except JournalCorruptError as error:
        if findings.ok:  # whatever the reason, it cannot be opened
            what = _without(directory, error)
            findings.problems.append(Problem(part="journal", what=what, file=str(directory)))
        return findings
    findings.records = history.position.sequence
    for name, what in check_snapshots(directory):
        findings.problems.append(Problem(part="snapshot", what=what, file=name, serious=False))
    _check_pickles(findings, history)
    for trial in list(history.trials.values()):
        _check_trial(findings, history, trial, deep=deep)
    _check_requests(findings)
    _check_policies(findings)
    return findings


def _check_requests(findings: Findings) -> None:
    """Check what people ask for and nobody has answered: the next driver refuses what makes no sense."""
    from perdure.control.door import CONTROL, Door

    door = Door(findings.path)
    list(door.read())
    for name, request in door.read():  # twice: one may have been half-written
        if request is None:
            what = "it is damaged, or no request that this version of perdure understands; it will be refused"
            file = f"{CONTROL}/{name}.json"
            findings.problems.append(Problem(part="request", what=what, file=file, serious=False))


def _check_policies(findings: Findings) -> None:
    """Check the policies of a population, which a later experiment may replay; not while a driver writes them."""
    from perdure.journal.claim import read_claim
    from perdure.loggers.policies import differences

    claim = read_claim(findings.path)
    if claim is not None and claim.alive:
        return
    for path, where in differences(sorted(findings.path.glob("pbt_*.txt"))).items():
        what = f"{where}; the next session writes it anew"
        findings.problems.append(Problem(part="view", what=what, file=path.name, serious=False))


def _check_pickles(findings: Findings, history: ExperimentHistory) -> None:
    from perdure.checkpoints.digests import digest_file

    for name, digest in history.state.pickles.items():
        try:
            found = digest_file(str(findings.path / name))
        except FileNotFoundError:
            findings.problems.append(Problem(part="pickle", what="it is gone", file=name))
            continue
        except OSError as error:
            findings.problems.append(Problem(part="pickle", what=f"it cannot be read: {error}", file=name))
            continue
        if found == digest:
            findings.pickles += 1
        else:
            what = f"its digest is {found}, {digest} was written"
            findings.problems.append(Problem(part="pickle", what=what, file=name))


def _check_trial(findings: Findings, history: ExperimentHistory, trial: TrialHistory, *, deep: bool) -> None:
    _check_params(findings, trial)
    _check_exception(findings, trial)
    whole = 0
    for info in list(trial.checkpoints.values()):
        problem = _check_checkpoint(findings, trial, info, deep=deep)
        if problem is not None and _is_still_there(history, trial, info):
            findings.problems.append(problem)
        elif problem is None:
            whole += 1
            findings.nbytes += info.nbytes
    findings.checkpoints += whole
    findings.trials[trial.name] = whole


def _check_params(findings: Findings, trial: TrialHistory) -> None:
    """Check the objects of a trial's configuration. Without any, `params.pkl` is made from the journal."""
    from perdure.journal.values import has_objects
    from perdure.trainable.pickling import PARAMS, check_objects

    if not has_objects(trial.config):
        return
    file = f"{trial.directory}/{PARAMS}"
    try:
        check_objects(findings.path / file)
    except FileNotFoundError:
        findings.problems.append(Problem(part="pickle", what="it is gone", file=file, trial=trial.name))
    except OSError as error:
        what = _without(findings.path / file, error)
        findings.problems.append(Problem(part="pickle", what=what, file=file, trial=trial.name))
    else:
        findings.pickles += 1


def _check_exception(findings: Findings, trial: TrialHistory) -> None:
    """Check the exception that a trial failed with: without it there is its text, which the journal has."""
    from perdure.errors import StorageError
    from perdure.trainable.failure import ERROR_PICKLE, check_exception

    file = f"{trial.directory}/{ERROR_PICKLE}"
    try:
        check_exception(findings.path / file)
    except FileNotFoundError:
        return
    except OSError as error:
        what = "it is damaged" if isinstance(error, StorageError) else f"it cannot be read: {error}"
        what += "; the exception's text is in the journal"
        findings.problems.append(Problem(part="pickle", what=what, file=file, trial=trial.name, serious=False))
    else:
        findings.pickles += 1


def _check_checkpoint(findings: Findings, trial: TrialHistory, info: CheckpointInfo, *, deep: bool) -> Problem | None:
    from perdure.checkpoints.manifest import verify_checkpoint
    from perdure.checkpoints.metadata import read_metadata
    from perdure.errors import StorageError
    from perdure.storage.processes import boot_id

    folder = findings.path / trial.directory / info.directory
    may_lack_digests = bool(info.boot_id) and info.boot_id == boot_id() and not trial.is_durable(info.number)
    try:
        verify_checkpoint(folder, trusted=may_lack_digests, deep=deep)
        read_metadata(str(folder))
    except StorageError as error:
        file = f"{trial.directory}/{info.directory}"
        return Problem(part="checkpoint", what=_without(folder, error), file=file, trial=trial.name)
    return None


def _without(path: Path, error: OSError) -> str:
    """Return what an error says of `path`, which is named beside it: "it", and what is below it by its name."""
    text = str(error).replace(f" at {path}:", ":")
    for whole in (f"The checkpoint {path} ", f"{path} "):
        if text.startswith(whole):
            return f"it {text.removeprefix(whole)}"
    return text.removeprefix(f"{path}/")


def _is_still_there(history: ExperimentHistory, trial: TrialHistory, info: CheckpointInfo) -> bool:
    """Return whether a checkpoint is still one: a living driver may have retired it since the journal was read."""
    history.refresh()
    return info.number in trial.checkpoints


def _tell(findings: Findings, *, quick: bool, verbose: bool) -> None:
    from perdure.cli.writing import Page
    from perdure.reporting.formats import nbytes_text, plural
    from perdure.reporting.frame import Span

    page = Page()
    page.line(Span(str(findings.path), "bold"))
    if findings.records is not None:
        page.line(f"journal: {plural(findings.records, 'record')} whole")
        page.line(f"pickles: {findings.pickles} whole")
        how = "sizes compared" if quick else "digests compared"
        page.line(f"checkpoints: {findings.checkpoints} whole, {nbytes_text(findings.nbytes)}, {how}")
    else:
        page.line(Span("journal: cannot be read to its end; checkpoints were not looked at", "red"))
    if verbose:
        for name, whole in findings.trials.items():
            page.line(f"  {name}: {plural(whole, 'checkpoint')} whole")
    for problem in findings.problems:
        _tell_problem(page, problem)
    serious = sum(problem.serious for problem in findings.problems)
    if serious:
        page.line(Span(f"{plural(serious, 'problem')} found", "bold red"))
        if any(problem.part == "journal" and problem.serious for problem in findings.problems):
            page.line(f"See what a repair would give up: perdure repair {findings.path}")
    else:
        page.line(Span("ok", "bold green"))


def _tell_problem(page: object, problem: Problem) -> None:
    from perdure.cli.writing import Page
    from perdure.reporting.frame import Span

    assert isinstance(page, Page)
    where = problem.file
    if problem.line is not None:
        where += f", line {problem.line}"
    if problem.offset is not None:
        where += f", byte {problem.offset}"
    whose = f"{problem.trial}: " if problem.trial else ""
    label = Span("problem: ", "red") if problem.serious else Span("note: ", "yellow")
    page.line(label, f"{problem.part} {where}: {whose}{problem.what}")
