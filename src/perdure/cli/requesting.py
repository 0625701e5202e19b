"""Requests as commands make them: trials and checkpoints are named, the request is made, what came of it is told."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.cli.reading import Experiment
    from perdure.core.events import AnyEvent, Data
    from perdure.core.requests import AnyRequest
    from perdure.history import TrialHistory


def add_experiment(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names the experiment."""
    parser.add_argument("experiment", help="the experiment's directory", metavar="EXPERIMENT")


def add_trials(parser: argparse.ArgumentParser, *, many: str = "+") -> None:
    """Add the argument that names trials; `many` is argparse's `nargs`."""
    parser.add_argument(
        "trials",
        nargs=many,
        help="a trial's number, id, name, directory, or the beginning of its id",
        metavar="TRIAL",
    )


def named_trials(experiment: Experiment, names: list[str]) -> list[TrialHistory]:
    """Return the trials that the command line names, each once.

    Raises:
        UserError: a name is nobody's, or that of several.
    """
    from perdure.cli.reading import find_trial

    return list({trial.id: trial for trial in (find_trial(experiment, name) for name in names)}.values())


def ask_of(experiment: Experiment, request: AnyRequest) -> AnyEvent:
    """Make the request, wait until it is met, and read what has been written since.

    Raises:
        RequestRefusedError: it cannot be met.
        DriverSilentError: the driver has not answered; the request stays.
    """
    from perdure.control.asking import ask

    event = ask(experiment.path, request)
    assert event is not None  # only a driver's own process is told without a record
    experiment.history.refresh()
    return event


def ask_of_trials(
    arguments: argparse.Namespace, experiment: Experiment, kind: Callable[..., AnyRequest], asked: str
) -> int:
    """Make a request of the trials that the command line names, say what has become of them, and return the exit code.

    Args:
        arguments: With `trials`, see `add_trials`.
        experiment: Theirs.
        kind: The request, which takes their ids as `trials`.
        asked: What was asked, in a word.

    Raises:
        UserError, RequestRefusedError, DriverSilentError: see `named_trials` and `ask_of`.
    """
    trials = named_trials(experiment, arguments.trials)
    ask_of(experiment, kind(trials=tuple(trial.id for trial in trials)))
    tell_trials(arguments, experiment, trials, asked)
    return 0


def tell_trials(arguments: argparse.Namespace, experiment: Experiment, trials: list[TrialHistory], asked: str) -> None:
    """Say what has become of trials for which something was asked."""
    from perdure.cli.writing import Page, write_json

    if arguments.json:
        write_json({"path": str(experiment.path), "asked": asked, "trials": [_json(trial) for trial in trials]})
        return
    page = Page()
    for trial in trials:
        page.line(f"{trial.name}: {_becomes(trial)}")


def _json(trial: TrialHistory) -> Data:
    return {"trial": trial.id, "name": trial.name, "status": trial.status.value, "held": trial.held}


def _becomes(trial: TrialHistory) -> str:
    from perdure.core.events import Decision
    from perdure.core.state import Status

    if trial.status is Status.RUNNING and trial.decision is Decision.STOP:
        return "RUNNING, and ends at its next report"
    if trial.status is Status.RUNNING and trial.held:
        return "RUNNING, and pauses at its next report"
    return f"{trial.status.value}, until it is told to resume" if trial.held else str(trial.status.value)
