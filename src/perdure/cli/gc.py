"""`perdure gc EXPERIMENT [TRIAL ...]`: which checkpoints nobody needs; with --apply they are removed."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, NamedTuple

from perdure.cli.requesting import add_experiment, add_trials, ask_of, named_trials

if TYPE_CHECKING:
    from perdure.cli.reading import Experiment
    from perdure.core.events import CheckpointInfo, Data, Source
    from perdure.core.retention import Policy
    from perdure.history import TrialHistory


class Needless(NamedTuple):
    """One checkpoint that would go."""

    trial: TrialHistory
    info: CheckpointInfo


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_experiment(parser)
    add_trials(parser, many="*")
    parser.add_argument("--keep-best", type=_count, help="keep the best N of each trial", metavar="N")
    parser.add_argument("--keep-latest", type=_count, help="keep the newest N of each trial", metavar="N")
    parser.add_argument("--apply", action="store_true", help="remove them; without it they are only listed")


def run(arguments: argparse.Namespace) -> int:
    """Say what would be removed and, with --apply, remove it."""
    from perdure.cli.reading import open_experiment
    from perdure.errors import UserError

    if arguments.keep_best is None and arguments.keep_latest is None:
        raise UserError("perdure gc: say what to keep of each trial, with --keep-best N, --keep-latest N, or both.")
    experiment = open_experiment(arguments.experiment)
    trials = named_trials(experiment, arguments.trials) or list(experiment.history.trials.values())
    found = _needless(experiment, trials, arguments)
    removed = _remove(experiment, found) if arguments.apply and found else set()
    _tell(arguments, experiment, found, removed)
    return experiment.code


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def _needless(experiment: Experiment, trials: list[TrialHistory], arguments: argparse.Namespace) -> list[Needless]:
    from perdure.core.retention import AnyOf, BestN, LatestN, collectable
    from perdure.core.state import in_use_of

    order = _order(experiment) if arguments.keep_best is not None else ""
    policies: list[Policy] = []
    if arguments.keep_best is not None:
        policies.append(BestN(arguments.keep_best, order))
    if arguments.keep_latest is not None:
        policies.append(LatestN(arguments.keep_latest))
    policy, state = AnyOf(tuple(policies)), experiment.history.state
    found: list[Needless] = []
    for trial in trials:
        infos = list(trial.checkpoints.values())
        gone = collectable(
            policy,
            [_scored(experiment, trial, info) for info in infos] if order else infos,
            durable={info.number for info in infos if trial.is_durable(info.number)},
            in_use=in_use_of(state, state.trials[trial.id]),
            finished=trial.status.finished,
        )
        found += [Needless(trial, trial.checkpoints[number]) for number in gone]
    return found


def _order(experiment: Experiment) -> str:
    """Return whether a larger or a smaller score is the better one."""
    from perdure.errors import UserError

    spec = experiment.history.state.spec
    if spec.score_attribute is not None:
        return spec.score_order
    if spec.metric is None or spec.mode is None:
        raise UserError(
            f"perdure gc --keep-best: {experiment.path} has neither checkpoint_score_attribute nor a metric to tell "
            "better from worse. Use --keep-latest."
        )
    return spec.mode


def _scored(experiment: Experiment, trial: TrialHistory, info: CheckpointInfo) -> CheckpointInfo:
    """Return `info` with a score: the experiment's own, or the metric in the row that the checkpoint belongs to."""
    import msgspec

    from perdure.scores import number_at

    spec = experiment.history.state.spec
    if spec.score_attribute is not None or spec.metric is None:
        return info
    row = trial.row(info.segment, info.iteration)
    return msgspec.structs.replace(info, score=None if row is None else number_at(row.metrics, spec.metric))


def _remove(experiment: Experiment, found: list[Needless]) -> set[Source]:
    """Have them removed; return those that nobody turned out to need after all."""
    from perdure.core.events import CheckpointsRetired
    from perdure.core.requests import Collect

    event = ask_of(experiment, Collect(items=tuple(_source(each) for each in found)))
    assert isinstance(event, CheckpointsRetired)
    return set(event.items)


def _source(each: Needless) -> Source:
    from perdure.core.events import Source

    return Source(trial=each.trial.id, number=each.info.number)


def _tell(arguments: argparse.Namespace, experiment: Experiment, found: list[Needless], removed: set[Source]) -> None:
    from perdure.cli.writing import Page, column, write_json
    from perdure.reporting.formats import nbytes_text, plural

    shown = [each for each in found if not arguments.apply or _source(each) in removed]
    nbytes = sum(each.info.nbytes for each in shown)
    if arguments.json:
        write_json(
            {
                "path": str(experiment.path),
                "applied": arguments.apply,
                "nbytes": nbytes,
                "checkpoints": [_json(experiment, each) for each in shown],
            }
        )
        return
    page = Page()
    if shown:
        page.table(
            [
                column("trial", [each.trial.name for each in shown]),
                column("checkpoint", [each.info.directory for each in shown]),
                column("iteration", [str(each.info.iteration) for each in shown], right=True, worth=5),
                column("size", [nbytes_text(each.info.nbytes) for each in shown], right=True),
            ]
        )
    what = f"{plural(len(shown), 'checkpoint')}, {nbytes_text(nbytes)}"
    if not arguments.apply:
        page.line(f"{what} would be removed.{' Nothing was; to remove them: --apply' if shown else ''}")
        return
    page.line(f"{what}: {'its driver removes them now' if experiment.alive else 'removed'}.")
    if len(shown) < len(found):
        page.line(f"{plural(len(found) - len(shown), 'checkpoint')} came into use meanwhile and stayed.")


def _json(experiment: Experiment, each: Needless) -> Data:
    return {
        "trial": each.trial.id,
        "name": each.trial.name,
        "number": each.info.number,
        "path": str(experiment.path / each.trial.directory / each.info.directory),
        "iteration": each.info.iteration,
        "nbytes": each.info.nbytes,
    }
