"""How an experiment stands when a session goes on with it: what is done, and what each of the others goes on from."""

from __future__ import annotations

import dataclasses

from perdure.core.planner import source_of
from perdure.core.state import State, Status


@dataclasses.dataclass(frozen=True, kw_only=True)
class Standing:
    """What a session finds.

    Args:
        finished: How many trials are TERMINATED or in ERROR and stay so.
        errors: How many of these are in ERROR.
        goes_on_at: For each trial that goes on from a checkpoint, the iteration it reports first.
        again: How many trials have run and start from scratch, because they have saved nothing that is left.
        paused: How many trials are paused and wait for the scheduler or a person.
        unstarted: How many trials have not run yet, those still to be created among them if their number is known.
        total: How many trials there will be; None where the searcher does not know.
    """

    finished: int = 0
    errors: int = 0
    goes_on_at: tuple[int, ...] = ()
    again: int = 0
    paused: int = 0
    unstarted: int = 0
    total: int | None = None


def standing_of(state: State, total: int | None) -> Standing:
    """Return how `state` stands before a session starts its first trial. Looks at no trial that is finished."""
    goes_on_at: list[int] = []
    again = 0
    for trial_id in state.ahead:
        source = source_of(state, state.trials[trial_id])
        if source is None:
            again += 1
        else:
            goes_on_at.append(state.trials[source.trial].checkpoints[source.number].iteration + 1)
    errors = state.counts.get(Status.ERROR.value, 0)
    if state.search_ended or state.stopping is not None:
        total = state.created
    elif total is not None:
        total = max(total, state.created)
    return Standing(
        finished=errors + state.counts.get(Status.TERMINATED.value, 0),
        errors=errors,
        goes_on_at=tuple(goes_on_at),
        again=again,
        paused=len(state.paused),
        unstarted=len(state.pending) + (0 if total is None else total - state.created),
        total=total,
    )
