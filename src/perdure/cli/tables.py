"""Tables that several commands write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.cli.writing import column
from perdure.reporting.formats import duration, nbytes_text, value_text
from perdure.reporting.frame import Column
from perdure.reporting.snapshot import best_of, metric_of

if TYPE_CHECKING:
    from perdure.cli.reading import Experiment
    from perdure.cli.writing import Page
    from perdure.history import TrialHistory
    from perdure.reporting.snapshot import TrialLine

_METRICS = 3


def trial_table(page: Page, experiment: Experiment, lines: list[TrialLine]) -> None:
    """Write a table of trials, the best one in bold."""
    best = best_of(lines)
    highlighted = next((n for n, line in enumerate(lines) if best is not None and line.id == best.trial), None)
    trials = [experiment.history.trials[line.id] for line in lines]
    metric = experiment.history.metric
    statuses = Column(
        heading="status",
        cells=[experiment.status_word(line.status) for line in lines],
        styles=[experiment.status_style(line.status) for line in lines],
        worth=9,
    )
    columns = [
        column("trial", [line.name for line in lines]),
        statuses,
        column("iter", [str(line.iteration) if line.iteration else "" for line in lines], right=True, worth=8),
        column("time", [duration(line.time_s) if line.time_s else "" for line in lines], right=True, worth=7),
    ]
    for name in experiment.metric_names()[:_METRICS]:
        cells = ["" if (value := metric_of(line, name)) is None else value_text(value) for line in lines]
        columns.append(column(name, cells, right=True, worth=9 if name == metric else 3))
    parameters = {name: None for line in lines for name in line.searched}
    for name in parameters:
        cells = [value_text(line.searched[name]) if name in line.searched else "" for line in lines]
        columns.append(column(name, cells, style="dim", right=True, worth=5))
    kept = [str(len(trial.checkpoints)) if trial.checkpoints else "" for trial in trials]
    columns.append(column("checkpoints", kept, right=True, worth=4))
    page.table(columns, highlighted=highlighted)


def checkpoint_table(page: Page, experiment: Experiment, trial: TrialHistory) -> None:
    """Write a table of a trial's checkpoints."""
    infos = list(trial.checkpoints.values())
    core = experiment.history.state.trials[trial.id]
    latest = trial.latest_checkpoint
    marks = []
    for info in infos:
        words = ["latest"] if info is latest else []
        words += ["pinned"] if info.number in core.pinned else []
        words += ["not yet on the disk for certain"] if info.number in core.undurable else []
        marks.append(", ".join(words))
    columns = [
        column("checkpoint", [info.directory for info in infos]),
        column("iter", [str(info.iteration) for info in infos], right=True),
        column("size", [nbytes_text(info.nbytes) for info in infos], right=True),
    ]
    if any(info.score is not None for info in infos):
        scores = ["" if info.score is None else value_text(info.score) for info in infos]
        columns.append(column("score", scores, right=True))
    columns.append(column("", marks, style="dim"))
    page.table(columns)
