"""`perdure resume-trial EXPERIMENT TRIAL ...`: let trials go on that `perdure pause` has paused."""

from __future__ import annotations

import argparse

from perdure.cli.requesting import add_experiment, add_trials, ask_of, named_trials, tell_trials


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_experiment(parser)
    add_trials(parser)


def run(arguments: argparse.Namespace) -> int:
    """Resume."""
    from perdure.cli.reading import open_experiment
    from perdure.core.requests import ResumeTrials

    experiment = open_experiment(arguments.experiment)
    trials = named_trials(experiment, arguments.trials)
    ask_of(experiment, ResumeTrials(trials=tuple(trial.id for trial in trials)))
    tell_trials(arguments, experiment, trials, "resume")
    return 0
