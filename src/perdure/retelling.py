"""Telling plugins again what has happened, so that after a restore they know what they knew.

Facts are taken from the journal: what a plugin answers now is ignored, because what it answered then is recorded.
Random search, first come first served and stateless stop rules need none of it, and then nothing is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from perdure.core.events import (
    AnyEvent,
    AttemptPlanned,
    Data,
    Decider,
    Decision,
    Reported,
    TrialActed,
    TrialCreated,
    TrialRequeued,
)
from perdure.core.state import Status
from perdure.history import ExperimentHistory, TrialHistory
from perdure.journal.base import START, JournalReader, Position
from perdure.rows import RowOrigin, expand_row
from perdure.schedulers.facts import ExperimentFacts
from perdure.searchers.driver import Past, PastCompletion, PastContinuation, PastMove, PastResult, PastSuggestion
from perdure.trial_view import TrialView

if TYPE_CHECKING:
    from perdure.schedulers.base import TrialScheduler
    from perdure.stoppers.base import Stopper


_ASKED = frozenset({Decider.SCHEDULER, Decider.EXPERIMENT})
"""Whoever else ended a trial, the scheduler was not shown the row."""


class Retelling:
    """One pass over the journal, for a scheduler, a stopper and a searcher.

    Args:
        scheduler, stopper: Told of every row and ending that they do not know; None if they need not be.
        known: What the state of the scheduler was taken up as of.
        stopper_known: What that of the stopper was.
    """

    def __init__(
        self,
        reader: JournalReader,
        *,
        path: str,
        scheduler: TrialScheduler | None,
        stopper: Stopper | None,
        known: Position = START,
        stopper_known: Position = START,
    ) -> None:
        self._reader = reader
        self._scheduler = scheduler
        self._stopper = stopper
        self._known = known.sequence
        self._stopper_known = stopper_known.sequence
        self._history = ExperimentHistory(reader, path=path)
        self._views: dict[str, TrialView] = {}
        self._configs: dict[str, Data] = {}
        state, trials = self._history.state, self._history.trials
        self._facts = ExperimentFacts(
            state, lambda trial: self._view(trials[trial.id]), lambda: bool(state.pending) or not state.search_ended
        )

    def run(self) -> Iterator[Past]:
        """Tell scheduler and stopper; yield what the searcher is to be told. Exhaust it."""
        for position, event in self._reader.read(START):
            decided, held = self._decided_before(event)
            ended = self._ended_before(event)
            trial = self._history.fold(position, event)
            scheduler = self._scheduler if position.sequence > self._known else None
            stopper = self._stopper if position.sequence > self._stopper_known else None
            match event:
                case TrialCreated() if trial is not None:
                    yield PastSuggestion(trial=trial.id, config=self._view(trial).config)
                    if scheduler is not None:
                        scheduler.on_trial_add(self._facts, self._view(trial))
                case Reported(judged=True) if trial is not None:
                    row = self._row(trial, event)
                    if decided is not Decision.STOP:
                        self._tell(trial, row, event, None if decided and not held else scheduler, stopper, held=held)
                    if event.decision is not Decision.STOP:
                        yield PastResult(trial=trial.id, result=row)
                    if event.decision is Decision.PAUSE:
                        yield PastMove(trial=trial.id, paused=True)
                case Reported() if trial is not None:
                    self._row(trial, event)  # judged before, and now the trial's last once more
                case AttemptPlanned():
                    yield PastMove(trial=event.trial, paused=False)
                case TrialActed(request="") if scheduler is not None:
                    scheduler.on_actions_retold(self._facts, (event.action, *event.more))
                case TrialRequeued() if trial is not None:
                    if stopper is not None:
                        self._requeue(trial, stopper, ended, from_scratch=event.from_scratch)
                    if ended is not None:
                        yield self._continued(trial, scheduler, from_scratch=event.from_scratch)
                case _:
                    pass
            yield from self._endings(scheduler, stopper)

    def _decided_before(self, event: AnyEvent) -> tuple[Decision | None, bool]:
        """What had been decided about the trial of this row before anybody was asked, and whether by a person.

        Of a trial that was to end nobody was asked; of one that was to pause, the scheduler only if a person said so.
        """
        if not isinstance(event, Reported):
            return None, False
        trial = self._history.state.trials[event.trial]
        return trial.decision, trial.by_person

    def _ended_before(self, event: AnyEvent) -> Status | None:
        """Return how the trial had ended that a restore runs again; None for any other event."""
        if not isinstance(event, TrialRequeued):
            return None
        status = self._history.state.trials[event.trial].status
        return status if status.finished else None

    def _tell(
        self,
        trial: TrialHistory,
        row: dict[str, Any],
        event: Reported,
        scheduler: TrialScheduler | None,
        stopper: Stopper | None,
        *,
        held: bool,
    ) -> None:
        stopped = stopper is not None and stopper(trial.id, row) and event.decision is Decision.STOP
        if event.stopped_by is None:  # a row that ended nothing, or of before it was recorded: as well as can be known
            shown = not stopped and not event.metrics.get("done")
        else:
            shown = event.stopped_by in _ASKED
        view = self._view(trial)
        alone = held and event.decision is Decision.PAUSE and not event.agreed
        answer = Decision.CONTINUE if alone else event.decision
        if scheduler is not None and shown:
            scheduler.on_trial_retold(self._facts, view, row, answer.value.upper(), event.actions)
        view.last_result = row

    def _requeue(self, trial: TrialHistory, stopper: Stopper, ended: Status | None, *, from_scratch: bool) -> None:
        if from_scratch:
            stopper.forget(trial.id)
        elif ended is Status.TERMINATED and trial.row_count:
            stopper.recall(trial.id, list(trial.expanded()))

    def _continued(self, trial: TrialHistory, scheduler: TrialScheduler | None, *, from_scratch: bool) -> Past:
        view = self._view(trial)
        last = self._history.state.trials[trial.id].last  # whether it was rolled back since or not, as when it ran
        if last is not None and not from_scratch:
            view.last_result = expand_row(RowOrigin(trial_id=trial.id, config=view.config), last)
        if scheduler is not None:
            scheduler.on_trial_add(self._facts, view)
        return PastContinuation(trial=trial.id, config=view.config)

    def _endings(self, scheduler: TrialScheduler | None, stopper: Stopper | None) -> Iterator[Past]:
        finished = self._history.state.agenda.finished
        for trial_id in list(finished):
            del finished[trial_id]
            yield self._completed(self._history.trials[trial_id], scheduler, stopper)

    def _completed(self, trial: TrialHistory, scheduler: TrialScheduler | None, stopper: Stopper | None) -> Past:
        view = self._view(trial)
        self._views.pop(trial.id, None)
        self._configs.pop(trial.id, None)
        failed = trial.status is Status.ERROR
        if scheduler is not None:
            if failed:
                scheduler.on_trial_error(self._facts, view)
            else:
                scheduler.on_trial_complete(self._facts, view, view.last_result)
        if stopper is not None and not failed:
            stopper.forget(trial.id)
        return PastCompletion(trial=trial.id, result=None if failed else view.last_result or None, error=failed)

    def _row(self, trial: TrialHistory, event: Reported) -> dict[str, Any]:
        view = self._view(trial)
        attempt = trial.attempt_of(event)
        if attempt.config is not self._configs.get(trial.id):  # it was replaced since
            self._configs[trial.id] = attempt.config
            view.config = trial.decoded_config(attempt)
        origin = attempt.origin(trial.id, view.config)
        row = expand_row(origin, event, done=event.decision is Decision.STOP)
        view.last_result = row
        return row

    def _view(self, trial: TrialHistory) -> TrialView:
        view = self._views.get(trial.id)
        if view is None:
            view = TrialView(
                trial_id=trial.id,
                trial_name=trial.name,
                number=trial.number,
                config=trial.decoded_config(),
                evaluated_params=trial.searched,
                experiment_tag=trial.tag,
                experiment_path=self._history.path,
                directory=trial.directory,
                trainable_name=self._history.state.trainable,
                resources=trial.resources,
            )
            if not trial.status.finished:
                self._views[trial.id], self._configs[trial.id] = view, trial.config
        view.status = trial.status.value
        return view
