"""Telling plugins again what has happened, so that after a restore they know what they knew.

Facts are taken from the journal: what a plugin answers now is ignored, because what it answered then is recorded.
Random search, first come first served and stateless stop rules need none of it, and then nothing is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from perdure.core.events import (
    AnyEvent,
    CheckpointInfo,
    Data,
    Decision,
    Reported,
    TrialActed,
    TrialCreated,
    TrialRequeued,
)
from perdure.core.state import Status
from perdure.history import ExperimentHistory, RowOrigin, TrialHistory, expand_row
from perdure.journal.base import START, JournalReader, Position
from perdure.searchers.driver import Past, PastCompletion, PastResult, PastSuggestion
from perdure.trial_view import TrialView

if TYPE_CHECKING:
    from perdure.schedulers.base import TrialScheduler
    from perdure.stoppers.base import Stopper


class Retelling:
    """One pass over the journal, for a scheduler and a stopper (whose own state is as of `known`), and a searcher.

    Args:
        scheduler, stopper: Told of every row and ending after `known`; None if they need not be.
    """

    def __init__(
        self,
        reader: JournalReader,
        *,
        path: str,
        scheduler: TrialScheduler | None,
        stopper: Stopper | None,
        known: Position = START,
    ) -> None:
        self._reader = reader
        self._scheduler = scheduler
        self._stopper = stopper
        self._known = known
        self._history = ExperimentHistory(reader, path=path)
        self._views: dict[str, TrialView] = {}
        self._configs: dict[str, Data] = {}

    def run(self) -> Iterator[Past]:
        """Tell scheduler and stopper; yield what the searcher is to be told. Exhaust it."""
        for position, event in self._reader.read(START):
            decided = self._decided_before(event)
            trial = self._history.fold(position, event)
            new = position.sequence > self._known.sequence
            match event:
                case TrialCreated() if trial is not None:
                    yield PastSuggestion(trial=trial.id, config=self._view(trial).config)
                    if new and self._scheduler is not None:
                        self._scheduler.on_trial_add(self, self._view(trial))
                case Reported(judged=True) if trial is not None:
                    row = self._row(trial, event)
                    if new and not decided:
                        self._tell(trial, row, event)
                    if event.decision is not Decision.STOP:
                        yield PastResult(trial=trial.id, result=row)
                case TrialActed(request="") if new and self._scheduler is not None:
                    self._scheduler.on_actions_retold(self, (event.action, *event.more))
                case TrialRequeued(from_scratch=True) if new and self._stopper is not None:
                    self._stopper.forget(event.trial)
                case _:
                    pass
            yield from self._endings(new)

    def _decided_before(self, event: AnyEvent) -> bool:
        """Whether this is a row that nobody was asked about, because its trial's end had been decided elsewhere."""
        if not isinstance(event, Reported):
            return False
        return self._history.state.trials[event.trial].decision is not None

    def _tell(self, trial: TrialHistory, row: dict[str, Any], event: Reported) -> None:
        stopped = self._stopper is not None and self._stopper(trial.id, row)
        view = self._view(trial)
        if self._scheduler is not None and not stopped and not event.metrics.get("done"):
            self._scheduler.on_trial_retold(self, view, row, event.decision.value.upper(), event.actions)
        view.last_result = row

    def _endings(self, new: bool) -> Iterator[Past]:
        finished = self._history.state.agenda.finished
        for trial_id in list(finished):
            del finished[trial_id]
            yield self._completed(self._history.trials[trial_id], new)

    def _completed(self, trial: TrialHistory, new: bool) -> Past:
        view = self._view(trial)
        self._views.pop(trial.id)
        self._configs.pop(trial.id, None)
        failed = trial.status is Status.ERROR
        if new and self._scheduler is not None:
            if failed:
                self._scheduler.on_trial_error(self, view)
            else:
                self._scheduler.on_trial_complete(self, view, view.last_result)
        if new and self._stopper is not None and not failed:
            self._stopper.forget(trial.id)
        return PastCompletion(trial=trial.id, result=None if failed else view.last_result or None, error=failed)

    def _row(self, trial: TrialHistory, event: Reported) -> dict[str, Any]:
        view = self._view(trial)
        attempt = trial.attempt_of(event)
        if attempt.config is not self._configs.get(trial.id):  # it was replaced since
            self._configs[trial.id] = attempt.config
            view.config = trial.decode(attempt.config)
        origin = RowOrigin(
            trial_id=trial.id,
            config=view.config,
            pid=attempt.pid,
            hostname=attempt.host,
            node_ip=attempt.node_ip,
            iteration=attempt.iteration,
        )
        row = expand_row(origin, event, done=event.decision is Decision.STOP)
        view.last_result = row
        return row

    def _view(self, trial: TrialHistory) -> TrialView:
        view = self._views.get(trial.id)
        if view is None:
            self._configs[trial.id] = trial.config
            view = self._views[trial.id] = TrialView(
                trial_id=trial.id,
                trial_name=trial.name,
                number=trial.number,
                config=trial.decoded_config(),
                evaluated_params=trial.searched,
                experiment_tag=trial.tag,
                experiment_path=self._history.path,
                trainable_name=self._history.state.trainable,
                resources=trial.resources,
            )
        view.status = trial.status.value
        return view

    # --- what a scheduler may ask -----------------------------------------------------------------------------------

    def get_trials(self) -> Sequence[TrialView]:
        """All trials so far."""
        return [self._view(trial) for trial in self._history.trials.values()]

    def get_live_trials(self) -> set[TrialView]:
        """Those that were not finished then."""
        return {view for view in self.get_trials() if not view.is_finished()}

    def get_paused_trials(self) -> Iterator[TrialView]:
        """Those that were paused then, but for those that a person set aside."""
        paused = (self._history.trials[trial] for trial in self._history.state.paused)
        return (self._view(trial) for trial in paused if not self._history.state.trials[trial.id].set_aside)

    def get_trial(self, trial_id: str) -> TrialView | None:
        """The trial of that id."""
        trial = self._history.trials.get(trial_id)
        return None if trial is None else self._view(trial)

    def count(self, status: str) -> int:
        """How many trials had that status then."""
        return self._history.state.counts.get(status, 0)

    def checkpoint_of(self, trial_id: str) -> CheckpointInfo | None:
        """The newest whole checkpoint that the trial had then."""
        return self._history.trials[trial_id].latest_checkpoint

    @property
    def capacity(self) -> Mapping[str, float]:
        """What the executor had in all."""
        return self._history.state.capacity

    @property
    def expects_more(self) -> bool:
        """Whether trials were still to begin then."""
        return bool(self._history.state.pending) or not self._history.state.search_ended
