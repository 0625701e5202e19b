"""`perdure pause EXPERIMENT TRIAL ...`: have trials give their resources back, until `perdure resume-trial`."""

from __future__ import annotations

import argparse

from perdure.cli.requesting import add_experiment, add_trials, ask_of, named_trials, tell_trials


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_experiment(parser)
    add_trials(parser)


def run(arguments: argparse.Namespace) -> int:
    """Pause."""
    from perdure.cli.reading import open_experiment
    from perdure.core.requests import PauseTrials

    experiment = open_experiment(arguments.experiment)
    trials = named_trials(experiment, arguments.trials)
    ask_of(experiment, PauseTrials(trials=tuple(trial.id for trial in trials)))
    tell_trials(arguments, experiment, trials, "pause")
    return 0
