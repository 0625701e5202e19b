"""What a driver and a worker say to each other about one attempt.

A message is a msgpack map behind a four-byte little-endian length, on a stream socket. The worker sends
`Started`, then any number of `Report`, `Saved` and `Asked`, each of which it waits to have answered by a `Verdict`,
and last `Ended`. A worker that dies says nothing: the executor says `Lost` for it.

Checkpoint bytes are not in here: the worker writes them to the storage, commits, and sends what it committed.
"""

from __future__ import annotations

from typing import NamedTuple, Union

import msgspec

from perdure.core.events import CheckpointInfo, Data, Decision, ErrorInfo, Outcome
from perdure.core.requests import AnyRequest


class AttemptKey(NamedTuple):
    """Names one attempt of one trial. A message under any other key than a trial's live one is stale."""

    trial: str
    attempt: int


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """Base of all messages."""


# --- driver to worker -----------------------------------------------------------------------------------------------


class RestorePoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The checkpoint an attempt starts from, and where the history goes on."""

    path: str
    """Absolute path of the checkpoint's directory; of the donor's, for a clone."""
    trial: str
    number: int
    iteration: int
    time_total_s: float = 0.0
    trusted: bool = False
    """Committed in this boot of this machine: it may be used before its digests are known."""


class Assignment(Message, frozen=True, kw_only=True, tag="assignment"):
    """Everything a worker needs to run one attempt."""

    trial: str
    attempt: int
    segment: int = 0
    name: str
    """The trial's name, for people."""
    number: int = 0
    tag: str = ""
    experiment: str
    experiment_path: str
    path: str
    """Absolute path of the trial's directory. Whoever runs the attempt makes it, before it is said to have started."""
    config: Data
    """JSON data; leaves that are not data are `{"$py": repr}` and come from `params.pkl` in the trial's directory."""
    resources: dict[str, float] = {}
    devices: tuple[str, ...] = ()
    """GPU ids to be made visible. With none, no GPU is visible if GPUs are managed."""
    hide_devices: bool = True
    """Set CUDA_VISIBLE_DEVICES even where `devices` is empty, so that a trial without a GPU sees none."""
    start: RestorePoint | None = None
    next_checkpoint: int = 0
    """Number of the next checkpoint folder."""
    iteration: int = 0
    """`training_iteration` to go on from (0 is from scratch)."""
    time_total_s: float = 0.0
    checkpoint_frequency: int = 0
    checkpoint_at_end: bool = False
    score_attribute: str | None = None
    durability: str = "default"
    log_to_file: tuple[str, str] | None = None
    label_output: bool = False
    """Without `log_to_file`: what the trial prints has its name before each line."""
    chdir: bool = True
    seed: int | None = None
    """Seeds `random`, and NumPy where it is loaded; None leaves them alone."""
    boot_id: str = ""


class Verdict(Message, frozen=True, kw_only=True, tag="verdict"):
    """The answer to a `Report`, a `Saved` or an `Asked`: it is journaled, and this is what to do next."""

    decision: Decision = Decision.CONTINUE
    save: bool = False
    """Save a checkpoint of the row just reported (class trainables), unless one was."""
    replaced: bool = False
    """The trial goes on as a clone of another: what it has become is not to be saved."""
    refused: str = ""
    """In answer to an `Asked`: why it was refused."""


class Stop(Message, frozen=True, kw_only=True, tag="stop"):
    """Sent to a worker that may be waiting for nothing: end this attempt at the next report (outcome INTERRUPTED)."""


class Exit(Message, frozen=True, kw_only=True, tag="exit"):
    """An idle worker that waits for another assignment is to leave."""


ToWorker = Union[Assignment, Verdict, Stop, Exit]


# --- worker to driver -----------------------------------------------------------------------------------------------


class Started(Message, frozen=True, kw_only=True, tag="started"):
    """The worker's process is up and about to run user code."""

    pid: int
    host: str
    process_start: float
    """Seconds since boot at which the process started, as the kernel tells it."""
    node_ip: str = ""


class Report(Message, frozen=True, kw_only=True, tag="report"):
    """A row, with the checkpoint that was committed for it if there is one. Waits for a `Verdict`."""

    iteration: int
    metrics: Data
    """JSON data, tagged where JSON lacks the value."""
    time_this_iter_s: float = 0.0
    time_total_s: float = 0.0
    time_since_restore_s: float = 0.0
    checkpoint: CheckpointInfo | None = None
    at: float
    done: bool = False
    """The user's own result said `done: True`: this is the last row."""


class Saved(Message, frozen=True, kw_only=True, tag="saved"):
    """A checkpoint was committed for the row reported last. Waits for a `Verdict`."""

    checkpoint: CheckpointInfo


class Asked(Message, frozen=True, kw_only=True, tag="asked"):
    """The user's code asks something of its experiment. Waits for a `Verdict`."""

    request: AnyRequest


class Ended(Message, frozen=True, kw_only=True, tag="ended"):
    """The attempt is over; the process leaves, or waits for another assignment."""

    outcome: Outcome
    error: ErrorInfo | None = None
    rejected: bool = False
    """The checkpoint in `Assignment.start` is damaged or gone; `error` names the file."""


class Notice(Message, frozen=True, kw_only=True, tag="notice"):
    """Something a person should know."""

    text: str


class Lost(Message, frozen=True, kw_only=True, tag="lost"):
    """Said by the executor: the process is gone without an `Ended`."""

    error: ErrorInfo


FromWorker = Union[Started, Report, Saved, Asked, Ended, Notice, Lost]
