"""`perdure tail [-f] EXPERIMENT`: how an experiment stands, and what happens in it, from another terminal."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perdure.cli.reading import Experiment
    from perdure.core.events import AnyEvent
    from perdure.reporting.base import RunInfo
    from perdure.reporting.display import TallyDisplay

_LOOK_S = 0.25
"""Seconds between looks at the journal."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("experiment", help="the experiment's directory", metavar="EXPERIMENT")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until its driver ends, or Ctrl-C")
    parser.add_argument(
        "--verbose", "-v", action="count", default=1, help="also every trial that ends and every result; twice: in full"
    )


def run(arguments: argparse.Namespace) -> int:
    """Show."""
    from perdure.cli.reading import open_experiment

    experiment = open_experiment(arguments.experiment)
    if arguments.json:
        _tell_json(experiment, follow=arguments.follow)
        return experiment.code
    if not arguments.follow:
        _show_once(experiment)
        return experiment.code
    _follow(experiment, verbose=arguments.verbose)
    return experiment.code


def _show_once(experiment: Experiment) -> None:
    from perdure.cli.writing import Page
    from perdure.reporting.base import TableOptions
    from perdure.reporting.frame import build
    from perdure.reporting.tally import Tally

    history = experiment.history
    tally = Tally(metric=history.metric, mode=history.mode, total=experiment.total)
    tally.fold(_earlier(experiment))
    info = _info(experiment)
    page = Page()
    width = min(page.width, 10_000)
    snapshot = tally.snapshot(over=not experiment.alive)
    frame = build(snapshot, info, TableOptions(), elapsed_s=info.began_s_ago, width=width)
    for line in frame.header:
        page.line(*line)
    page.line()
    page.table(frame.grid.columns, highlighted=frame.grid.highlighted)
    for line in frame.footer:
        page.line(*line)


def _follow(experiment: Experiment, *, verbose: int) -> None:
    """Show what happens in an experiment until its driver ends."""
    display = _display(verbose)
    display.start(_info(experiment), _earlier(experiment), experiment.history.state)
    try:
        for events in _new(experiment):
            display.observe(events)
            display.tick(time.monotonic())
    except BaseException:
        display.leave()
        raise
    display.close("" if experiment.history.state.finished else "its driver ended")


def _display(verbose: int) -> TallyDisplay:
    from perdure.reporting.choose import is_terminal

    if is_terminal(sys.stdout):
        from perdure.reporting.live import LiveDisplay

        return LiveDisplay(verbose=verbose, threaded=False)
    from perdure.reporting.plain import PlainDisplay

    return PlainDisplay(verbose=verbose, threaded=False)


def _new(experiment: Experiment) -> Iterator[Sequence[AnyEvent]]:
    """Yield what is journaled from here on, four times a second, until no driver is alive to write more."""
    from perdure.journal.claim import read_claim
    from perdure.journal.file import FileJournalReader

    reader, history = FileJournalReader(experiment.path), experiment.history
    while True:
        claim = read_claim(experiment.path)  # looked at first: what a driver wrote before it ended is read below
        batch = []
        for position, event in reader.read(history.position):
            history.fold(position, event)
            batch.append(event)
        yield batch
        if claim is None or not claim.alive:
            return
        time.sleep(_LOOK_S)


def _earlier(experiment: Experiment) -> Iterator[AnyEvent]:
    """Yield what had been journaled when the experiment was opened."""
    from perdure.journal.file import FileJournalReader

    for records in FileJournalReader(experiment.path).reread(experiment.history.position):
        for record in records:
            yield record.d


def _info(experiment: Experiment) -> RunInfo:
    from perdure.reporting.base import RunInfo

    history, claim = experiment.history, experiment.claim
    state = history.state
    running_s = max(time.time() - claim.started_at, 0.0) if claim is not None and claim.alive else state.ran_s
    return RunInfo(
        name=history.name,
        path=str(experiment.path),
        metric=history.metric,
        mode=history.mode,
        total=experiment.total,
        time_budget_s=state.spec.time_budget_s,
        ran_before_s=state.ran_before_s,
        capacity=dict(state.capacity),
        how_to_resume=experiment.how_to_resume,
        how_to_retry=experiment.how_to_retry,
        began_s_ago=running_s,
    )


def _tell_json(experiment: Experiment, *, follow: bool) -> None:
    """Write a line for what is so, and then one for each thing that happens."""
    from perdure.cli.documents import experiment_json
    from perdure.cli.writing import write_line
    from perdure.core.events import AttemptEnded, Noticed, Reported

    write_line(json.dumps(experiment_json(experiment)))
    if not follow:
        return
    for events in _new(experiment):
        for event in events:
            match event:
                case Reported():
                    trial = experiment.history.trials[event.trial]
                    told = {
                        "event": "reported",
                        "trial": event.trial,
                        "name": trial.name,
                        "iteration": event.iteration,
                        "time_total_s": event.time_total_s,
                        "metrics": event.metrics,
                    }
                case AttemptEnded():
                    trial = experiment.history.trials[event.trial]
                    told = {
                        "event": "attempt_ended",
                        "trial": event.trial,
                        "name": trial.name,
                        "outcome": event.outcome.value,
                        "status": trial.status.value,
                        "error": None if event.error is None else event.error.message,
                    }
                case Noticed():
                    told = {"event": "noticed", "trial": event.trial, "text": event.text}
                case _:
                    continue
            write_line(json.dumps({"at": event.at, **told}))
