"""`perdure stop EXPERIMENT [TRIAL ...]`: end trials, or a whole session in good order."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from perdure.cli.requesting import add_experiment, add_trials, ask_of, ask_of_trials

if TYPE_CHECKING:
    from perdure.cli.reading import Experiment


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_experiment(parser)
    add_trials(parser, many="*")


def run(arguments: argparse.Namespace) -> int:
    """Stop."""
    from perdure.cli.reading import open_experiment
    from perdure.core.requests import StopTrials

    experiment = open_experiment(arguments.experiment)
    if not arguments.trials:
        return _stop_all(experiment, arguments)
    return ask_of_trials(arguments, experiment, StopTrials, "stop")


def _stop_all(experiment: Experiment, arguments: argparse.Namespace) -> int:
    from perdure.cli.writing import Page, write_json
    from perdure.core.requests import StopExperiment

    driven = experiment.alive
    if driven:
        ask_of(experiment, StopExperiment(epoch=experiment.history.state.epoch))
    if arguments.json:
        write_json({"path": str(experiment.path), "asked": "stop", "driven": driven})
        return 0
    page = Page()
    if driven:
        page.line("The driver was told to stop: it ends once its trials have made their next report.")
        page.line(f"To go on with it then: perdure resume {experiment.path}")
    else:
        page.line(f"Nothing runs: the experiment is {experiment.condition}.")
    return 0
