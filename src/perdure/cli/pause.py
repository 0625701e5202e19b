"""`perdure pause EXPERIMENT TRIAL ...`: have trials give their resources back, until `perdure resume-trial`."""

from __future__ import annotations

import argparse

from perdure.cli.requesting import add_experiment, add_trials, ask_of_trials


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_experiment(parser)
    add_trials(parser)


def run(arguments: argparse.Namespace) -> int:
    """Pause."""
    from perdure.cli.reading import open_experiment
    from perdure.core.requests import PauseTrials

    return ask_of_trials(arguments, open_experiment(arguments.experiment), PauseTrials, "pause")
