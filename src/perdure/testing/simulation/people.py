"""The people who ask for something, what they are told, and whether it holds.

They put their requests there by the product's own door, as processes of their own that may die on the way. Where nobody
drives they answer as the product has them do, see `World.stand_in`. `Answers` is what the journal says of requests, by
a few lines of its own and not by the core.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from perdure.control.door import CONTROL, Door, decode_request
from perdure.core.events import (
    AnyEvent,
    AttemptPlanned,
    CheckpointCommitted,
    CheckpointPinned,
    CheckpointsRetired,
    Decision,
    DriverStarted,
    Reported,
    RequestRefused,
    RequestsCleared,
    Source,
    StopRequested,
    TrialActed,
    TrialCreated,
)
from perdure.core.requests import (
    AnyRequest,
    Collect,
    PauseTrials,
    Pin,
    ResumeTrials,
    StopExperiment,
    StopTrials,
)
from perdure.core.state import State, Trial
from perdure.errors import StorageError
from perdure.testing.simulation.fate import WorkerDeath
from perdure.testing.simulation.invariants import BrokenPromiseError
from perdure.testing.simulation.requests import Wish

if TYPE_CHECKING:
    from perdure.testing.simulation.run import World

LATE_S = 6.0
"""A driver that lives answers sooner: it looks once a second, between two turns."""
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_ANSWERS = (TrialActed, CheckpointPinned, CheckpointsRetired, StopRequested, RequestRefused)
_OF_INTEREST = frozenset(
    (*_ANSWERS, RequestsCleared, TrialCreated, AttemptPlanned, Reported, CheckpointCommitted, DriverStarted)
)


class Answers:
    """What the journal says about requests."""

    def __init__(self) -> None:
        self.epoch = 0
        self.trials: dict[int, str] = {}
        """Their ids by number."""
        self.answered: dict[str, int] = {}
        """The sequence number of the record that answers each request there ever was."""
        self.twice = ""
        """A request that was answered twice."""
        self.held: set[str] = set()
        """Trials that somebody paused and nobody let go; they may have ended since."""
        self.stopped: set[str] = set()
        """Trials that somebody stopped."""
        self._ends = False
        """Somebody has ended the session."""
        self._rows: dict[str, int] = {}
        """Rows of those since they were told to stop, or to pause."""
        self._owe: set[str] = set()
        """Trials that are to save before they end: they may run again for it."""

    def fold(self, event: AnyEvent, sequence: int) -> None:
        """Take in the record of that number."""
        match event:
            case TrialActed():
                self._answer(event.request, sequence)
                self._acted(event)
            case CheckpointPinned() | CheckpointsRetired() | RequestRefused():
                self._answer(event.request, sequence)
            case StopRequested():
                self._answer(event.request, sequence)
                self._ends = True
            case AttemptPlanned():
                self._planned(event.trial)
            case Reported():
                self._reported(event)
            case CheckpointCommitted():
                self._owe.discard(event.trial)
            case TrialCreated():
                self.trials[event.number] = event.trial
            case DriverStarted():
                self.epoch = event.epoch
                self._ends = False

    def _answer(self, request: str, sequence: int) -> None:
        if request in self.answered:
            self.twice = request
        if request:
            self.answered[request] = sequence

    def _acted(self, event: TrialActed) -> None:
        for action in (event.action, *event.more):
            if action.hold:
                self.held.add(action.trial)
            elif action.hold is not None or action.decision is Decision.STOP:
                self.held.discard(action.trial)
            if event.request:
                self._rows[action.trial] = 0
                if action.decision is Decision.STOP:
                    self.stopped.add(action.trial)

    def _planned(self, trial: str) -> None:
        if self._ends:
            raise BrokenPromiseError(f"trial {trial} starts, and somebody has ended the session")
        if trial in self.held:
            raise BrokenPromiseError(f"trial {trial} goes on, and somebody has paused it")
        if trial in self.stopped and trial not in self._owe:
            raise BrokenPromiseError(f"trial {trial} runs again, and somebody has stopped it")

    def _reported(self, event: Reported) -> None:
        trial = event.trial
        new = event.judged and not event.adopted  # what is adopted was done before
        if new and (trial in self.held or trial in self.stopped):
            self._rows[trial] += 1
            if self._rows[trial] > 1:  # it is told so with the next one
                raise BrokenPromiseError(f"trial {trial} was paused or stopped, and reports as if it were not: {event}")
        if event.save and event.checkpoint is None and event.decision is not Decision.CONTINUE:
            self._owe.add(trial)
        else:
            self._owe.discard(trial)


class People:
    """All who ask for something, in one experiment."""

    def __init__(self, world: World, path: str) -> None:
        self._world = world
        self._folder = f"{path}/{CONTROL}"
        self._path = path
        self._door = Door(world.machine.path(path))
        self._wishes = [wish for wish in world.faults.requests if not wish.away]
        self._away = [wish for wish in world.faults.requests if wish.away]
        self._posted: set[str] = set()
        """Requests whose makers know that they are there to stay."""
        self._since: dict[str, float] = {}
        """Since when, by the clock of the session, each of these has waited for its answer."""
        self._before: bytes | None = None
        self._sequence = 0
        self.answers = Answers()

    # --- what they do -----------------------------------------------------------------------------------------------

    def come(self) -> None:
        """Ask for what it is time to ask for."""
        while self._wishes and self._wishes[0].at <= self._world.events:
            self.ask(self._wishes.pop(0))

    def next_away(self, *, over: bool) -> Wish | None:
        """Return what is asked next where nobody drives, if it is time; `over`: nobody will any more."""
        if over:
            self._wishes.clear()  # that was to be asked of those who drive
        if self._away and (over or self._away[0].at <= self._world.events):
            return self._away.pop(0)
        return None

    def see_to(self, state: State) -> None:
        """Let go of what is held, or stop it, or the session, where that is all that is left; and lose patience."""
        now, well = self._world.machine.clock(), not (self._world.fate.failed or self._world.disk.lied)
        if well and any(now - since > LATE_S for since in self._since.values()):
            raise BrokenPromiseError(f"a driver lives, and nobody answers {sorted(self._since)}")
        if state.held and not (state.live or state.ahead or state.pending or self._since):
            what = self._world.rng.choice(("resume", "resume", "resume", "stop", "end"))
            self.ask(Wish(0, what, tuple(sorted(state.trials[trial].number for trial in state.held))))

    def ask(self, wish: Wish) -> bool:
        """Put a request there. Return whether whoever asked lives."""
        world = self._world
        if not world.disk.is_dir(self._path):
            return False  # there is no such experiment
        if world.tell:
            print(f"--- somebody asks: {wish}")
        try:
            with world.fate.worker(wish.dies):
                self._post(wish)
        except WorkerDeath:
            return False
        except (StorageError, OSError) as error:
            world.disk.full = False
            if not world.fate.failed:
                raise BrokenPromiseError(f"a request could not be made, and the storage is well: {error!r}") from error
        return True

    def _post(self, wish: Wish) -> None:
        if wish.what == "nonsense":
            self._scribble()
            return
        name = self._door.post(self._request(wish))
        self._posted.add(name)
        self._since[name] = self._world.machine.clock()

    def _request(self, wish: Wish) -> AnyRequest:
        trials = tuple(self.answers.trials.get(number, f"nobody{number}") for number in wish.trials)
        match wish.what:
            case "stop":
                return StopTrials(trials=trials)
            case "pause":
                return PauseTrials(trials=trials)
            case "resume":
                return ResumeTrials(trials=trials)
            case "end":
                return StopExperiment(epoch=self.answers.epoch)
            case "collect":
                saved = self._world.ledger.facts.checkpoints
                items = [Source(trial=trial, number=number) for trial in trials for number in saved.get(trial, ())]
                return Collect(items=tuple(items))
            case _:
                return Pin(trial=trials[0], number=None if wish.at % 2 else 0, pinned=wish.what == "pin")

    def _scribble(self) -> None:
        """Leave what is no request, by no door."""
        disk = self._world.disk
        disk.makedirs(self._folder, exist_ok=True)
        descriptor = disk.open(f"{self._folder}/{self._world.count():08x}.json", _NEW)
        disk.write(descriptor, b'{"type":"sto')
        disk.close(descriptor)

    # --- what they see ----------------------------------------------------------------------------------------------

    def reopened(self, events: Iterable[AnyEvent], state: State, *, power_cut: bool, synced: int) -> None:
        """A driver has read the journal: `events` that it had not been seen to write, or all after a power cut."""
        old = self.answers
        if power_cut:
            self.answers, self._sequence = Answers(), 0
        for event in events:
            self._fold(event)
        if power_cut and not self._world.disk.lied:
            for name, sequence in old.answered.items():
                if sequence <= synced and name not in self.answers.answered:
                    raise BrokenPromiseError(f"the answer to request {name} had reached the disk and is gone")
        waiting = self._posted - self.answers.answered.keys()
        self._since = {name: 0.0 for name in waiting if self._world.disk.exists(f"{self._folder}/{name}.json")}
        self._check_held(state)

    def will_hear(self, event: AnyEvent, state: State) -> None:
        """A driver is about to take an event into the state: an answer is the one that the request calls for."""
        request = getattr(event, "request", "")
        if request and isinstance(event, _ANSWERS):
            self._check_answer(event, request, state)
            if isinstance(event, RequestRefused):
                self._before = _all_but_answers(state)

    def heard(self, state: State) -> None:
        """It has: a refusal changes nothing."""
        if self._before is not None:
            before, self._before = self._before, None
            if _all_but_answers(state) != before:
                raise BrokenPromiseError("a request was refused, and changed something")

    def journaled(self, events: Iterable[AnyEvent], state: State) -> None:
        """A batch was written: whoever asked can read the answer."""
        for event in events:
            self._fold(event)
            if isinstance(event, RequestsCleared):
                self._check_cleared(event)
        self._check_held(state)

    def _fold(self, event: AnyEvent) -> None:
        self._sequence += 1
        if type(event) in _OF_INTEREST:
            self.answers.fold(event, self._sequence)
            self._since.pop(getattr(event, "request", ""), None)
            if self.answers.twice and not self._world.disk.lied:  # else what had been removed for good may be back
                raise BrokenPromiseError(f"request {self.answers.twice} is answered twice: {event}")

    def removed(self, path: str, synced: int) -> None:
        """A file is removed: no request whose answer a power cut could take back."""
        folder, _, last = path.rpartition("/")
        name, dot, kind = last.partition(".")
        if folder == self._folder and name and dot and kind == "json" and not self._world.disk.lied:
            sequence = self.answers.answered.get(name)
            if sequence is None:
                raise BrokenPromiseError(f"request {name} is removed, and was not answered")
            if sequence > synced:
                raise BrokenPromiseError(f"request {name} is removed, and a power cut can undo that it was answered")

    # --- what is checked --------------------------------------------------------------------------------------------

    def _check_held(self, state: State) -> None:
        """The trials that a person has paused, and nobody let go, are those that the driver knows of."""
        held = {trial for trial in self.answers.held if not state.trials[trial].status.finished}
        if held != state.held.keys():
            raise BrokenPromiseError(f"people hold {sorted(held)}, and the driver holds {sorted(state.held)}")

    def _check_cleared(self, event: RequestsCleared) -> None:
        for name in event.requests:
            if self._world.disk.exists(f"{self._folder}/{name}.json"):
                raise BrokenPromiseError(f"request {name} is said to be gone for good, and is there")

    def _check_answer(self, event: AnyEvent, name: str, state: State) -> None:
        content = self._world.disk.peek(f"{self._folder}/{name}.json")
        if content is None:
            raise BrokenPromiseError(f"a request {name} is answered that is not there: {event}")
        try:
            request: AnyRequest | None = decode_request(content)
        except msgspec.MsgspecError:
            request = None
        refused = isinstance(event, RequestRefused)
        if not refused and not _does(event, request):
            raise BrokenPromiseError(f"{request} is answered by {event}")
        if isinstance(event, CheckpointsRetired) and any(_is_needed(state.trials[it.trial], it) for it in event.items):
            raise BrokenPromiseError(f"{event} takes what a trial needs that has not ended, in {state}")
        if refused not in _may_be_refused(request, state, saves=self._world.workload.saves):
            raise BrokenPromiseError(f"{request} is answered by {event}, in {state}")

    @property
    def wait(self) -> bool:
        """Whether any request lies there that makes sense, answered or not."""
        return any(name.endswith(".json") for name in self._world.disk.names(self._folder))

    def check_end(self, records: Iterable[AnyEvent]) -> None:
        """All is over, and whatever there was to be asked was asked: each request is in the journal once."""
        if self._world.disk.lied:
            return  # and may have lost them
        there = Answers()
        for sequence, event in enumerate(records, 1):
            there.fold(event, sequence)
        if missing := self._posted - there.answered.keys():
            raise BrokenPromiseError(f"nobody has answered {sorted(missing)}")
        if there.answered != self.answers.answered:
            raise BrokenPromiseError("the journal's answers are not those that people were given")


def _all_but_answers(state: State) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(state, answered={}))


def _does(event: AnyEvent, request: AnyRequest | None) -> bool:
    """Whether an event does what is asked, and no more."""
    match request, event:
        case StopTrials(), TrialActed():
            return _acts(event, request.trials, Decision.STOP, None)
        case PauseTrials(), TrialActed():
            return _acts(event, request.trials, Decision.PAUSE, True)
        case ResumeTrials(), TrialActed():
            return _acts(event, request.trials, Decision.CONTINUE, False)
        case StopExperiment(), StopRequested():
            return event.resumable
        case Pin(), CheckpointPinned():
            return (event.item.trial, event.pinned) == (request.trial, request.pinned)
        case Collect(), CheckpointsRetired():
            return set(event.items) <= set(request.items)
        case _:
            return False


def _acts(event: TrialActed, trials: tuple[str, ...], decision: Decision, hold: bool | None) -> bool:
    done = [(action.trial, action.decision, action.hold) for action in (event.action, *event.more)]
    return done == [(trial, decision, hold) for trial in trials]


def _may_be_refused(request: AnyRequest | None, state: State, *, saves: bool) -> tuple[bool, ...]:
    """Return whether a request is refused in this state, or both where that is a longer story."""
    match request:
        case None:
            return (True,)
        case StopExperiment():
            return (request.epoch != state.epoch,)
        case StopTrials() | PauseTrials() | ResumeTrials():
            trials = [state.trials.get(trial) for trial in request.trials]
            if any(trial is None or trial.status.finished for trial in trials):
                return (True,)
            if isinstance(request, ResumeTrials):
                return (any(trial not in state.held for trial in request.trials),)
            if isinstance(request, StopTrials):
                return (False,)
            return (any(_would_lose(trial, saves=saves) for trial in trials if trial is not None),)
        case _:
            return (False, True)


def _would_lose(trial: Trial, *, saves: bool) -> bool:
    """Whether a trial cannot be paused: it is on its way to its end, or would lose all that it has done."""
    return trial.decision is Decision.STOP or (trial.live is not None and not trial.checkpoints and not saves)


def _is_needed(trial: Trial, item: Source) -> bool:
    """Whether a trial may need this checkpoint to go on: the newest one, or the newest that is on the disk."""
    numbers = list(trial.checkpoints)
    durable = [number for number in numbers if trial.is_durable(number)]
    return not trial.status.finished and item.number in (*numbers[-1:], *durable[-1:])
