"""What must hold of every state, checked by tests and by the simulator after each event.

It is looked at some fifty times in each simulated experiment, so it is written to be quick where nothing is wrong.
"""

from __future__ import annotations

from perdure.core.state import State, Status, Trial, is_there, key
from perdure.core.transitions import story

_RUNNING, _PAUSED = Status.RUNNING, Status.PAUSED
_FINISHED = (Status.TERMINATED, Status.ERROR)


def violations(state: State) -> list[str]:
    """Return one sentence for each rule that `state` breaks. Looks at every trial: for tests, not for runs."""
    found: list[str] = []
    _check_indexes(state, found)
    _check_resources(state, found)
    for trial in state.trials.values():
        _check_trial(trial, found)
        _check_checkpoints(state, trial, found)
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


def _check_indexes(state: State, found: list[str]) -> None:
    members: dict[str, list[str]] = {}
    held: list[str] = []
    for name, trial in state.trials.items():
        members.setdefault(trial.status._value_, []).append(name)  # `value` takes half a microsecond, this a tenth
        if trial.held:
            held.append(name)
    waiting = {**state.ahead, **state.pending} if state.ahead else state.pending
    _compare("PENDING", members.get("PENDING", []), waiting, found)
    _compare("RUNNING", members.get("RUNNING", []), state.live, found)
    _compare("PAUSED", members.get("PAUSED", []), state.paused, found)
    _compare("held", held, state.held, found)
    if state.paused or state.wakeable:
        wakeable = [name for name in state.paused if not state.trials[name].set_aside]
        _compare("wakeable", wakeable, state.wakeable, found)
    for name, count in state.counts.items():
        if count != len(members.pop(name, ())):
            found.append(f"{count} trials are counted as {name}, and there are others.")
    if members:
        found.append(f"Trials are {sorted(members)}, and none are counted.")
    if state.created != len(state.trials):
        found.append(f"{state.created} trials were created, and {len(state.trials)} are known.")


def _compare(what: str, ids: list[str], index: dict[str, None], found: list[str]) -> None:
    if (ids or index) and index.keys() != set(ids):
        found.append(f"The index of {what} trials is off by {sorted(index.keys() ^ ids)}.")


def _check_resources(state: State, found: list[str]) -> None:
    used = dict.fromkeys(state.used, 0.0)
    for trial_id in state.live:
        for name, amount in (state.trials[trial_id].resources or {}).items():
            used[name] = used.get(name, 0.0) + amount
    if used == state.used and all(amount <= state.capacity.get(name, 0.0) for name, amount in used.items()):
        return
    for name in used.keys() | state.used.keys():
        if abs(used.get(name, 0.0) - state.used.get(name, 0.0)) > 1e-6:
            found.append(f"{used.get(name, 0.0)} {name} are in use, and {state.used.get(name, 0.0)} are counted.")
        if used.get(name, 0.0) > state.capacity.get(name, 0.0) + 1e-6:
            found.append(f"{used[name]} {name} are in use of {state.capacity.get(name, 0.0)}.")


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
