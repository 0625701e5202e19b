"""What is true of an experiment now: the fold of its events, held in indexes.

`State` is plain data, so a snapshot is its JSON. Every index is there because something asks it at each event; none
is as long as the list of trials unless it holds trials. The agenda is what changed since the planner last looked:
goals stay in their own index until the event that fulfils them, so losing the agenda loses nothing (`rearm`).
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Sequence

import msgspec

from perdure.core import retention
from perdure.core.events import CheckpointInfo, Data, Decision, ErrorInfo, Reported, Source, Spec


class Status(str, enum.Enum):
    """Where a trial stands."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    TERMINATED = "TERMINATED"
    ERROR = "ERROR"

    @property
    def finished(self) -> bool:
        return self._value_ in ("TERMINATED", "ERROR")  # members of an enum take longer to look up


class Attempt(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """A trial's live attempt."""

    attempt: int
    start: Source | None = None
    devices: tuple[str, ...] = ()
    host: str = ""
    node_ip: str = ""
    pid: int = 0
    process_start: float = 0.0
    first_iteration: int = 0
    """`training_iteration` it went on from."""
    reading: bool = False
    """Its start checkpoint is held for it, until it has saved one of its own or is over."""


class Trial(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """One trial. Of a finished one the bulky fields are dropped (`let_go`); the journal has them."""

    id: str
    number: int
    name: str
    directory: str
    tag: str = ""
    config: Data | None = None
    searched: Data | None = None
    resources: dict[str, float] | None = None
    next_resources: dict[str, float] | None = None
    """What it is to have once its live attempt is over."""
    seed: int = 0

    status: Status = Status.PENDING
    segment: int = 0
    attempts: int = 0
    failures: int = 0
    iteration: int = 0
    """Of the newest row in the view."""
    judged: int = 0
    """The highest `training_iteration` of this segment that plugins have seen."""
    time_total_s: float = 0.0
    ran_s: float = 0.0
    """Seconds that its attempts ran, in all: unlike `time_total_s` it does not go back with a checkpoint."""
    last: Reported | None = None
    live: Attempt | None = None
    error: ErrorInfo | None = None

    checkpoints: dict[int, CheckpointInfo] = {}
    """Whole ones that are not retired, in the order they were saved."""
    undurable: Sequence[int] = ()
    """Numbers of those that are on their way to the disk, oldest first. There may be thousands: a list, if any."""
    unsafe: tuple[int, ...] = ()
    """Numbers of those that the disk refused."""
    pinned: tuple[int, ...] = ()
    next_checkpoint: int = 0
    rejected: int = 0
    """How many of its checkpoints turned out to be unusable."""

    start: Source | None = None
    """Where the next attempt starts, if not at the trial's own latest checkpoint: a clone's donor."""
    donor: Source | None = None
    """The checkpoint this trial was cloned from, held until the clone has a durable one of its own."""
    from_scratch: bool = False
    """Attempts start without a checkpoint until the trial has saved a new one, because a restore said so."""

    decision: Decision | None = None
    """STOP or PAUSE that was decided and has not come true yet."""
    decided_at: int = 0
    """The `training_iteration` at which it was decided; 0 takes effect at any report."""
    by_person: bool = False
    """The decision is a person's pause; the scheduler has a say in the row that it is told with."""
    owes_save: bool = False
    """The decision came with a promise to save first (`checkpoint_at_end`, a pause)."""
    skipped: bool = False
    """Paused by a restore that was told to leave unfinished trials alone."""
    held: bool = False
    """A person paused it, and only a person lets it go on."""
    resume: bool = False
    """A paused trial may go on as soon as it has paused, and nobody holds it."""
    owed: tuple[int, ...] = ()
    """Iterations of this segment at which it saves when it gets there again: a plugin had asked for a checkpoint of
    that row which was not saved, or turned out to be damaged."""
    round: int = 0
    """The round of finished trials that it was last run again in, or was created in; see `State.round`."""

    @property
    def latest(self) -> CheckpointInfo | None:
        """The newest whole checkpoint."""
        return next(reversed(self.checkpoints.values())) if self.checkpoints else None

    @property
    def set_aside(self) -> bool:
        """Whether it is none of the scheduler's business for now."""
        return self.skipped or self.held

    def is_durable(self, number: int) -> bool:
        """Whether the journal says that this checkpoint has reached the disk, digests and all."""
        return number not in self.undurable and number not in self.unsafe


class Agenda(msgspec.Struct):
    """What changed since the planner last looked. Dictionaries serve as ordered sets."""

    stop: dict[str, None] = {}
    retention: dict[str, None] = {}
    released: bool = False
    """Some of `retention` is there because something let a checkpoint go, not only because newer ones were saved."""
    durable: dict[str, Source] = {}
    delete: dict[str, Source] = {}
    finished: dict[str, None] = {}
    """Trials that have come to their end and nobody was told yet; they are whole until then (`let_go`)."""


class State(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One experiment."""

    name: str = ""
    trainable: str = ""
    version: str = ""
    spec: Spec = msgspec.field(default_factory=Spec)
    pickles: dict[str, str] = {}
    definition: Data = {}
    """What is asked for, as data."""
    imports: tuple[str, ...] = ()
    """Directories from which the modules that `pickles` name were last imported."""
    epoch: int = 0
    capacity: dict[str, float] = {}
    used: dict[str, float] = {}
    created: int = 0
    """Trials created so far."""
    trials: dict[str, Trial] = {}
    ahead: dict[str, None] = {}
    """Ids of the trials that wait and have run before: they go on before a new one starts."""
    pending: dict[str, None] = {}
    """Ids of the trials that wait for their first attempt, the next one first."""
    live: dict[str, None] = {}
    paused: dict[str, None] = {}
    wakeable: dict[str, None] = {}
    """Ids of the paused trials that the scheduler may wake: nobody has set them aside."""
    held: dict[str, None] = {}
    """Ids of the trials that a person paused."""
    counts: dict[str, int] = {}
    """Trials by status."""
    answered: dict[str, None] = {}
    """Ids of the control requests that were answered and may be read once more."""
    undurable: dict[str, Source] = {}
    deletable: dict[str, Source] = {}
    in_use: dict[str, int] = {}
    """Checkpoints that a clone or a starting attempt still needs, by how many."""
    searcher_since: int = 0
    """So many trials had been created when the searcher became another one."""
    search_ended: bool = False
    stopping: str | None = None
    """Why the experiment is to stop."""
    resumable: bool = False
    """With `stopping`: unfinished trials are left for a restore."""
    finished: bool = False
    ran_before_s: float = 0.0
    """Running time of earlier sessions."""
    ran_s: float = 0.0
    """Running time of this session, as last journaled."""
    round: int = 0
    """How often finished trials were run again by a restore; 0 for never."""
    round_open: bool = False
    """The last of these rounds has not come to its end."""
    keep_finished: bool = False
    """Hold finished trials whole: for a restore that may run some of them again."""
    agenda: Agenda = msgspec.field(default_factory=Agenda)

    @property
    def unfinished(self) -> bool:
        """Whether any trial waits, runs or is paused."""
        return bool(self.ahead or self.pending or self.live or self.paused)


@functools.lru_cache(maxsize=256)
def shared_resources(items: tuple[tuple[str, float], ...]) -> dict[str, float]:
    """Return one dictionary for all trials that have the same; it is never changed."""
    return dict(items)


def key(source: Source) -> str:
    """Return the index key of a checkpoint."""
    return f"{source.trial}/{source.number}"


def is_there(state: State, source: Source | None) -> bool:
    """Whether this checkpoint can be read: it was not retired, and did not turn out to be damaged."""
    return source is not None and source.number in state.trials[source.trial].checkpoints


def let_go(state: State, trial: Trial) -> None:
    """Drop what nobody asks of a finished trial any more, so that it costs less than 1 KB."""
    state.agenda.finished.pop(trial.id, None)
    if state.keep_finished:
        return
    trial.config = None
    trial.searched = None
    trial.resources = None
    trial.last = None
    trial.tag = ""
    thin_out(state, trial)


def thin_out(state: State, trial: Trial) -> None:
    """Of a finished trial's checkpoints, list only the latest and those that a clone still needs.

    Not before the last of them is on the disk and those that the policy does not keep are retired.
    """
    latest = trial.latest
    if trial.pinned:  # what was pinned is to be found when it no longer is
        return
    if trial.config is None and latest is not None and not trial.undurable and not unneeded(state, trial):
        trial.checkpoints = {
            number: info
            for number, info in trial.checkpoints.items()
            if info is latest or f"{trial.id}/{number}" in state.in_use
        }


def in_use_of(state: State, trial: Trial) -> set[int]:
    """Return the numbers of this trial's checkpoints that somebody reads or pinned."""
    if not state.in_use and not trial.pinned:
        return set()
    used = {number for number in trial.checkpoints if f"{trial.id}/{number}" in state.in_use}
    return used.union(trial.pinned)


def unneeded(state: State, trial: Trial) -> list[int]:
    """Return the numbers of this trial's checkpoints that may be retired now."""
    policy = retention.policy_of(state.spec)
    if isinstance(policy, retention.KeepAll):
        return []
    infos = list(trial.checkpoints.values())
    durable = trial.checkpoints.keys() - {*trial.undurable, *trial.unsafe}
    # The oldest on its way to the disk stays until it is there: it is the one that is being synced.
    in_use = in_use_of(state, trial).union(trial.undurable[:1])
    return retention.to_retire(policy, infos, durable=durable, in_use=in_use)


def rearm(state: State) -> None:
    """Put every unmet goal on the agenda again, as after a replay."""
    state.wakeable = {trial: None for trial in state.paused if not state.trials[trial].set_aside}
    state.agenda = Agenda(
        stop=dict.fromkeys(state.live) if state.stopping else {},
        retention=dict.fromkeys(trial.id for trial in state.trials.values() if len(trial.checkpoints) > 1),
        durable=dict(state.undurable),
        delete=dict(state.deletable),
        finished=state.agenda.finished,
    )
