"""What happened to one trial: what the core knows of it, its attempts, and the rows that count."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from perdure.checkpoint import Checkpoint
from perdure.core.events import CheckpointInfo, Data, Decision, ErrorInfo, Outcome, Reported, Source
from perdure.core.state import Status, Trial
from perdure.history.rows import RowSource
from perdure.journal.values import dict_from_data, has_objects
from perdure.rows import RowOrigin, expand_row, leaf
from perdure.trial_view import TrialView


class AttemptHistory(msgspec.Struct, gc=False):
    """One attempt of a trial."""

    number: int
    segment: int
    start: Source | None
    config: Data
    planned_at: float
    started_at: float | None = None
    host: str = ""
    node_ip: str = ""
    pid: int = 0
    iteration: int = 0
    """`training_iteration` it went on from."""
    start_segment: int = 0
    """The segment of the row it went on from: an earlier one than its own, for a clone or what went back behind one."""
    ended_at: float | None = None
    outcome: Outcome | None = None
    error: ErrorInfo | None = None

    def origin(self, trial_id: str, config: Mapping[str, Any]) -> RowOrigin:
        """Return what its rows have in common; `config` is its decoded configuration."""
        return RowOrigin(
            trial_id=trial_id,
            config=config,
            pid=self.pid,
            hostname=self.host,
            node_ip=self.node_ip,
            iteration=self.iteration,
        )


class LineageStep(NamedTuple):
    """One stretch of a trial: with which configuration it trained, and what it began with."""

    segment: int
    donor: str | None
    """The id of the trial whose checkpoint it began with; None for its own, or none."""
    checkpoint: int | None
    """The number of that checkpoint of the donor's."""
    iteration: int
    """`training_iteration` of what it began with; 0 is from scratch."""
    config: Any


class TrialHistory:
    """One trial: what the core knows of it, its attempts, and its rows."""

    __slots__ = ("_core", "_source", "attempts", "created_at", "index", "last")

    def __init__(self, core: Trial, source: RowSource, *, created_at: float) -> None:
        self._core = core
        self._source = source
        self.created_at = created_at
        self.attempts: list[AttemptHistory] = []
        self.index = source.new_index()
        self.last: Reported | None = None
        """The last row of the view; None before the first, and right after a rollback (see `last_row`)."""

    @property
    def id(self) -> str:
        return self._core.id

    @property
    def number(self) -> int:
        """Counts the experiment's trials from 0."""
        return self._core.number

    @property
    def name(self) -> str:
        return self._core.name

    @property
    def directory(self) -> str:
        """Name of its directory in the experiment's."""
        return self._core.directory

    @property
    def config(self) -> Data:
        """Its configuration now, as data; objects in it are tagged with their repr."""
        return self._core.config or {}

    @property
    def searched(self) -> Data:
        """The searched parameters, flattened, as they were when the trial was created."""
        return self._core.searched or {}

    @property
    def searched_now(self) -> Data:
        """The searched parameters with the values they have now: a scheduler such as PBT changes them on the way."""
        config = self.config
        return {name: leaf(config, name, before) for name, before in self.searched.items()}

    @property
    def tag(self) -> str:
        return self._core.tag

    @property
    def resources(self) -> dict[str, float]:
        return self._core.resources or {}

    @property
    def status(self) -> Status:
        return self._core.status

    @property
    def decision(self) -> Decision | None:
        """STOP or PAUSE that was decided and has not come true yet."""
        return self._core.decision

    @property
    def held(self) -> bool:
        """Whether a person paused it (or will have, once it reports), and has not let it go on."""
        return self._core.held

    @property
    def failures(self) -> int:
        """How often an attempt failed or was lost."""
        return self._core.failures

    @property
    def error(self) -> ErrorInfo | None:
        """The last error, if there was any; with status ERROR, the one that ended the trial."""
        return self._core.error

    @property
    def checkpoints(self) -> dict[int, CheckpointInfo]:
        """The checkpoints that are whole and not retired, by number, oldest first."""
        return self._core.checkpoints

    def is_durable(self, number: int) -> bool:
        """Whether this checkpoint has reached the disk, digests and all."""
        return self._core.is_durable(number)

    @property
    def latest_checkpoint(self) -> CheckpointInfo | None:
        return self._core.latest

    @property
    def rows_superseded(self) -> int:
        """How many rows were rolled back, over all attempts."""
        return self.index.superseded

    def attempt(self, number: int) -> AttemptHistory | None:
        """Return the attempt of that number, or None."""
        for attempt in reversed(self.attempts):
            if attempt.number == number:
                return attempt
        return None

    def attempt_of(self, row: Reported) -> AttemptHistory:
        """Return the attempt that reported `row`."""
        attempts = self.attempts
        if attempts and attempts[-1].number == row.attempt:
            return attempts[-1]
        found = self.attempt(row.attempt)
        if found is None:  # a row whose attempt the history never saw: what is missing shows as empty
            found = AttemptHistory(row.attempt, row.segment, None, self.config, row.at)
        return found

    @property
    def row_count(self) -> int:
        """The number of rows in the view."""
        return len(self.index)

    def rows(self) -> Iterator[Reported]:
        """Yield the rows of the view in order, reading them from the journal."""
        return self._source.rows(self.index)

    def row(self, segment: int, iteration: int) -> Reported | None:
        """Return the row of that key, or None where the view has none."""
        place = self.index.find(segment, iteration)
        return None if place is None else self._source.row(self.index, place)

    def first_row(self) -> Reported:
        """Return the first row of the view, of a trial that has any."""
        return self._source.row(self.index, 0)

    def last_row(self) -> Reported | None:
        """Return the last row of the view; reads the journal after a rollback."""
        if self.last is None and len(self.index):
            self.last = self._source.row(self.index, len(self.index) - 1)
        return self.last

    def decoded_config(self, attempt: AttemptHistory | None = None) -> dict[str, Any]:
        """Return the configuration (of an attempt, or as it is now) as the user wrote it.

        Objects in it come as their reprs: reading never unpickles.
        """
        return dict_from_data(self.config if attempt is None else attempt.config)

    def lineage(self) -> list[LineageStep]:
        """Return how what the trial is now was trained: a step for each segment, and for each new configuration.

        Configurations are data. Attempts that only repeat a segment, after a failure or a pause, are no steps.
        """
        steps: list[LineageStep] = []
        for attempt in self.attempts:
            if steps and (steps[-1].segment, steps[-1].config) == (attempt.segment, attempt.config):
                continue
            start = attempt.start
            cloned = start is not None and start.trial != self.id
            donor, number = (start.trial, start.number) if start is not None and cloned else (None, None)
            steps.append(LineageStep(attempt.segment, donor, number, attempt.iteration, attempt.config))
        return steps

    def expanded(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of the view with the columns Ray Tune fills in."""
        origins: dict[int, RowOrigin] = {}
        for row in self.rows():
            origin = origins.get(row.attempt)
            if origin is None:
                origin = origins[row.attempt] = self._origin_of(row)
            yield expand_row(origin, row, done=row.decision is Decision.STOP)

    def expand(self, row: Reported) -> dict[str, Any]:
        """Return one row, perhaps of a record that is not written yet, with the columns Ray Tune fills in."""
        return expand_row(self._origin_of(row), row, done=row.decision is Decision.STOP)

    def _origin_of(self, row: Reported) -> RowOrigin:
        attempt = self.attempt_of(row)
        return attempt.origin(self.id, self.decoded_config(attempt))


def view_of(
    trial: TrialHistory,
    *,
    experiment_path: str,
    trainable: str = "",
    config: dict[str, Any] | None = None,
) -> TrialView:
    """Return what plugins and callbacks see of a trial. `config` replaces the one decoded without objects."""
    shown = trial.decoded_config() if config is None else config
    view = TrialView(
        trial_id=trial.id,
        trial_name=trial.name,
        number=trial.number,
        config=shown,
        evaluated_params=shown if trial.searched is trial.config else dict_from_data(trial.searched),
        experiment_tag=trial.tag,
        experiment_path=experiment_path,
        directory=trial.directory,
        trainable_name=trainable,
        resources=trial.resources,
        status=trial.status.value,
        has_objects=has_objects(trial.config),
    )
    latest = trial.latest_checkpoint
    if latest is not None:
        view.checkpoint = Checkpoint(os.path.join(view.path, latest.directory))
    view.num_failures = trial.failures
    if trial.failures:
        view.error_file = os.path.join(view.path, "error.txt")
    return view
