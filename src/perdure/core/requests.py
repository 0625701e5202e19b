"""What people and other processes may ask of an experiment, and `answer`: the event that meets or refuses it.

Requests are data. They reach a driver as files (`perdure.control`), or from a trial through its worker's messages, and
are answered by what is true when the driver takes them up, not when they were made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Annotated, Union

import msgspec

from perdure.core import retention
from perdure.core.events import (
    Action,
    AnyEvent,
    CheckpointPinned,
    CheckpointsRetired,
    Decision,
    RequestRefused,
    Source,
    StopRequested,
    TrialActed,
)
from perdure.core.state import State, Status, Trial, in_use_of, key

REASON = "request"
"""The reason of a stop that somebody asked for."""


Trials = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
"""Ids of trials."""


class Request(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", forbid_unknown_fields=True
):
    """Base of all requests."""


class StopExperiment(Request, frozen=True, kw_only=True, tag="stop_experiment"):
    """End this session in good order; a restore goes on."""

    epoch: int
    """Of the driver that is to stop: the next one was started to go on."""


class StopTrials(Request, frozen=True, kw_only=True, tag="stop"):
    """These trials are to end, TERMINATED."""

    trials: Trials


class PauseTrials(Request, frozen=True, kw_only=True, tag="pause"):
    """These trials are to give their resources back, and to stay paused until `ResumeTrials`."""

    trials: Trials


class ResumeTrials(Request, frozen=True, kw_only=True, tag="resume"):
    """These trials, which somebody paused, may go on."""

    trials: Trials


class Pin(Request, frozen=True, kw_only=True, tag="pin"):
    """Keep this checkpoint whatever the policy says; or no longer."""

    trial: str
    number: int | None = None
    """None is the newest one that is there when the request is taken up."""
    pinned: bool = True


class Collect(Request, frozen=True, kw_only=True, tag="collect"):
    """Remove those of these checkpoints that nothing needs."""

    items: tuple[Source, ...]


AnyRequest = Union[StopExperiment, StopTrials, PauseTrials, ResumeTrials, Pin, Collect]
"""The closed set of requests."""


def answer(state: State, request: AnyRequest, *, name: str = "", at: float, saves: bool) -> AnyEvent:
    """Return the one event that does what the request called `name` asks, or refuses all of it.

    `saves`: the trainable saves when it is told to, so a trial may be paused before it has saved anything.
    """
    match request:
        case StopExperiment():
            refused = "" if request.epoch == state.epoch else "the driver that was to stop has ended."
            done: AnyEvent = StopRequested(at=at, reason=REASON, resumable=True, request=name)
        case StopTrials():
            refused = _first(_why_not_stopped(state, trial) for trial in request.trials)
            done = _acted(request.trials, name, at, Decision.STOP)
        case PauseTrials():
            refused = _first(_why_not_paused(state, trial, saves) for trial in request.trials)
            done = _acted(request.trials, name, at, Decision.PAUSE, hold=True)
        case ResumeTrials():
            refused = _first(_why_not_resumed(state, trial) for trial in request.trials)
            skipped = [
                trial.id for trial in map(state.trials.get, request.trials) if trial is not None and trial.skipped
            ]
            done = _acted(request.trials, name, at, Decision.CONTINUE, hold=False, resumed=skipped)
        case Pin():
            item = _meant(state, request)
            refused = _why_not_pinned(state, item, request.pinned)
            done = CheckpointPinned(at=at, item=item, pinned=request.pinned, request=name)
        case Collect():
            refused = _first(_unknown(state, item.trial) for item in request.items)
            needless = () if refused else tuple(item for item in request.items if _may_go(state, item))
            done = CheckpointsRetired(at=at, items=needless, request=name)
    return RequestRefused(at=at, request=name, reason=refused) if refused else done


def _first(reasons: Iterable[str]) -> str:
    return next(filter(None, reasons), "")


def _acted(
    trials: Trials,
    request: str,
    at: float,
    decision: Decision,
    *,
    hold: bool | None = None,
    resumed: Collection[str] = (),
) -> AnyEvent:
    actions = [Action(trial=trial, decision=decision, hold=hold, resume=trial in resumed) for trial in trials]
    return TrialActed(at=at, action=actions[0], more=tuple(actions[1:]), request=request)


def _unknown(state: State, trial: str) -> str:
    return "" if trial in state.trials else f"there is no trial {trial}."


def _why_not_stopped(state: State, trial_id: str) -> str:
    if unknown := _unknown(state, trial_id):
        return unknown
    trial = state.trials[trial_id]
    return f"trial {trial.name} is {trial.status.value} already." if trial.status.finished else ""


def _why_not_paused(state: State, trial_id: str, saves: bool) -> str:
    if reason := _why_not_stopped(state, trial_id):
        return reason
    trial = state.trials[trial_id]
    if trial.decision is Decision.STOP:
        return f"trial {trial.name} is being stopped."
    if trial.live is not None and trial.latest is None and not saves:
        return (
            f"trial {trial.name} has not saved a checkpoint yet and cannot be told to, so all it has done would be "
            "lost. Ask again once it has saved one, or stop it."
        )
    return ""


def _why_not_resumed(state: State, trial_id: str) -> str:
    if unknown := _unknown(state, trial_id):
        return unknown
    trial = state.trials[trial_id]
    if trial.set_aside:
        return ""
    if trial.status is Status.PAUSED:
        return f"trial {trial.name} was paused by the scheduler, which lets it go on when its turn comes."
    return f"trial {trial.name} is {trial.status.value}: nobody has paused it."


def _meant(state: State, request: Pin) -> Source:
    number, trial = request.number, state.trials.get(request.trial)
    if number is None:
        latest = None if trial is None else trial.latest
        number = -1 if latest is None else latest.number
    return Source(trial=request.trial, number=number)


def _why_not_pinned(state: State, item: Source, pinned: bool) -> str:
    """Why it cannot be pinned, or unpinned: that one may be gone already."""
    if unknown := _unknown(state, item.trial):
        return unknown
    trial = state.trials[item.trial]
    if _is_kept(state, trial, item) or (not pinned and item.number >= 0):
        return ""
    which = "no checkpoint yet" if item.number < 0 else f"no checkpoint {item.number} (any more)"
    return f"trial {trial.name} has {which}."


def _is_kept(state: State, trial: Trial, item: Source) -> bool:
    """Whether this is a checkpoint that was not retired, as far as that is known of a finished trial (`thin_out`)."""
    known = item.number in trial.checkpoints or (trial.config is None and 0 <= item.number < trial.next_checkpoint)
    return known and key(item) not in state.deletable


def _may_go(state: State, item: Source) -> bool:
    """Whether a checkpoint is there, and promise P6 does not forbid to remove it."""
    trial = state.trials[item.trial]
    if not _is_kept(state, trial, item) or item.number in in_use_of(state, trial):
        return False
    return trial.status.finished or item.number not in _protected(trial)


def _protected(trial: Trial) -> set[int]:
    durable = trial.checkpoints.keys() - {*trial.undurable, *trial.unsafe}
    return retention.protected(list(trial.checkpoints.values()), durable, ())
