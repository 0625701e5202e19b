"""What earlier sessions left of an experiment: the fold of its journal, from the newest snapshot if there is one."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from perdure.core.events import TrialRequeued
from perdure.core.state import State, let_go
from perdure.core.transitions import apply
from perdure.errors import StorageError
from perdure.journal.base import START, JournalReader, Position
from perdure.snapshots import newest
from perdure.storage.leftovers import attempt_token, kill_leftovers
from perdure.storage.processes import hostname


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recovered:
    """What is left of earlier sessions."""

    state: State
    snapshot: Path | None
    """The newest one, whose plugins' states are to be taken up."""
    position: Position
    """Of the snapshot: plugins that were saved with it are to be told what came after."""
    unsettled: tuple[str, ...]
    """Unfinished trials: their directories may hold what the journal knows nothing of."""
    processes: tuple[tuple[str, int, float], ...]
    """Host, pid and start time of those attempts' processes."""
    notes: tuple[str, ...] = ()
    """What was found damaged, and did without."""


def recover(directory: Path | None, reader: JournalReader, end: Position, *, whole: bool) -> Recovered:
    """Fold the journal up to `end`, from the newest snapshot if there is one.

    `whole`: hold finished trials in full, because some of them may be run again. That is done in any case if some
    were, by a session that was cut short before the state was saved: what had been let go of them is needed.
    """
    notes: list[str] = []
    found = None if directory is None else newest(directory, end, notes.append)
    snapshot, position, state = None, START, None
    if found is not None:
        try:
            snapshot, position, state = found[0], found[1].position, found[1].state
            _fold(state, reader, position)
        except StorageError:  # a power cut took back what it was made of
            snapshot, position, state = None, START, None
        except _LetGoError:
            whole = True
    if state is None or whole:  # a snapshot has let finished trials go
        state = _folded(reader, whole=whole)
    live = [state.trials[trial].live for trial in state.live]
    return Recovered(
        state=state,
        snapshot=snapshot,
        position=position,
        unsettled=(*state.live, *state.ahead, *state.pending, *state.paused),
        processes=tuple((it.host, it.pid, it.process_start) for it in live if it is not None and it.pid),
        notes=tuple(notes),
    )


class _LetGoError(Exception):
    """A trial ran again of which too much was let go when it had ended."""


def _folded(reader: JournalReader, *, whole: bool) -> State:
    state = State(keep_finished=whole)
    try:
        _fold(state, reader, START)
    except _LetGoError:
        return _folded(reader, whole=True)
    return state


def _fold(state: State, reader: JournalReader, after: Position) -> None:
    for _, event in reader.read(after):
        if isinstance(event, TrialRequeued) and state.trials[event.trial].config is None:
            raise _LetGoError
        apply(state, event)
        if state.agenda.finished:
            for trial in [state.trials[trial] for trial in state.agenda.finished]:
                let_go(state, trial)


def end_leftovers(recovered: Recovered, directory: Path) -> list[int]:
    """Kill what still runs of earlier attempts on this machine; return the processes that could not be killed."""
    here = hostname()
    ours = [(pid, began) for host, pid, began in recovered.processes if host in (here, "") and pid != os.getpid()]
    return kill_leftovers(ours, attempt_token(str(directory)))
