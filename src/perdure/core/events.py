"""What has happened: the facts an experiment is made of.

Every event is journaled, and the state of an experiment is nothing but the fold of its events
(`transitions.apply`). Events are named in the past tense and carry all that the fold needs: times, ids, seeds and
the answers of searchers, schedulers and stoppers arrive as fields, so folding the same events again gives the same
state on any machine, with any plugin behind the port.

Times `at` are Unix seconds and are for display only; durations are measured by whoever lived them and arrive as
fields of their own.
"""

from __future__ import annotations

import enum
from typing import Union

import msgspec

Data = dict[str, object]
"""A mapping of JSON data; what JSON lacks (NaN, tuples, objects) is tagged, see `journal.values`."""


class Decision(str, enum.Enum):
    """What a trial is told in answer to a report."""

    CONTINUE = "continue"
    PAUSE = "pause"
    STOP = "stop"


class Decider(str, enum.Enum):
    """Who ended a trial with the row that is its last."""

    EARLIER = "earlier"  # it had been decided before this row: by the scheduler because of others, or by a person
    STOPPER = "stopper"
    TRIAL = "trial"  # its own last word
    SCHEDULER = "scheduler"
    EXPERIMENT = "experiment"  # which is to end altogether


class Outcome(str, enum.Enum):
    """How an attempt ended."""

    FINISHED = "finished"  # the user's code came to its own end
    STOPPED = "stopped"  # it was told STOP and did
    PAUSED = "paused"  # it was told PAUSE and did
    FAILED = "failed"  # the user's code raised
    LOST = "lost"  # its process died, or was killed for being silent
    REJECTED = "rejected"  # the checkpoint it was to start from is damaged or gone; not the trial's fault
    INTERRUPTED = "interrupted"  # the driver stopped or died; not the trial's fault


class Source(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Names one checkpoint of one trial: where an attempt starts, or what a clone was made from."""

    trial: str
    number: int


class CheckpointInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What the core knows of one committed checkpoint. Its bytes never pass through the driver."""

    number: int
    directory: str
    attempt: int
    segment: int = 0
    iteration: int
    time_total_s: float = 0.0
    nbytes: int = 0
    boot_id: str = ""
    score: float | None = None
    """The value of `checkpoint_score_attribute` in the row it was saved with."""
    digested: bool = False
    """The manifest itself already carries every digest, so a restore can be checked at once."""


class ErrorInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An error as text, so that reading history never unpickles anything."""

    kind: str
    message: str = ""
    traceback: str = ""
    """The user's own traceback, without perdure's frames."""
    exit_code: int | None = None
    signal: int | None = None
    out_of_memory: bool = False
    """The kernel ended the process for want of memory."""


class Action(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a scheduler (or a person) decided about a trial other than the one that reported."""

    trial: str
    decision: Decision
    config: Data | None = None
    """With `donor`: the trial's next attempt starts from the donor's checkpoint with this configuration, in a new
    segment."""
    donor: Source | None = None
    resources: dict[str, float] | None = None
    """What the trial has from its next attempt on."""
    resume: bool = False
    """A paused trial may run again (decision CONTINUE)."""
    hold: bool | None = None
    """A person holds the trial (decision PAUSE): it stays paused, whatever else happens. False: lets it go on."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", gc=False):
    """Base of all events. Data has no cycles, so the garbage collector need not look: decoding takes half the time."""

    at: float


# --- the experiment -------------------------------------------------------------------------------------------------


class ExperimentCreated(Event, frozen=True, kw_only=True, tag="experiment_created"):
    """A new experiment. `spec` holds everything about it that is data."""

    name: str
    trainable: str
    spec: Spec
    version: str
    pickles: dict[str, str] = {}
    """File name to xxh3 digest of the pickles the experiment needs to go on."""
    definition: Data = {}
    """What was asked for, as data that people read and that a restore is compared with; see `perdure.changes`."""


class Spec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The limits the core enforces by itself."""

    metric: str | None = None
    mode: str | None = None
    max_concurrent: int = 0
    time_budget_s: float | None = None
    max_failures: int = 0
    fail_fast: bool = False
    num_to_keep: int | None = None
    score_attribute: str | None = None
    score_order: str = "max"
    num_samples: int = 1
    seed: int | None = None
    restart_without_checkpoint: bool = False


class SpecChanged(Event, frozen=True, kw_only=True, tag="spec_changed"):
    """A restore asked for other limits; they hold from here on."""

    spec: Spec


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One part of what was asked for, as data; None where there was, or is, no such part."""

    what: str
    before: object = None
    after: object = None


class DefinitionChanged(Event, frozen=True, kw_only=True, tag="definition_changed"):
    """A restore, or the script that started the experiment, asked for something else: it holds from here on."""

    changes: tuple[Change, ...]
    """Empty where the journal is older than such records: then nobody knows what was asked for before."""
    definition: Data
    """All that is asked for now."""
    trainable: str
    """The name of the trainable."""
    spec: Spec
    pickles: dict[str, str]
    """Digests by file name of what is stored of it."""


class DefinitionStored(Event, frozen=True, kw_only=True, tag="definition_stored"):
    """The trainable, or what else was asked for, was given anew; what is stored of it replaces what was."""

    pickles: dict[str, str]
    """Digests by file name."""


class DriverStarted(Event, frozen=True, kw_only=True, tag="driver_started"):
    """A driver took the experiment over. Attempts of earlier drivers are over, whatever they did last."""

    epoch: int
    host: str
    pid: int
    process_start: float
    boot_id: str = ""
    capacity: dict[str, float] = {}
    imports: tuple[str, ...] = ()
    """Directories from which the driver's script imported modules of its own; empty where a driver ran no trials."""


class DriverStopped(Event, frozen=True, kw_only=True, tag="driver_stopped"):
    """The driver ended in good order. `finished`: there is nothing left to do."""

    finished: bool
    reason: str = ""
    ran_s: float = 0.0
    """Seconds this session ran, from its driver's monotonic clock."""


class TimePassed(Event, frozen=True, kw_only=True, tag="time_passed"):
    """Running time of this session so far, journaled now and then so that `time_budget_s` counts over crashes."""

    ran_s: float


class StopRequested(Event, frozen=True, kw_only=True, tag="stop_requested"):
    """The whole experiment is to stop: `reason` is "time_budget", "stopper", "fail_fast", "interrupt", ...

    `resumable`: unfinished trials stay unfinished, to be continued by a restore; otherwise they are TERMINATED.
    """

    reason: str
    resumable: bool = False
    request: str = ""
    """Id of the control request it answers."""


class SearchEnded(Event, frozen=True, kw_only=True, tag="search_ended"):
    """The searcher has no further configuration to offer."""


class Noticed(Event, frozen=True, kw_only=True, tag="noticed"):
    """Something a person should know, said once; it changes no state."""

    text: str
    trial: str | None = None


# --- a trial --------------------------------------------------------------------------------------------------------


class TrialCreated(Event, frozen=True, kw_only=True, tag="trial_created"):
    """The searcher suggested a configuration; the trial is PENDING."""

    trial: str
    number: int
    name: str
    directory: str
    config: Data
    searched: Data = {}
    """The searched parameters, flattened with "/": what names the trial and what tables show."""
    tag: str = ""
    resources: dict[str, float] = {}
    seed: int = 0


class AttemptPlanned(Event, frozen=True, kw_only=True, tag="attempt_planned"):
    """A process is about to be started for the trial. Journaled before it is, so no attempt number is used twice."""

    trial: str
    attempt: int
    start: Source | None = None
    """The checkpoint it starts from; None is from scratch."""
    segment: int = 0
    iteration: int = 0
    """`training_iteration` of `start`: rows after it are superseded once the attempt has started."""
    time_total_s: float = 0.0
    devices: tuple[str, ...] = ()
    """GPU ids."""


class AttemptStarted(Event, frozen=True, kw_only=True, tag="attempt_started"):
    """The attempt's process is up."""

    trial: str
    attempt: int
    host: str
    pid: int
    process_start: float
    """The kernel's start time of that process, so that a reused pid is never mistaken for it."""
    node_ip: str = ""
    iteration: int = 0
    """`training_iteration` it goes on from: rows after it are superseded."""


class Reported(Event, frozen=True, kw_only=True, tag="reported"):
    """A row of a trial, judged. One record holds the row, its checkpoint and every decision that followed."""

    trial: str
    attempt: int
    segment: int = 0
    iteration: int
    metrics: Data
    time_this_iter_s: float = 0.0
    time_total_s: float = 0.0
    time_since_restore_s: float = 0.0
    checkpoint: CheckpointInfo | None = None
    decision: Decision = Decision.CONTINUE
    judged: bool = True
    """False where this key had been judged before a rollback: plugins did not see it again."""
    actions: tuple[Action, ...] = ()
    save: bool = False
    """A callback asked for a checkpoint of this row (`should_checkpoint`)."""
    agreed: bool = False
    """A person had paused the trial, and with this row the scheduler pauses it, too."""
    stopped_by: Decider | None = None
    """With decision STOP: who decided so first. The scheduler was shown the row if it was SCHEDULER or EXPERIMENT. None
    in journals from before it was recorded."""
    adopted: bool = False
    """Its checkpoint was found committed after a crash, and the row comes from the manifest."""


class AttemptEnded(Event, frozen=True, kw_only=True, tag="attempt_ended"):
    """The attempt is over: its process is gone, or idle and free for another."""

    trial: str
    attempt: int
    outcome: Outcome
    error: ErrorInfo | None = None
    rejected: Source | None = None
    """With REJECTED: the checkpoint that could not be used."""
    ran_s: float = 0.0
    """Seconds it ran, by the driver's monotonic clock."""


class TrialActed(Event, frozen=True, kw_only=True, tag="trial_acted"):
    """A decision about a trial that no report caused: a scheduler's on completion, or a person's."""

    action: Action
    more: tuple[Action, ...] = ()
    """What was decided along with it, as one."""
    request: str = ""
    """Id of the control request it answers; or `transitions.SKIPPED`."""


class TrialRequeued(Event, frozen=True, kw_only=True, tag="trial_requeued"):
    """A restore was told to run this trial again: from its latest checkpoint, or from scratch."""

    trial: str
    from_scratch: bool = False
    round: int = 0
    """For a trial that was TERMINATED: which asking for finished trials it follows. One that was cut short and is
    asked again is the same round, so a trial that has come to its end in it is left alone."""


# --- checkpoints: committed -> durable -> retired -> deleted --------------------------------------------------------


class CheckpointCommitted(Event, frozen=True, kw_only=True, tag="checkpoint_committed"):
    """A checkpoint saved in answer to a verdict, for a row already journaled."""

    trial: str
    checkpoint: CheckpointInfo


class CheckpointsDurable(Event, frozen=True, kw_only=True, tag="checkpoints_durable"):
    """Bytes, manifest and digests of these have reached the disk."""

    items: tuple[Source, ...]


class CheckpointsUnsafe(Event, frozen=True, kw_only=True, tag="checkpoints_unsafe"):
    """The disk refused these: they can be read now, and nobody knows whether they would survive a power cut."""

    items: tuple[Source, ...]


class CheckpointsRetired(Event, frozen=True, kw_only=True, tag="checkpoints_retired"):
    """These are no longer needed. Journaled before a byte is removed."""

    items: tuple[Source, ...]
    request: str = ""
    """Id of the control request it answers."""


class CheckpointsDeleted(Event, frozen=True, kw_only=True, tag="checkpoints_deleted"):
    """Nothing of these is left on the storage."""

    items: tuple[Source, ...]


class CheckpointPinned(Event, frozen=True, kw_only=True, tag="checkpoint_pinned"):
    """A person said that this one is to be kept (or no longer), whatever the policy says."""

    item: Source
    pinned: bool = True
    request: str = ""
    """Id of the control request it answers."""


# --- requests of other processes ------------------------------------------------------------------------------------


class RequestRefused(Event, frozen=True, kw_only=True, tag="request_refused"):
    """A control request that cannot be met. One that can is answered by the very event that meets it."""

    request: str
    reason: str


class RequestsCleared(Event, frozen=True, kw_only=True, tag="requests_cleared"):
    """The files of these answered requests are gone for good, so nobody can read them again."""

    requests: tuple[str, ...]


AnyEvent = Union[
    ExperimentCreated,
    SpecChanged,
    DefinitionChanged,
    DefinitionStored,
    DriverStarted,
    DriverStopped,
    TimePassed,
    StopRequested,
    SearchEnded,
    Noticed,
    TrialCreated,
    AttemptPlanned,
    AttemptStarted,
    Reported,
    AttemptEnded,
    TrialActed,
    TrialRequeued,
    CheckpointCommitted,
    CheckpointsDurable,
    CheckpointsUnsafe,
    CheckpointsRetired,
    CheckpointsDeleted,
    CheckpointPinned,
    RequestRefused,
    RequestsCleared,
]
"""The closed set of events: what a journal may hold."""
