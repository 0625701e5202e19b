"""`perdure resume-trial EXPERIMENT TRIAL ...`: let trials go on that `perdure pause` has paused."""

from __future__ import annotations

import argparse

from perdure.cli.requesting import add_experiment, add_trials, ask_of_trials


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_experiment(parser)
    add_trials(parser)


def run(arguments: argparse.Namespace) -> int:
    """Resume."""
    from perdure.cli.reading import open_experiment
    from perdure.core.requests import ResumeTrials

    return ask_of_trials(arguments, open_experiment(arguments.experiment), ResumeTrials, "resume")
