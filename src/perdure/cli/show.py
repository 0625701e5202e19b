"""`perdure show EXPERIMENT [TRIAL]`: everything there is to know about an experiment, or about one trial."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.cli.reading import Experiment
    from perdure.cli.writing import Page
    from perdure.history import AttemptHistory, TrialHistory

_ROWS = 30


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("experiment", help="the experiment's directory", metavar="EXPERIMENT")
    parser.add_argument(
        "trial",
        nargs="?",
        help="a trial's number, id, name, directory, or the beginning of its id",
        metavar="TRIAL",
    )
    parser.add_argument(
        "--lineage", action="store_true", help="show from which checkpoints trials went on, with which configurations"
    )
    parser.add_argument("--all", action="store_true", help="list every trial, however many there are")


def run(arguments: argparse.Namespace) -> int:
    """Show."""
    from perdure.cli.reading import find_trial, open_experiment
    from perdure.cli.writing import Page, write_json

    experiment = open_experiment(arguments.experiment)
    if arguments.lineage:
        everyone = list(experiment.history.trials.values())
        trials = everyone if arguments.trial is None else [find_trial(experiment, arguments.trial)]
        if arguments.json:
            write_json({"experiment": str(experiment.path), "lineage": [_lineage_document(trial) for trial in trials]})
        else:
            _show_lineage(Page(), experiment, trials)
    elif arguments.trial is not None:
        trial = find_trial(experiment, arguments.trial)
        if arguments.json:
            write_json(_trial_document(experiment, trial))
        else:
            _show_trial(Page(), experiment, trial)
    elif arguments.json:
        write_json(_experiment_document(experiment))
    else:
        _show_experiment(Page(), experiment, everything=arguments.all)
    return experiment.code


# --- an experiment --------------------------------------------------------------------------------------------------


def _experiment_document(experiment: Experiment) -> dict[str, object]:
    from perdure.cli.documents import experiment_json, trial_json

    history = experiment.history
    changes = [
        {
            "at": event.at,
            "changes": [{"what": one.what, "before": one.before, "after": one.after} for one in event.changes],
        }
        for event in history.changes
    ]
    trials = [trial_json(experiment, trial) for trial in history.trials.values()]
    about = {**experiment_json(experiment), "definition": history.state.definition, "changes": changes}
    return {"experiment": about, "trials": trials}


def _show_experiment(page: Page, experiment: Experiment, *, everything: bool) -> None:
    from perdure.reporting.frame import Span

    history = experiment.history
    page.line(Span(history.name or experiment.path.name, "bold"), Span(f"  {experiment.path}", "dim"))
    _show_condition(page, experiment)
    _show_changes(page, experiment)
    _show_best(page, experiment)
    _show_trials(page, experiment, everything=everything)
    _show_checkpoints(page, experiment)
    _show_errors(page, experiment)
    _show_what_to_do(page, experiment)


def _show_what_to_do(page: Page, experiment: Experiment) -> None:
    from perdure.reporting.frame import Span

    failed = experiment.counts["ERROR"] > 0 and not experiment.alive
    stillborn = not (experiment.begun or experiment.alive)
    if experiment.resumable or failed or stillborn:
        page.line()
    if stillborn:
        page.line("Its driver was stopped before it began: run its script again.")
    if experiment.resumable:
        page.line("To go on with it: ", Span(experiment.how_to_resume, "bold"))
    if failed:
        too = ", too" if experiment.resumable else ""
        page.line(f"To run the failed ones again{too}: ", Span(experiment.how_to_retry, "bold"))


def _show_condition(page: Page, experiment: Experiment) -> None:
    from perdure.cli.writing import when
    from perdure.core.state import Status
    from perdure.reporting.formats import duration, plural
    from perdure.reporting.frame import Span

    history, claim = experiment.history, experiment.claim
    trials = "trial" if experiment.trials_text == "1" else "trials"
    words: list[Span | str] = [Span(experiment.condition_text, "bold"), f", {experiment.trials_text} {trials}"]
    separator = ": "
    for status in Status:
        count = history.state.counts.get(status.value, 0)
        if count:
            words += [separator, Span(f"{count} {experiment.status_word(status)}", experiment.status_style(status))]
            separator = ", "
    page.line(*words)
    if claim is not None and claim.alive:
        page.line(f"driver alive on {claim.host}, pid {claim.pid}, since {when(claim.started_at)}")
    elif claim is not None:
        how = "given back" if claim.released else "died"
        page.line(f"no driver alive (the last one, pid {claim.pid} on {claim.host}, {how})")
    else:
        page.line("no driver alive")
    ran_s = history.state.ran_before_s + history.state.ran_s
    ran = f"ran {duration(ran_s)} in " if ran_s else ""  # a short session that was killed left no mark of its time
    page.line(
        f"created {when(experiment.created_at)}, last written {when(history.updated_at)}, "
        f"{ran}{plural(history.state.epoch, 'session')}, trainable {history.state.trainable}"
    )


def _show_changes(page: Page, experiment: Experiment) -> None:
    """Write a line for each time that the experiment was asked for something else than before."""
    from perdure.changes import listed
    from perdure.cli.writing import when

    for event in experiment.history.changes:
        page.line(f"changed {when(event.at)}: {listed(event.changes)}")


def _show_best(page: Page, experiment: Experiment) -> None:
    from perdure.reporting.formats import number
    from perdure.reporting.frame import Span, searched_text

    best = experiment.best()
    if best is None:
        return
    page.line(
        "best ",
        Span(f"{experiment.history.metric} {number(best.value)}", "bold green"),
        f": {best.name} at iteration {best.iteration}",
        Span(f" ({searched_text(best.searched)})" if best.searched else "", "dim"),
    )
    trial = experiment.history.trials[best.trial]
    if trial.latest_checkpoint is not None:
        page.line(f"its latest checkpoint: {experiment.path / trial.directory / trial.latest_checkpoint.directory}")


def _show_trials(page: Page, experiment: Experiment, *, everything: bool) -> None:
    from perdure.cli.tables import trial_table
    from perdure.reporting.frame import Span

    lines = experiment.lines()
    if not lines:
        return
    page.line()
    shown = lines
    if not everything and len(lines) > _ROWS:
        active = [line for line in lines if not line.status.finished]
        ended = [line for line in lines if line.status.finished]
        ended.sort(key=lambda line: (line.score is None, -(line.score or 0.0), line.number))
        shown = sorted((active + ended)[:_ROWS], key=lambda line: line.number)
    trial_table(page, experiment, shown)
    if len(shown) < len(lines):
        page.line(Span(f"... {len(lines) - len(shown)} more trials; --all lists them", "dim"))


def _show_checkpoints(page: Page, experiment: Experiment) -> None:
    from perdure.reporting.formats import nbytes_text, plural

    infos = [info for trial in experiment.history.trials.values() for info in trial.checkpoints.values()]
    if infos:
        page.line()
        total = sum(info.nbytes for info in infos)
        count = sum(bool(trial.checkpoints) for trial in experiment.history.trials.values())
        page.line(f"{plural(len(infos), 'checkpoint')} of {plural(count, 'trial')}, {nbytes_text(total)} in all")


def _show_errors(page: Page, experiment: Experiment) -> None:
    """Write each distinct failure once, the user's traceback first."""
    from perdure.core.events import ErrorInfo
    from perdure.core.state import Status
    from perdure.reporting.frame import Span, exception_line
    from perdure.reporting.snapshot import failure_key

    groups: dict[object, tuple[ErrorInfo, list[TrialHistory]]] = {}
    for trial in experiment.history.trials.values():
        if trial.status is Status.ERROR and trial.error is not None:
            groups.setdefault(failure_key(trial.error), (trial.error, []))[1].append(trial)
    for error, trials in groups.values():
        page.line()
        if error.traceback:
            _show_traceback(page, error.traceback)
        else:
            page.line(Span(exception_line(error.kind, error.message), "red"))
        more = f" and {len(trials) - 1} more the same way" if len(trials) > 1 else ""
        page.line(f"  failed {trials[0].name}{more} ({experiment.path / trials[0].directory / 'error.txt'})")


def _show_traceback(page: Page, traceback: str) -> None:
    from perdure.reporting.formats import one_line
    from perdure.reporting.frame import Span

    for text in traceback.rstrip().splitlines():
        page.line(Span(one_line(text), "" if text.startswith((" ", "Traceback")) else "red"))


# --- lineage --------------------------------------------------------------------------------------------------------


def _lineage_document(trial: TrialHistory) -> dict[str, object]:
    return {"trial": trial.id, "name": trial.name, "steps": [step._asdict() for step in trial.lineage()]}


def _show_lineage(page: Page, experiment: Experiment, trials: list[TrialHistory]) -> None:
    """Write a line for each stretch of each trial: what it began with, and what was new in its configuration."""
    from perdure.cli.writing import column

    names: list[str] = []
    starts: list[str] = []
    iterations: list[str] = []
    changes: list[str] = []
    for trial in trials:
        before: dict[str, object] = {}
        for step in trial.lineage():
            names.append(trial.name if not before else "")
            donor = None if step.donor is None else experiment.history.trials[step.donor]
            starts.append(
                f"checkpoint {step.checkpoint} of {donor.name}" if donor else "scratch" if not before else "its own"
            )
            iterations.append(str(step.iteration))
            changes.append(_changed(before, step.config, trial))
            before = step.config
    if not names:
        page.line("no trial has begun")
        return
    page.table(
        [
            column("trial", names),
            column("from", starts),
            column("iter", iterations, right=True),
            column("configuration", changes),
        ]
    )


def _changed(before: dict[str, object], config: dict[str, object], trial: TrialHistory) -> str:
    """Return what is new in a configuration; of a trial's first one, what was searched."""
    from perdure.reporting.frame import searched_text
    from perdure.rows import flatten

    old, new = flatten(_untagged(before)), flatten(_untagged(config))
    if not before:
        return searched_text({name: value for name, value in new.items() if name in trial.searched})
    return searched_text({name: value for name, value in new.items() if name not in old or old[name] != value})


# --- a trial --------------------------------------------------------------------------------------------------------


def _trial_document(experiment: Experiment, trial: TrialHistory) -> dict[str, object]:
    from perdure.cli.documents import checkpoint_json, trial_json

    return {
        "experiment": str(experiment.path),
        "trial": {
            **trial_json(experiment, trial),
            "config": trial.config,
            "resources": trial.resources,
            "rows": trial.row_count,
            "rows_superseded": trial.rows_superseded,
            "attempts": [_attempt_document(attempt) for attempt in trial.attempts],
            "checkpoints": [checkpoint_json(experiment, trial, info) for info in trial.checkpoints.values()],
        },
    }


def _attempt_document(attempt: AttemptHistory) -> dict[str, object]:
    from perdure.cli.documents import error_json

    start = attempt.start
    return {
        "number": attempt.number,
        "segment": attempt.segment,
        "from": None if start is None else {"trial": start.trial, "checkpoint": start.number},
        "host": attempt.host,
        "pid": attempt.pid,
        "started_at": attempt.started_at,
        "ended_at": attempt.ended_at,
        "outcome": None if attempt.outcome is None else attempt.outcome.value,
        "error": error_json(attempt.error),
    }


def _show_trial(page: Page, experiment: Experiment, trial: TrialHistory) -> None:
    from perdure.cli.tables import checkpoint_table
    from perdure.reporting.formats import duration, plural, value_text
    from perdure.reporting.frame import Span

    line = experiment.line(trial)
    status = Span(experiment.status_word(trial.status), experiment.status_style(trial.status))
    page.line(Span(trial.name, "bold"), Span(f"  {experiment.path / trial.directory}", "dim"))
    superseded = f", {trial.rows_superseded} rolled back" if trial.rows_superseded else ""
    page.line(
        status,
        f" at iteration {line.iteration} after {duration(line.time_s)}, {plural(trial.row_count, 'row')}{superseded}",
    )
    page.line()
    show_values(page, "config", trial.config)
    show_values(page, "last result", line.metrics)
    if trial.checkpoints:
        checkpoint_table(page, experiment, trial)
        page.line()
    _show_attempts(page, trial)
    if trial.error is not None:
        page.line()
        if trial.error.traceback:
            _show_traceback(page, trial.error.traceback)
        else:
            page.line(Span(value_text(f"{trial.error.kind}: {trial.error.message}"), "red"))


def show_values(page: Page, title: str, values: dict[str, object]) -> None:
    """Write a mapping under its title, a line for each leaf."""
    from perdure.reporting.formats import value_text
    from perdure.reporting.frame import Span
    from perdure.rows import flatten

    if not values:
        return
    flat = flatten(_untagged(values))
    width = max(len(name) for name in flat) if flat else 0
    page.line(Span(title, "bold"))
    for name, value in flat.items():
        page.line(f"  {name.ljust(width)}  {value_text(value)}")
    page.line()


def _untagged(values: dict[str, object]) -> dict[str, object]:
    """Return values with tagged ones as the text they stand for, so that flattening leaves them whole."""
    from perdure.reporting.formats import value_text

    shown: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            tagged = len(value) == 1 and next(iter(value)).startswith("$")
            shown[name] = value_text(value) if tagged else _untagged(value)
        else:
            shown[name] = value
    return shown


def _show_attempts(page: Page, trial: TrialHistory) -> None:
    from perdure.cli.writing import column, when
    from perdure.reporting.frame import exception_line

    attempts = trial.attempts
    if not attempts:
        return
    starts = []
    for attempt in attempts:
        start = attempt.start
        donor = f" of {start.trial}" if start is not None and start.trial != trial.id else ""
        starts.append("scratch" if start is None else f"checkpoint {start.number}{donor}")
    errors = [attempt.error for attempt in attempts]
    page.table(
        [
            column("attempt", [str(attempt.number) for attempt in attempts], right=True),
            column("from", starts),
            column("outcome", ["" if attempt.outcome is None else attempt.outcome.value for attempt in attempts]),
            column("started", [when(attempt.started_at) for attempt in attempts], worth=4),
            column("ended", [when(attempt.ended_at) for attempt in attempts], worth=3),
            column("process", [f"{attempt.pid} on {attempt.host}" for attempt in attempts], worth=2),
            column(
                "error",
                ["" if error is None else exception_line(error.kind, error.message) for error in errors],
                worth=5,
            ),
        ]
    )
