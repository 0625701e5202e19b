"""`perdure resume EXPERIMENT`: go on with an experiment, with the trainable that is stored in it.

The one command that unpickles: it runs the experiment's own code. Use it on directories you trust.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from perdure.cli.requesting import add_experiment
from perdure.errors import ExperimentNotFoundError

if TYPE_CHECKING:
    from perdure.cli.reading import Experiment

FINISHED = 0
SOME_FAILED = 1
LEFT = 3


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_experiment(parser)
    errored = parser.add_mutually_exclusive_group()
    errored.add_argument("--resume-errored", action="store_true", help="run failed trials again, from their latest")
    errored.add_argument("--restart-errored", action="store_true", help="run failed trials again, from scratch")
    parser.add_argument(
        "--verbose", "-v", type=int, choices=(0, 1, 2, 3), help="how much to show (default 1)", metavar="LEVEL"
    )


def run(arguments: argparse.Namespace) -> int:
    """Go on, and show how it goes."""
    from perdure.assembly import run_session
    from perdure.cli.reading import open_experiment
    from perdure.config import ResumeConfig, ResumeType
    from perdure.definition import load

    experiment = open_experiment(arguments.experiment)
    state = experiment.history.state
    if not experiment.begun:
        raise ExperimentNotFoundError(
            f"The experiment at {experiment.path} has not begun: its journal holds no record, so nothing tells what it "
            "is to run. Nothing was changed. Run its script again."
        )
    sys.path.insert(0, os.getcwd())
    definition = load(experiment.path, state.pickles, None, state.trainable, imports=state.imports)
    level = 0 if arguments.json else 1 if arguments.verbose is None else arguments.verbose
    errored = ResumeType.RESTART if arguments.restart_errored else ResumeType.SKIP
    errored = ResumeType.RESUME if arguments.resume_errored else errored
    failures = definition.run_config.failure_config
    if failures.fail_fast == "raise":  # for a script to catch; here the exit code tells, and the display shows it
        failures = dataclasses.replace(failures, fail_fast=True)
    run_config = dataclasses.replace(definition.run_config, verbose=level, failure_config=failures)
    ended: SystemExit | None = None
    with _stdout_to_stderr() if arguments.json else contextlib.nullcontext():
        try:
            run_session(dataclasses.replace(definition, run_config=run_config), ResumeConfig(errored=errored))
        except SystemExit as after_sigterm:  # which leaves the experiment in good order: it is told of, too
            ended = after_sigterm
    experiment = open_experiment(experiment.path)
    if arguments.json:
        _write(experiment)
    if ended is not None:
        raise ended
    return _code(experiment)


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Have what trials print, in whatever process, not mix with the document."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _write(experiment: Experiment) -> None:
    from perdure.cli.documents import experiment_json
    from perdure.cli.writing import write_json

    write_json({"experiment": experiment_json(experiment)})


def _code(experiment: Experiment) -> int:
    if not experiment.history.state.finished:
        return LEFT
    return SOME_FAILED if experiment.counts["ERROR"] else FINISHED
