"""What should be done now: `plan(state)`.

The planner looks at the heads of the queues, the free resources and the agenda, never at all trials. Planning twice
without an event in between plans nothing twice but launches, which the runner answers with an event at once.
"""

from __future__ import annotations

from collections.abc import Container

from perdure.core.commands import (
    Await,
    Command,
    Delete,
    Finish,
    Launch,
    MakeDurable,
    Retire,
    StopAttempt,
    Suggest,
    Wake,
)
from perdure.core.events import Source
from perdure.core.state import State, Trial, is_there, key, unneeded


def plan(
    state: State, *, may_suggest: bool = True, declined: Container[Command] = (), tidy: bool = True
) -> list[Command]:
    """Return what is to be done now, and clear the agenda.

    `may_suggest` is False when the searcher has just said that it has nothing for now; `declined` are the questions
    to which the scheduler has just answered that paused trials stay so. Without `tidy`, what the life of
    checkpoints asks for waits for a later look, as long as a trial runs and newer checkpoints alone made others
    superfluous: a trial that saves a thousand a second has them retired by the hundred.
    """
    commands: list[Command] = []
    if state.agenda.stop:
        commands += [StopAttempt(trial) for trial in state.agenda.stop if trial in state.live]
        state.agenda.stop.clear()
    if tidy or state.agenda.released or not state.live:
        commands += keep_house(state)
    if state.stopping is not None:
        if not state.live and not commands:  # what is planned here may have to be followed up
            commands.append(Finish(finished=not state.unfinished))
        return commands
    head = next(iter(state.ahead), None) or next(iter(state.pending), None)
    wake = _wake(state, may_suggest)
    if wake is not None and wake not in declined:
        commands.append(wake)
    elif head is not None:
        if _room(state, state.trials[head]):
            commands.append(Launch(head))
    elif not state.search_ended:
        if may_suggest and _any_room(state):
            commands.append(Suggest())
    elif not state.live and not commands:
        commands.append(
            Await(len(state.held), next(reversed(state.held))) if state.held else Finish(finished=not state.unfinished)
        )
    return commands


def _wake(state: State, may_suggest: bool) -> Wake | None:
    """Return what to ask the scheduler about paused trials, if anything.

    Where the searcher has nothing for now but is not at its end, what runs may bring it on: only if nothing runs is
    waking the last resort.
    """
    if state.ahead or not state.wakeable or not _any_room(state):
        return None
    if state.pending or (may_suggest and not state.search_ended):
        return Wake(early=True)
    return Wake() if state.search_ended or not state.live else None


def source_of(state: State, trial: Trial) -> Source | None:
    """Return the checkpoint from which the trial's next attempt starts; None is from scratch.

    A clone whose donor's checkpoint turned out to be damaged goes on from its own latest.
    """
    if trial.from_scratch:
        return None
    if is_there(state, trial.start):
        return trial.start
    latest = trial.latest
    if is_there(state, trial.donor) and (latest is None or latest.segment != trial.segment):
        return trial.donor
    return None if latest is None else Source(trial=trial.id, number=latest.number)


def segment_of(state: State, trial: Trial) -> int:
    """Return the segment in which the trial's next attempt reports.

    A clone opens a new one, and so does a trial that goes back to before it was cloned, because the clone's own
    checkpoints are damaged: what it reports then follows from other rows than those of the clone's segment.
    """
    source, latest = source_of(state, trial), trial.latest
    is_own = source is not None and source.trial == trial.id and latest is not None
    goes_back = is_own and latest is not None and latest.segment != trial.segment
    return trial.segment + 1 if goes_back or is_there(state, trial.start) else trial.segment


def keep_house(state: State) -> list[Command]:
    """Return what the life of checkpoints asks for, which is to retire, make durable and delete."""
    agenda = state.agenda
    commands: list[Command] = []
    if agenda.retention:
        retired = tuple(
            Source(trial=trial_id, number=number)
            for trial_id in agenda.retention
            for number in unneeded(state, state.trials[trial_id])
        )
        agenda.retention.clear()
        agenda.released = False
        if retired:
            commands.append(Retire(retired))
            for source in retired:
                agenda.durable.pop(key(source), None)
    if agenda.durable:
        commands.append(MakeDurable(tuple(agenda.durable.values())))
        agenda.durable.clear()
    if agenda.delete:
        commands.append(Delete(tuple(agenda.delete.values())))
        agenda.delete.clear()
    return commands


def _room(state: State, trial: Trial) -> bool:
    """Whether the trial is to start now: there is enough, or there never will be more, since nothing runs.

    The runner refuses what does not fit then, instead of waiting for ever.
    """
    if not state.live:
        return True
    if 0 < state.spec.max_concurrent <= len(state.live):
        return False
    return all(
        amount <= state.capacity.get(name, 0.0) - state.used.get(name, 0.0) + 1e-9
        for name, amount in (trial.resources or {}).items()
    )


def _any_room(state: State) -> bool:
    """Whether asking the searcher is worth it: nothing waits, and not everything is taken."""
    if not state.live:
        return True
    if 0 < state.spec.max_concurrent <= len(state.live):
        return False
    return any(amount - state.used.get(name, 0.0) > 1e-9 for name, amount in state.capacity.items() if name != "memory")
