"""`perdure ls PATH`: the experiments under a storage path, or the trials of one experiment."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli import listing

if TYPE_CHECKING:
    from perdure.cli.reading import Experiment
    from perdure.cli.writing import Page
    from perdure.core.events import Data


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "path",
        nargs="?",
        help="a storage path, or an experiment (default: $PERDURE_STORAGE_PATH, else ~/perdure_results)",
        metavar="PATH",
    )
    parser.add_argument("--status", type=str.upper, help="only trials of this status", metavar="STATUS")
    listing.configure(parser)


def run(arguments: argparse.Namespace) -> int:
    """List."""
    from perdure.cli.reading import find_experiments, is_experiment, locate, open_experiment

    path = locate(arguments.path)
    if is_experiment(path):
        experiment = open_experiment(path)
        _list_trials(experiment, arguments)
        return experiment.code
    found = find_experiments(path)
    return _list_experiments(path, found if listing.is_wanted(arguments) else found[: arguments.limit], arguments)


def _list_experiments(path: Path, found: list[Path], arguments: argparse.Namespace) -> int:
    from perdure.cli.documents import experiment_json
    from perdure.cli.reading import open_experiment
    from perdure.cli.writing import Page, write_json
    from perdure.errors import StorageError

    read: list[Experiment] = []
    unread: list[tuple[Path, str]] = []
    for directory in found:
        try:
            read.append(open_experiment(directory, salvage=False))
        except StorageError as error:
            unread.append((directory, str(error)))
    if listing.is_wanted(arguments):
        listing.run(path, [listing.experiment_row(each) for each in read], listing.EXPERIMENT_COLUMNS, arguments)
        for directory, what in unread:
            print(f"perdure: {directory.name} cannot be read: {what}", file=sys.stderr)
        return int(bool(unread))
    if arguments.json:
        broken: list[Data] = [{"path": str(directory), "error": what} for directory, what in unread]
        write_json({"path": str(path), "experiments": [experiment_json(each) for each in read], "unreadable": broken})
        return int(bool(unread))
    page = Page()
    if not found:
        page.line(f"No experiments in {path}.")
    _experiment_table(page, read)
    for directory, what in unread:
        page.line(f"{directory.name}: cannot be read: {what}")
    return int(bool(unread))


def _experiment_table(page: Page, experiments: list[Experiment]) -> None:
    from perdure.cli.writing import column, when
    from perdure.reporting.formats import number

    best = []
    for experiment in experiments:
        first = experiment.best()
        best.append("" if first is None else f"{experiment.history.metric} {number(first.value)}")
    counts = [experiment.counts for experiment in experiments]
    page.table(
        [
            column("experiment", [experiment.path.name for experiment in experiments]),
            column("condition", [experiment.condition_text for experiment in experiments]),
            column("trials", [experiment.trials_text for experiment in experiments], right=True),
            column("ended", [_number(count["TERMINATED"]) for count in counts], right=True, worth=5),
            column("errors", [_number(count["ERROR"]) for count in counts], right=True, worth=6),
            column("best", best, worth=7),
            column("last written", [when(experiment.history.updated_at) for experiment in experiments], worth=4),
        ]
    )


def _number(count: int) -> str:
    return str(count) if count else ""


def _list_trials(experiment: Experiment, arguments: argparse.Namespace) -> None:
    from perdure.cli.documents import trial_json
    from perdure.cli.tables import trial_table
    from perdure.cli.writing import Page, write_json
    from perdure.core.state import Status
    from perdure.errors import UserError

    wanted = arguments.status
    if wanted is not None and wanted not in Status.__members__:
        raise UserError(f"There is no status {wanted}; use one of {', '.join(Status.__members__)}.")
    trials = [trial for trial in experiment.history.trials.values() if wanted in (None, trial.status.value)]
    if listing.is_wanted(arguments):
        kept = {trial.id for trial in trials}
        rows = [row for row in listing.trial_rows(experiment) if row["trial_id"] in kept]
        listing.run(experiment.path, rows, listing.TRIAL_COLUMNS, arguments)
        return
    trials = trials[: arguments.limit]
    if arguments.json:
        write_json({"path": str(experiment.path), "trials": [trial_json(experiment, trial) for trial in trials]})
        return
    page = Page()
    if not trials:
        page.line(f"No {'such trials' if experiment.history.trials else 'trials yet'} in {experiment.path}.")
        return
    trial_table(page, experiment, [experiment.line(trial) for trial in trials])
