"""`perdure best EXPERIMENT`: the best trial, its configuration, its metrics and its checkpoint."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.cli.reading import Experiment
    from perdure.history import TrialHistory


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    from perdure.scores import SCOPES

    parser.add_argument("experiment", help="the experiment's directory", metavar="EXPERIMENT")
    parser.add_argument("--metric", help="by this metric (default: TuneConfig's)", metavar="NAME")
    parser.add_argument("--mode", choices=["min", "max"], help="whether less or more is better (default: TuneConfig's)")
    parser.add_argument(
        "--scope", choices=SCOPES, default="last", help="which of a trial's values counts (default: last)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Show it."""
    from perdure.cli.reading import open_experiment
    from perdure.cli.writing import write_json
    from perdure.result_grid import ResultGrid

    experiment = open_experiment(arguments.experiment)
    grid = ResultGrid(experiment.history, path=experiment.path)
    metric, mode = grid.resolve(
        arguments.metric, arguments.mode, what="perdure best", options=("--metric NAME", "--mode min or --mode max")
    )
    best = grid.get_best_result(metric, mode, arguments.scope)
    trial = experiment.history.trials[best.trial_id]
    if arguments.json:
        write_json(_document(experiment, trial, metric, mode))
    else:
        _show(experiment, trial, metric)
    return experiment.code


def _document(experiment: Experiment, trial: TrialHistory, metric: str, mode: str) -> dict[str, object]:
    from perdure.cli.documents import checkpoint_json, trial_json

    latest = trial.latest_checkpoint
    return {
        "experiment": str(experiment.path),
        "metric": metric,
        "mode": mode,
        "trial": {**trial_json(experiment, trial), "config": trial.config},
        "checkpoint": None if latest is None else checkpoint_json(experiment, trial, latest),
    }


def _show(experiment: Experiment, trial: TrialHistory, metric: str) -> None:
    from perdure.cli.show import show_values
    from perdure.cli.writing import Page
    from perdure.reporting.formats import value_text
    from perdure.reporting.frame import Span
    from perdure.reporting.snapshot import metric_of

    page = Page()
    line = experiment.line(trial)
    status = Span(experiment.status_word(trial.status), experiment.status_style(trial.status))
    page.line(Span(trial.name, "bold"), Span(f"  {experiment.path / trial.directory}", "dim"))
    value = metric_of(line, metric)
    page.line(Span(f"{metric} {value_text(value)}", "bold green"), f" at iteration {line.iteration}, ", status)
    latest = trial.latest_checkpoint
    where = "none" if latest is None else str(experiment.path / trial.directory / latest.directory)
    page.line("checkpoint: ", where)
    page.line()
    show_values(page, "config", trial.config)
    show_values(page, "metrics", line.metrics)
