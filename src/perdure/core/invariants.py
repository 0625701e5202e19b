"""What must hold of every state, checked by tests and by the simulator after each event."""

from __future__ import annotations

from perdure.core.state import State, Status, is_there, key
from perdure.core.transitions import story


def violations(state: State) -> list[str]:
    """Return one sentence for each rule that `state` breaks. Looks at every trial: for tests, not for runs."""
    found = [*_indexes(state), *_resources(state), *_checkpoints(state)]
    for trial in state.trials.values():
        if (trial.live is not None) != (trial.status is Status.RUNNING):
            found.append(f"A trial runs if and only if it has an attempt. {story(trial)}")
        if trial.judged < trial.iteration and trial.status is not Status.RUNNING and trial.donor is None:
            found.append(f"A row is in the view that nobody judged. {story(trial)}")
        if trial.held and trial.status not in (Status.RUNNING, Status.PAUSED):
            found.append(f"A trial goes on, or has ended, and is held all the same. {story(trial)}")
        if trial.status.finished and (trial.decision is not None or trial.set_aside or trial.resume):
            found.append(f"Something is still to become of a trial that has ended. {story(trial)}")
    return found


def _indexes(state: State) -> list[str]:
    members: dict[Status, set[str]] = {status: set() for status in Status}
    for trial in state.trials.values():
        members[trial.status].add(trial.id)
    expected = (
        (Status.PENDING, state.ahead.keys() | state.pending.keys()),
        (Status.RUNNING, state.live.keys()),
        (Status.PAUSED, state.paused.keys()),
    )
    found = [
        f"The index of {status.value} trials is off by {sorted(members[status] ^ index)}."
        for status, index in expected
        if members[status] != index
    ]
    found += [
        f"{len(ids)} trials are {status.value}, and {state.counts.get(status.value, 0)} are counted."
        for status, ids in members.items()
        if state.counts.get(status.value, 0) != len(ids)
    ]
    held = {trial.id for trial in state.trials.values() if trial.held}
    if held != set(state.held):
        found.append(f"The index of held trials is off by {sorted(held ^ set(state.held))}.")
    wakeable = {trial for trial in state.paused if not state.trials[trial].set_aside}
    if wakeable != set(state.wakeable):
        found.append(f"The index of trials that may be woken is off by {sorted(wakeable ^ set(state.wakeable))}.")
    if state.created != len(state.trials):
        found.append(f"{state.created} trials were created, and {len(state.trials)} are known.")
    return found


def _resources(state: State) -> list[str]:
    used: dict[str, float] = {}
    for trial_id in state.live:
        for name, amount in (state.trials[trial_id].resources or {}).items():
            used[name] = used.get(name, 0.0) + amount
    found = []
    for name in used.keys() | state.used.keys():
        if abs(used.get(name, 0.0) - state.used.get(name, 0.0)) > 1e-6:
            found.append(f"{used.get(name, 0.0)} {name} are in use, and {state.used.get(name, 0.0)} are counted.")
        if used.get(name, 0.0) > state.capacity.get(name, 0.0) + 1e-6:
            found.append(f"{used[name]} {name} are in use of {state.capacity.get(name, 0.0)}.")
    return found


def _checkpoints(state: State) -> list[str]:
    found = []
    for trial in state.trials.values():
        numbers = list(trial.checkpoints)
        if numbers != sorted(numbers):
            found.append(f"Checkpoints are out of order. {story(trial)}")
        found += [
            f"Checkpoint {number} waits for the disk and is not listed as such. {story(trial)}"
            for number in trial.undurable
            if number not in trial.checkpoints or f"{trial.id}/{number}" not in state.undurable
        ]
        if trial.donor is not None and is_there(state, trial.donor) and key(trial.donor) not in state.in_use:
            found.append(f"The donor's checkpoint is not held. {story(trial)}")
    for name in state.in_use:
        owner, _, held = name.rpartition("/")
        if name in state.deletable:
            found.append(f"Checkpoint {name} is being read and about to be deleted.")
        if int(held) not in state.trials[owner].checkpoints:
            found.append(f"Checkpoint {name} is being read and not there.")
    return found
