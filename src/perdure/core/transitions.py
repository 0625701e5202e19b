"""How each event changes the state: `apply(state, event)`, the only thing that ever changes it.

A trial is always in one of five statuses, and `TRANSITIONS` is the whole list of moves between them:

    PENDING     waits for room. It was just created, or is to be run again: retried after a failure, put back after a
                driver's death, resumed from a pause, cloned from a donor, requeued by a restore.
    RUNNING     has an attempt. The attempt is planned (journaled) before its process is started, so that an attempt
                number is never used twice, whatever is killed in between.
    PAUSED      gave its resources back and keeps its latest checkpoint. Only a scheduler wakes it; or only a person, if
                a person paused it (`held`), whatever it did at that moment and whatever befalls it meanwhile.
    TERMINATED  came to its end, by itself or because it was told to stop.
    ERROR       failed more often than it may, or has no usable checkpoint left.

Only attempts end trials. A decision to stop or pause a running trial is recorded with the report that caused it, and
comes true when the attempt has ended; what the trial still owes at that moment (the checkpoint at its end) is recorded
with it. So if everything dies between the two, the restored trial either is at its end already, or goes on from its
latest checkpoint and is told the recorded decision again at the iteration at which it was made. The decision itself is
never made twice.

A request of another process is answered by the one record that does what it asks, or refuses it. The record carries the
request's id, and the id is remembered until the request's file is gone for good; so a request that is read twice,
because a driver died between the two, is answered once.

A driver that starts ends every attempt of its predecessors: they count as interrupted, which is nobody's failure.

`DriverStarted` is also where work nobody finished becomes visible again: goals (checkpoints to make durable, bytes to
delete) are in indexes that only their outcome events empty, and the agenda is filled from them anew.

Where the author is unsure: a trial that was told STOP and whose process then dies while cleaning up is TERMINATED,
unless it owes a checkpoint; one could call that a failure. Its rows are complete, and running it again would change
nothing that anybody reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from sys import intern
from typing import TypeVar

from perdure.core.events import (
    Action,
    AnyEvent,
    AttemptEnded,
    AttemptPlanned,
    AttemptStarted,
    CheckpointCommitted,
    CheckpointInfo,
    CheckpointPinned,
    CheckpointsDeleted,
    CheckpointsDurable,
    CheckpointsRetired,
    CheckpointsUnsafe,
    Decision,
    DefinitionChanged,
    DefinitionStored,
    DriverStarted,
    DriverStopped,
    ErrorInfo,
    Event,
    ExperimentCreated,
    Noticed,
    Outcome,
    Reported,
    RequestRefused,
    RequestsCleared,
    SearchEnded,
    Source,
    SpecChanged,
    StopRequested,
    TimePassed,
    TrialActed,
    TrialCreated,
    TrialRequeued,
)
from perdure.core.state import Attempt, State, Status, Trial, is_there, key, rearm, shared_resources, thin_out
from perdure.errors import InternalError

SKIPPED = "skipped"
"""The `TrialActed.request` of a restore that leaves unfinished trials alone."""

# On Python 3.11 it takes half a microsecond to look a member of an enum up; these are asked for at each event.
PENDING, RUNNING, PAUSED, TERMINATED, ERROR = Status
CONTINUE, PAUSE, STOP = Decision
_ENDED = (Outcome.FINISHED, Outcome.STOPPED)
_FAILED = (Outcome.FAILED, Outcome.LOST)

TRANSITIONS: dict[Status | None, frozenset[Status]] = {
    None: frozenset({PENDING}),
    PENDING: frozenset({RUNNING, TERMINATED, PAUSED}),
    RUNNING: frozenset({PENDING, PAUSED, TERMINATED, ERROR}),
    PAUSED: frozenset({PENDING, TERMINATED}),
    TERMINATED: frozenset({PENDING}),  # a restore that extends or restarts it
    ERROR: frozenset({PENDING}),  # a restore that resumes or restarts it
}


def apply(state: State, event: AnyEvent) -> None:
    """Fold `event` into `state`. Touches one trial, or none, whatever their number.

    Raises:
        InternalError: the event cannot have happened in this state; the message tells the trial's story.
    """
    HANDLERS[type(event)](state, event)


# --- the experiment -------------------------------------------------------------------------------------------------


def _experiment_created(state: State, event: ExperimentCreated) -> None:
    state.name = event.name
    state.trainable = event.trainable
    state.version = event.version
    state.spec = event.spec
    state.pickles = event.pickles
    state.definition = event.definition


def _definition_changed(state: State, event: DefinitionChanged) -> None:
    changed = bool(event.changes) or event.spec != state.spec
    state.definition = event.definition
    state.trainable = event.trainable
    state.spec = event.spec
    state.pickles = event.pickles
    if any(change.what.partition("/")[0] == "search_alg" for change in event.changes):
        state.searcher_since = state.created
    if changed:
        state.search_ended = False  # there may be more to suggest
        state.stopping = None  # that was decided by other rules
        state.round_open = False


def _definition_stored(state: State, event: DefinitionStored) -> None:
    state.pickles = event.pickles


def _spec_changed(state: State, event: SpecChanged) -> None:
    if event.spec.num_samples != state.spec.num_samples:
        state.search_ended = False
    state.spec = event.spec
    state.stopping = None


def _driver_started(state: State, event: DriverStarted) -> None:
    state.epoch = event.epoch
    state.capacity = event.capacity
    state.imports = event.imports or state.imports
    state.ran_before_s += state.ran_s
    state.ran_s = 0.0
    if state.resumable or state.finished:  # else: the stop was decided for good, and is carried to its end
        state.stopping = None
    state.resumable = False
    state.finished = False
    # What ran goes on first, so that a crash changes nobody's turn; what had been told to pause has had its turn.
    live = [state.trials[trial] for trial in state.live]
    waiting, state.ahead = state.ahead, {}
    for trial in (trial for trial in live if not _is_pausing(trial)):
        _interrupt(state, trial)
    state.ahead.update(waiting)
    for trial in (trial for trial in live if trial.live is not None):
        _interrupt(state, trial)
    rearm(state)


def _interrupt(state: State, trial: Trial) -> None:
    _end_attempt(state, trial)
    _come_to_rest(state, trial, Outcome.INTERRUPTED)


def _is_pausing(trial: Trial) -> bool:
    return trial.decision is PAUSE and not trial.owes_save


def _driver_stopped(state: State, event: DriverStopped) -> None:
    state.finished = event.finished
    state.ran_s = event.ran_s
    if event.finished or state.stopping is None:  # nothing cut it short; trials that are set aside may be left
        state.round_open = False


def _time_passed(state: State, event: TimePassed) -> None:
    state.ran_s = event.ran_s


def _stop_requested(state: State, event: StopRequested) -> None:
    _answer(state, event.request)
    if state.stopping is not None and not (state.resumable and not event.resumable):
        return
    state.stopping = event.reason
    state.resumable = event.resumable
    state.agenda.stop.update(state.live)
    if not event.resumable:
        for trial_id in (*state.ahead, *state.pending, *state.paused):
            _move(state, state.trials[trial_id], TERMINATED)


def _search_ended(state: State, event: SearchEnded) -> None:
    state.search_ended = True


def _noticed(state: State, event: Noticed) -> None:
    pass


# --- requests -------------------------------------------------------------------------------------------------------


def _answer(state: State, request: str) -> None:
    """Note that a request was answered; "" is none."""
    if request in state.answered:
        raise InternalError(f"Request {request} was answered twice.")
    if request:
        state.answered[request] = None


def _request_refused(state: State, event: RequestRefused) -> None:
    _answer(state, event.request)


def _requests_cleared(state: State, event: RequestsCleared) -> None:
    for request in event.requests:
        state.answered.pop(request, None)


# --- a trial --------------------------------------------------------------------------------------------------------


def _trial_created(state: State, event: TrialCreated) -> None:
    if event.trial in state.trials:
        raise InternalError(f"Trial {event.trial} was created twice.")
    trial = Trial(
        id=event.trial,
        number=event.number,
        name=event.name,
        directory=event.directory,
        tag=event.tag,
        config=event.config,
        searched=event.config if event.searched == event.config else event.searched,  # one dict: it is never changed
        resources=shared_resources(tuple(event.resources.items())),
        seed=event.seed,
        round=state.round,
    )
    state.trials[trial.id] = trial
    state.created += 1
    state.pending[trial.id] = None
    state.counts["PENDING"] = state.counts.get("PENDING", 0) + 1


def _attempt_planned(state: State, event: AttemptPlanned) -> None:
    trial = state.trials[event.trial]
    if trial.live is not None or event.attempt <= trial.attempts:
        raise InternalError(f"A second attempt was planned. {story(trial)}")
    if event.segment != trial.segment:
        trial.segment = event.segment
        trial.judged = 0
        trial.owed = ()
    trial.judged = max(trial.judged, event.iteration)  # a clone's rows go on from its donor's
    trial.attempts = event.attempt
    trial.live = Attempt(attempt=event.attempt, start=event.start, devices=event.devices)
    trial.start = None
    trial.iteration = event.iteration
    trial.time_total_s = event.time_total_s
    if event.start is not None:
        _hold(state, event.start)
        trial.live.reading = True
    if trial.status is PAUSED and not trial.held:  # earlier versions forgot a pause over the death of the worker
        _move(state, trial, PENDING)
    _move(state, trial, RUNNING)
    for name, amount in (trial.resources or {}).items():
        state.used[name] = state.used.get(name, 0.0) + amount


def _attempt_started(state: State, event: AttemptStarted) -> None:
    trial = state.trials[event.trial]
    live = _live(trial, event.attempt)
    live.host, live.node_ip = intern(event.host), intern(event.node_ip)  # the same for many trials
    live.pid, live.process_start = event.pid, event.process_start
    live.first_iteration = event.iteration
    trial.iteration = event.iteration


def _reported(state: State, event: Reported) -> None:
    trial = state.trials[event.trial]
    if not event.adopted:
        _live(trial, event.attempt)
    trial.iteration = event.iteration
    trial.time_total_s = event.time_total_s
    trial.last = event
    trial.judged = max(trial.judged, event.iteration)
    if event.checkpoint is not None:
        _commit(state, trial, event.checkpoint)
    if event.decision is not CONTINUE:
        if event.agreed:
            trial.resume = False  # a person's word alone does not end that pause
        trial.by_person = trial.by_person and event.decision is PAUSE and not event.agreed
        trial.decision = event.decision
        trial.decided_at = event.iteration
        trial.owes_save = event.save and event.checkpoint is None
    _note_owed(trial, event)
    for action in event.actions:
        _act(state, action)
    if event.adopted and trial.live is None:
        _come_to_rest(state, trial, Outcome.INTERRUPTED)


def _attempt_ended(state: State, event: AttemptEnded) -> None:
    trial = state.trials[event.trial]
    _live(trial, event.attempt)
    _end_attempt(state, trial)
    trial.ran_s += event.ran_s
    if event.rejected is not None:
        _reject(state, trial, event.rejected, event.error)
        return
    if event.error is not None:
        trial.error = event.error
    _come_to_rest(state, trial, event.outcome)


def _note_owed(trial: Trial, row: Reported) -> None:
    """Keep in mind that a checkpoint of a row was asked for, until it is there; of one that went by it never will."""
    if trial.owed:
        trial.owed = _kept(iteration for iteration in trial.owed if iteration > row.iteration)
    if row.save and row.decision is CONTINUE and row.checkpoint is None:
        trial.owed = (row.iteration, *trial.owed)


def _trial_acted(state: State, event: TrialActed) -> None:
    if event.request != SKIPPED:
        _answer(state, event.request)
    for action in (event.action, *event.more):
        _act(state, action)
        if event.request == SKIPPED:
            trial = state.trials[action.trial]
            trial.skipped = True
            _index_paused(state, trial)


def _trial_requeued(state: State, event: TrialRequeued) -> None:
    trial = state.trials[event.trial]
    trial.error = None
    trial.failures = 0
    trial.resume = False
    _decide_nothing(trial)
    _let_loose(state, trial)
    if event.from_scratch:
        trial.from_scratch = True
        trial.owed = ()
        trial.segment += 1
        trial.judged = 0
        trial.iteration = 0
    if event.round:
        state.round = trial.round = event.round
        state.round_open = True
    state.agenda.finished.pop(trial.id, None)
    if trial.status is not PENDING:
        _move(state, trial, PENDING)


# --- checkpoints ----------------------------------------------------------------------------------------------------


def _checkpoint_committed(state: State, event: CheckpointCommitted) -> None:
    trial = state.trials[event.trial]
    _commit(state, trial, event.checkpoint)
    trial.owes_save = False
    if trial.live is None and trial.decision is not None:  # adopted after a crash: what was owed is there
        _come_to_rest(state, trial, Outcome.INTERRUPTED)


def _checkpoints_durable(state: State, event: CheckpointsDurable) -> None:
    for source in event.items:
        trial = state.trials[source.trial]
        _arrived(state, trial, source)
        info = trial.checkpoints.get(source.number)
        if info is not None and info.segment == trial.segment and trial.start is None:
            _let_go_of_donor(state, trial)
        if trial.status.finished:
            thin_out(state, trial)


def _checkpoints_unsafe(state: State, event: CheckpointsUnsafe) -> None:
    for source in event.items:
        trial = state.trials[source.trial]
        if source.number in trial.undurable:
            trial.unsafe = (*trial.unsafe, source.number)
        _arrived(state, trial, source)


def _arrived(state: State, trial: Trial, source: Source) -> None:
    """A checkpoint is no longer on its way to the disk: the next one of its trial may be."""
    if source.number not in trial.undurable:
        return
    _drop_undurable(state, trial, source.number)
    state.agenda.retention[trial.id] = None
    state.agenda.released = True
    _ask_for_oldest(state, trial)


def _checkpoints_retired(state: State, event: CheckpointsRetired) -> None:
    _answer(state, event.request)
    for source in event.items:
        trial = state.trials[source.trial]
        trial.checkpoints.pop(source.number, None)
        _drop_undurable(state, trial, source.number)
        name = key(source)
        state.deletable[name] = source
        state.agenda.delete[name] = source
        if trial.status.finished:
            thin_out(state, trial)


def _checkpoints_deleted(state: State, event: CheckpointsDeleted) -> None:
    for source in event.items:
        state.deletable.pop(key(source), None)


def _checkpoint_pinned(state: State, event: CheckpointPinned) -> None:
    _answer(state, event.request)
    trial = state.trials[event.item.trial]
    others = _kept(number for number in trial.pinned if number != event.item.number)
    trial.pinned = (*others, event.item.number) if event.pinned else others
    state.agenda.retention[trial.id] = None
    state.agenda.released = True
    if trial.status.finished:
        thin_out(state, trial)


# --- the moves they share -------------------------------------------------------------------------------------------


def _kept(numbers: Iterable[int]) -> tuple[int, ...]:
    """Return them as a tuple, and none of them as `()`, which is left out of a snapshot.

    On Python 3.10 an empty tuple that is made of a generator is another object, and msgspec would write it.
    """
    return tuple(numbers) or ()


def _move(state: State, trial: Trial, status: Status) -> None:
    """Change a trial's status, and the indexes with it."""
    if status not in TRANSITIONS[trial.status]:
        raise InternalError(f"No trial goes from {trial.status.value} to {status.value}. {story(trial)}")
    counts = state.counts
    counts[trial.status._value_] -= 1  # on Python 3.11 `value` takes half a microsecond, and this a tenth of it
    counts[status._value_] = counts.get(status._value_, 0) + 1
    if trial.status is RUNNING:
        state.live.pop(trial.id, None)
    elif trial.status is PENDING:
        state.ahead.pop(trial.id, None)
        state.pending.pop(trial.id, None)
    else:
        state.paused.pop(trial.id, None)
    trial.status = status
    if status is PENDING:
        state.ahead[trial.id] = None
    elif status is RUNNING:
        state.live[trial.id] = None
    elif status is PAUSED:
        state.paused[trial.id] = None
    else:  # at its end
        trial.resume = False
        _decide_nothing(trial)
        _let_loose(state, trial)
        _let_go_of_donor(state, trial)
        state.agenda.retention[trial.id] = None
        state.agenda.released = True
        state.agenda.finished[trial.id] = None
    _index_paused(state, trial)


def _index_paused(state: State, trial: Trial) -> None:
    """Have `wakeable` say whether the scheduler may wake this trial."""
    if trial.status is PAUSED and not trial.set_aside:
        state.wakeable[trial.id] = None
    else:
        state.wakeable.pop(trial.id, None)


def _decide_nothing(trial: Trial) -> None:
    """Nothing is decided about the trial that has not come true."""
    trial.decision = None
    trial.by_person = False
    trial.owes_save = False


def _come_to_rest(state: State, trial: Trial, outcome: Outcome) -> None:
    """Decide what becomes of a trial whose attempt has ended with `outcome`."""
    decided = trial.decision if not trial.owes_save else None
    if outcome in _ENDED:
        decided = STOP
    elif outcome is Outcome.PAUSED and decided is None:
        decided = PAUSE
    failed = outcome in _FAILED and decided is not STOP
    if failed:
        trial.failures += 1
    if decided is STOP:
        _rest(state, trial, TERMINATED)
    elif failed and 0 <= state.spec.max_failures < trial.failures:
        _rest(state, trial, ERROR)
    elif decided is PAUSE:
        wakes = trial.resume or (state.resumable and trial.decision is None)
        _rest(state, trial, PENDING if wakes else PAUSED)
        if trial.id in state.ahead:  # behind all others, also where an adopted row says so: it has had its turn
            state.ahead[trial.id] = state.ahead.pop(trial.id)
    else:
        _rest(state, trial, PENDING)


def _rest(state: State, trial: Trial, status: Status) -> None:
    if status is PENDING and trial.held:
        status = PAUSED
    if status is not PENDING or not trial.owes_save:
        _decide_nothing(trial)
    trial.resume = trial.resume and trial.held
    if not status.finished and state.stopping is not None and not state.resumable:
        status = TERMINATED
    if status is not trial.status:
        _move(state, trial, status)


def _end_attempt(state: State, trial: Trial) -> None:
    live = trial.live
    if live is None:
        raise InternalError(f"There is no attempt to end. {story(trial)}")
    _stop_reading(state, live)
    trial.live = None
    for name, amount in (trial.resources or {}).items():
        left = state.used.get(name, 0.0) - amount
        state.used[name] = left if left > 1e-9 else 0.0
    if trial.next_resources is not None:
        trial.resources, trial.next_resources = trial.next_resources, None


def _reject(state: State, trial: Trial, source: Source, error: ErrorInfo | None) -> None:
    """Set a damaged checkpoint aside, and fall back to the next older one."""
    trial.rejected += 1
    owner = state.trials.get(source.trial)  # a history lets go of finished donors
    if owner is not None:
        damaged = owner.checkpoints.pop(source.number, None)
        if damaged is not None and damaged.segment == owner.segment:
            owner.owed = (damaged.iteration, *owner.owed)  # the newest is the first to be rejected
        _drop_undurable(state, owner, source.number)
        _ask_for_oldest(state, owner)
    state.in_use.pop(key(source), None)
    stops = trial.decision is STOP and not trial.owes_save
    if not trial.checkpoints and not stops:
        if not state.spec.restart_without_checkpoint:
            trial.error = error
            _rest(state, trial, ERROR)
            return
        trial.from_scratch = True
    _come_to_rest(state, trial, Outcome.INTERRUPTED)


def _act(state: State, action: Action) -> None:
    """Carry a scheduler's or a person's decision about a trial into the state."""
    trial = state.trials[action.trial]
    if trial.status.finished:
        return
    if action.donor is not None:
        _clone(state, trial, action)
    elif action.config is not None:
        trial.config = action.config
    if action.hold:
        _hold_back(state, trial)
    elif action.hold is not None or action.decision is STOP:
        _let_loose(state, trial)
    if action.resources is not None and trial.live is not None:
        trial.next_resources = action.resources
    elif action.resources is not None:
        trial.resources = action.resources
    _decide(state, trial, action)


def _decide(state: State, trial: Trial, action: Action) -> None:
    if trial.live is not None:
        if action.decision is not CONTINUE:
            if trial.by_person and not action.hold:
                trial.resume = False
            trial.by_person = bool(action.hold) and (trial.by_person or trial.decision is None)
            trial.decision = action.decision
            trial.decided_at = 0
            state.agenda.stop[trial.id] = None
        trial.resume = trial.resume or action.resume
    elif action.decision is STOP:
        _move(state, trial, TERMINATED)
    elif action.decision is PAUSE and trial.status is PENDING:
        if not action.resume:
            _move(state, trial, PAUSED)
        elif trial.decision is PAUSE:  # of the very row that is adopted: it pauses when that is done
            trial.resume = True
    elif trial.status is PAUSED and trial.set_aside:
        trial.resume = trial.resume or action.resume
    elif trial.status is PAUSED and (action.resume or trial.resume):
        trial.resume = False
        _move(state, trial, PENDING)
    elif trial.decision is PAUSE:  # a driver died before it had paused, so it will be told to once more
        trial.resume = trial.resume or action.resume


def _hold_back(state: State, trial: Trial) -> None:
    """A person holds the trial; it goes on when they let it loose if nothing else keeps it from running now."""
    would_run = trial.status is PENDING or (trial.status is RUNNING and trial.decision is None)
    trial.resume = trial.resume or trial.skipped or would_run
    trial.held = True
    trial.skipped = False
    state.held[trial.id] = None
    _index_paused(state, trial)


def _let_loose(state: State, trial: Trial) -> None:
    """Nobody holds the trial back any longer."""
    trial.held = False
    trial.skipped = False
    state.held.pop(trial.id, None)
    _index_paused(state, trial)


def _clone(state: State, trial: Trial, action: Action) -> None:
    """Have `trial` go on from a donor's checkpoint, which is held until the clone has a durable one of its own."""
    _let_go_of_donor(state, trial)
    if action.donor is not None and is_there(state, action.donor):
        trial.start = trial.donor = action.donor
        trial.from_scratch = False
        _hold(state, action.donor)
    if action.config is not None:
        trial.config = action.config


def _commit(state: State, trial: Trial, info: CheckpointInfo) -> None:
    trial.checkpoints[info.number] = info
    trial.from_scratch = False
    if info.iteration in trial.owed:
        trial.owed = _kept(iteration for iteration in trial.owed if iteration != info.iteration)
    trial.next_checkpoint = max(trial.next_checkpoint, info.number + 1)
    if isinstance(trial.undurable, list):
        trial.undurable.append(info.number)
    else:
        trial.undurable = [info.number]
    source = Source(trial=trial.id, number=info.number)
    state.undurable[key(source)] = source
    if state.spec.num_to_keep is None:
        state.agenda.durable[key(source)] = source
    elif len(trial.undurable) == 1:
        _ask_for_oldest(state, trial)
    state.agenda.retention[trial.id] = None
    if trial.live is not None:
        _stop_reading(state, trial.live)


def _ask_for_oldest(state: State, trial: Trial) -> None:
    """Have the oldest checkpoint that is not on the disk brought there.

    One at a time for each trial, where old ones are retired: a trial that saves faster than the disk keeps up still
    gets a durable checkpoint now and then, and those in between never burden the disk.
    """
    if trial.undurable and state.spec.num_to_keep is not None:
        source = Source(trial=trial.id, number=trial.undurable[0])
        state.agenda.durable[key(source)] = source


def _drop_undurable(state: State, trial: Trial, number: int) -> None:
    waiting = trial.undurable
    if isinstance(waiting, list) and number in waiting:
        waiting.remove(number)  # one of the first, as a rule
        trial.undurable = waiting or ()
    name = f"{trial.id}/{number}"
    state.undurable.pop(name, None)
    state.agenda.durable.pop(name, None)


def _hold(state: State, source: Source) -> None:
    name = key(source)
    state.in_use[name] = state.in_use.get(name, 0) + 1


def _release(state: State, source: Source) -> None:
    name = key(source)
    left = state.in_use.get(name, 0) - 1  # 0 already, for one that turned out to be damaged
    if left > 0:
        state.in_use[name] = left
    else:
        state.in_use.pop(name, None)
    state.agenda.retention[source.trial] = None
    state.agenda.released = True


def _stop_reading(state: State, live: Attempt) -> None:
    if live.reading and live.start is not None:
        live.reading = False
        _release(state, live.start)


def _let_go_of_donor(state: State, trial: Trial) -> None:
    if trial.donor is not None:
        _release(state, trial.donor)
        trial.donor = None


def _live(trial: Trial, attempt: int) -> Attempt:
    if trial.live is None or trial.live.attempt != attempt:
        raise InternalError(f"Attempt {attempt} is not the live one. {story(trial)}")
    return trial.live


def story(trial: Trial) -> str:
    """Tell all that the state knows of a trial, for an error message."""
    return (
        f"Trial {trial.id} is {trial.status.value} in segment {trial.segment}, attempts {trial.attempts}, "
        f"failures {trial.failures}, iteration {trial.iteration} (judged {trial.judged}), "
        f"checkpoints {list(trial.checkpoints)}, decision {trial.decision}, held {trial.held}, live {trial.live}."
    )


E_ = TypeVar("E_", bound=Event)


def _handler(kind: type[E_], handle: Callable[[State, E_], None]) -> tuple[type[Event], Callable[[State, Event], None]]:
    return kind, handle  # type: ignore[return-value]  # each handler is only ever given its own kind


HANDLERS: dict[type[Event], Callable[[State, Event], None]] = dict(
    (
        _handler(ExperimentCreated, _experiment_created),
        _handler(SpecChanged, _spec_changed),
        _handler(DefinitionChanged, _definition_changed),
        _handler(DefinitionStored, _definition_stored),
        _handler(DriverStarted, _driver_started),
        _handler(DriverStopped, _driver_stopped),
        _handler(TimePassed, _time_passed),
        _handler(StopRequested, _stop_requested),
        _handler(SearchEnded, _search_ended),
        _handler(Noticed, _noticed),
        _handler(TrialCreated, _trial_created),
        _handler(AttemptPlanned, _attempt_planned),
        _handler(AttemptStarted, _attempt_started),
        _handler(Reported, _reported),
        _handler(AttemptEnded, _attempt_ended),
        _handler(TrialActed, _trial_acted),
        _handler(TrialRequeued, _trial_requeued),
        _handler(CheckpointCommitted, _checkpoint_committed),
        _handler(CheckpointsDurable, _checkpoints_durable),
        _handler(CheckpointsUnsafe, _checkpoints_unsafe),
        _handler(CheckpointsRetired, _checkpoints_retired),
        _handler(CheckpointsDeleted, _checkpoints_deleted),
        _handler(CheckpointPinned, _checkpoint_pinned),
        _handler(RequestRefused, _request_refused),
        _handler(RequestsCleared, _requests_cleared),
    )
)
