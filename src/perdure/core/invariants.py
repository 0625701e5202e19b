"""What must hold of every state, checked by tests and by the simulator after each event.

It is looked at some fifty times in each simulated experiment, so it is written to be quick where nothing is wrong.
"""

from __future__ import annotations

from perdure.core.state import State, Status, Trial, is_there, key
from perdure.core.transitions import story

_PENDING, _RUNNING, _PAUSED = Status.PENDING, Status.RUNNING, Status.PAUSED
_FINISHED = (Status.TERMINATED, Status.ERROR)


def violations(state: State) -> list[str]:
    """Return one sentence for each rule that `state` breaks. Looks at every trial: for tests, not for runs."""
    found: list[str] = []
    counts = dict.fromkeys(state.counts, 0)
    for trial in state.trials.values():
        status = trial.status._value_  # `value` takes half a microsecond, this a tenth
        counts[status] = counts.get(status, 0) + 1
        _check_trial(trial, found)
        _check_is_indexed(state, trial, found)
        _check_checkpoints(state, trial, found)
    if counts != state.counts:
        found.append(f"Trials by status are {counts}, and are counted as {state.counts}.")
    if state.created != len(state.trials):
        found.append(f"{state.created} trials were created, and {len(state.trials)} are known.")
    _check_indexes(state, found)
    _check_resources(state, found)
    if state.in_use:
        _check_readers(state, found)
    return found


def _check_trial(trial: Trial, found: list[str]) -> None:
    status = trial.status
    if (trial.live is not None) != (status is _RUNNING):
        found.append(f"A trial runs if and only if it has an attempt. {story(trial)}")
    if trial.judged < trial.iteration and status is not _RUNNING and trial.donor is None:
        found.append(f"A row is in the view that nobody judged. {story(trial)}")
    if trial.held and status is not _RUNNING and status is not _PAUSED:
        found.append(f"A trial goes on, or has ended, and is held all the same. {story(trial)}")
    if status in _FINISHED and (trial.decision is not None or trial.set_aside or trial.resume):
        found.append(f"Something is still to become of a trial that has ended. {story(trial)}")


def _check_is_indexed(state: State, trial: Trial, found: list[str]) -> None:
    """A trial is in the indexes that it belongs into, and in no others."""
    name, status = trial.id, trial.status
    if (
        (name in state.pending) + (name in state.ahead) != (status is _PENDING)
        or (name in state.live) is not (status is _RUNNING)
        or (name in state.paused) is not (status is _PAUSED)
        or (name in state.wakeable) is not (status is _PAUSED and not trial.set_aside)
        or (name in state.held) is not trial.held
    ):
        found.append(f"A trial is missing from an index, or in one that it does not belong into. {story(trial)}")


def _check_indexes(state: State, found: list[str]) -> None:
    known = state.trials.keys()
    indexes = (state.pending, state.ahead, state.live, state.paused, state.wakeable, state.held)
    found += [
        f"An index holds {[*index]}, not all of which are trials." for index in indexes if not index.keys() <= known
    ]


def _check_resources(state: State, found: list[str]) -> None:
    used = dict.fromkeys(state.used, 0.0)
    for trial_id in state.live.keys() & state.trials.keys():
        for name, amount in (state.trials[trial_id].resources or {}).items():
            used[name] = used.get(name, 0.0) + amount
    for name, amount in used.items():
        if abs(amount - state.used.get(name, 0.0)) > 1e-6:
            found.append(f"{amount} {name} are in use, and {state.used.get(name, 0.0)} are counted.")
        if amount > state.capacity.get(name, 0.0) + 1e-6:
            found.append(f"{amount} {name} are in use of {state.capacity.get(name, 0.0)}.")


def _check_checkpoints(state: State, trial: Trial, found: list[str]) -> None:
    checkpoints = trial.checkpoints
    if len(checkpoints) > 1 and (numbers := list(checkpoints)) != sorted(numbers):
        found.append(f"Checkpoints are out of order. {story(trial)}")
    if trial.undurable:
        found.extend(
            f"Checkpoint {number} waits for the disk and is not listed as such. {story(trial)}"
            for number in trial.undurable
            if number not in checkpoints or f"{trial.id}/{number}" not in state.undurable
        )
    if trial.donor is not None and is_there(state, trial.donor) and key(trial.donor) not in state.in_use:
        found.append(f"The donor's checkpoint is not held. {story(trial)}")


def _check_readers(state: State, found: list[str]) -> None:
    for name in state.in_use:
        owner, _, held = name.rpartition("/")
        if name in state.deletable:
            found.append(f"Checkpoint {name} is being read and about to be deleted.")
        if int(held) not in state.trials[owner].checkpoints:
            found.append(f"Checkpoint {name} is being read and not there.")
