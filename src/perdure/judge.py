"""What plugins say: the one place that talks to searcher, scheduler, stopper and callbacks.

The judge is asked, and answers with events; it changes no state. Every row is judged once: a row that a trial reports
again after going back to an older checkpoint gets the answer that was journaled for it, and no plugin sees it twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from perdure.arguments import a_kind
from perdure.checkpoint import Checkpoint, checkpoint_at
from perdure.core.events import (
    Action,
    CheckpointInfo,
    Decider,
    Decision,
    Outcome,
    Reported,
    SearchEnded,
    TrialCreated,
)
from perdure.core.state import State, Status, Trial
from perdure.errors import MetricError, PerdureError, PluginError
from perdure.journal.values import by_repr, dict_from_data, encode_config, has_objects
from perdure.resources import check_resources
from perdure.rows import RowOrigin, expand_row, flatten, leaf
from perdure.schedulers.base import Judgement, judgement
from perdure.schedulers.facts import ExperimentFacts, TrialList
from perdure.searchers.driver import FINISHED, WAIT
from perdure.trial_view import TrialView

if TYPE_CHECKING:
    from perdure.callbacks import CallbackList
    from perdure.naming import Namer
    from perdure.schedulers.base import TrialScheduler
    from perdure.searchers.driver import SearchDriver
    from perdure.stoppers.base import Stopper
    from perdure.trainable.messages import AttemptKey, Report


_MISSING = object()

CONTINUE, PAUSE, STOP = Decision  # on Python 3.11 it takes half a microsecond to look a member of an enum up


class Judge:
    """Asks the plugins of one experiment.

    Args:
        resources_of: Gives the resources of a trial from its config.
        saves: The trainable saves when it is told to.
        saves_at_end: It does so when it is told to stop.
        required: Metrics that every row must have, by who needs them; empty where the check is switched off.
        save_config: Stores the config leaves of a trial that are not data, before its first record is written.
    """

    def __init__(
        self,
        *,
        state: State,
        path: str,
        search: SearchDriver,
        scheduler: TrialScheduler,
        stopper: Stopper,
        callbacks: CallbackList,
        namer: Namer,
        resources_of: Callable[[dict[str, Any]], dict[str, float]],
        save_config: Callable[[str, dict[str, object]], None],
        load_objects: Callable[[str], dict[str, object]],
        wall_clock: Callable[[], float],
        required: dict[str, str] | None = None,
        saves: bool = False,
        saves_at_end: bool = False,
    ) -> None:
        self.state = state
        self.path = path
        self.search = search
        self.scheduler = scheduler
        self.stopper = stopper
        self.callbacks = callbacks
        self.namer = namer
        self.resources_of = resources_of
        self.save_config = save_config
        self.load_objects = load_objects
        self.wall_clock = wall_clock
        self.required = required or {}
        self.saves = saves
        self.saves_at_end = saves_at_end
        self.iteration = 0
        """Turns of the loop so far."""
        self._views: dict[str, TrialView] = {}
        self.trials = TrialList(state, self.view)
        self.controller = ExperimentFacts(state, self.view, lambda: self.expects_more)

    # --- the loop ---------------------------------------------------------------------------------------------------

    def step_begins(self) -> None:
        """A turn of the loop begins."""
        self.iteration += 1
        self.callbacks.on_step_begin(self.iteration, self.trials)

    def step_ends(self) -> None:
        """A turn of the loop has ended."""
        self.callbacks.on_step_end(self.iteration, self.trials)

    def wants_end(self) -> bool:
        """Whether the stopper ends the whole experiment."""
        return self.stopper.stop_all()

    @property
    def expects_more(self) -> bool:
        """Whether trials are still to begin."""
        state, total = self.state, self.search.total
        return bool(state.pending) or (not state.search_ended and (total is None or state.created < total))

    # --- the search -------------------------------------------------------------------------------------------------

    def suggest(self) -> TrialCreated | SearchEnded | None:
        """Ask the searcher for a trial. None: it has nothing for now."""
        number = self.state.created
        trial_id = self.namer.trial_id(number)
        answer = self.search.next(trial_id)
        if answer is WAIT:
            return None
        if answer is FINISHED:
            return SearchEnded(at=self.wall_clock())
        wanted = self.scheduler.prepare_config(number, answer.config)
        evaluated = answer.searched
        if wanted is not answer.config:
            known = flatten(answer.config)
            evaluated = {
                **evaluated,
                **{key: value for key, value in flatten(wanted).items() if key not in known or known[key] is not value},
            }
        is_all = _same_leaves(evaluated, wanted)
        config, objects = encode_config(wanted)
        searched = config if is_all else encode_config(evaluated)[0]
        resources = self.resources_of(wanted)
        self._check_resources(trial_id, resources)
        view = TrialView(
            trial_id=trial_id,
            trial_name="",
            number=number,
            config=wanted,
            evaluated_params=wanted if is_all else evaluated,
            experiment_path=self.path,
            trainable_name=self.state.trainable,
            resources=resources,
        )
        view.experiment_tag = self.namer.tag(number, evaluated)
        view.trial_name = self.namer.name(view)
        view.directory = self.namer.directory(view)
        if objects:
            self.save_config(view.directory, objects)
        self._views[trial_id] = view
        return TrialCreated(
            at=self.wall_clock(),
            trial=trial_id,
            number=number,
            name=view.trial_name,
            directory=view.directory,
            config=config,
            searched=searched,
            tag=view.experiment_tag,
            resources=resources,
            seed=self.namer.seed(number),
        )

    def _check_resources(self, trial_id: str, resources: dict[str, float]) -> None:
        check_resources(resources, self.state.capacity, whom=f"Trial {trial_id}")

    def wake(self, *, early: bool) -> tuple[Action, ...]:
        """Ask the scheduler which paused trials go on, now that there is room; `early`: before a new trial does.

        Where it names none but trials that people hold back, it is asked again, until it repeats itself.
        """
        ask = self.scheduler.promote if early else self.scheduler.wake
        named: set[str] = set()
        while True:
            actions = self._carried(ask(self.controller))
            counting = tuple(action for action in actions if self._counts(action))
            if counting or named.issuperset(action.trial for action in actions):
                return counting
            named.update(action.trial for action in actions)

    def _counts(self, action: Action) -> bool:
        """Whether an answer to who goes on changes anything: what a person holds back does not go on by it yet.

        That it may is kept until they let it go, and not said again: a scheduler may answer the same for ever.
        """
        trial = self.state.trials[action.trial]
        return not trial.set_aside or (trial.held and (action.decision is STOP or not trial.resume))

    def created(self, trial: Trial) -> None:
        """A trial was created."""
        view = self._views.pop(trial.id, None)
        if view is not None:  # what it has in common with the state is held once
            view.trial_id, view.trial_name, view.experiment_tag = trial.id, trial.name, trial.tag
            view.directory, view.resources = trial.directory, trial.resources or {}
            self._views[trial.id] = view
        self.scheduler.on_trial_add(self.controller, self.view(trial))

    def continued(self, trial: Trial, *, from_scratch: bool) -> None:
        """A trial whose end was told goes on."""
        view = self.view(trial)
        if from_scratch:
            view.last_result = {}
        self.scheduler.on_trial_add(self.controller, view)
        self.search.on_continue(trial.id, view.config)

    def resources_for(self, trial: Trial) -> dict[str, float]:
        """Return what a trial asks for, by its trainable as it is now."""
        return self.resources_of(self.view(trial).config)

    # --- rows -------------------------------------------------------------------------------------------------------

    def report(self, trial: Trial, key: AttemptKey, report: Report, *, adopted: bool = False) -> Reported:
        """Judge a row: return it as an event, with everything that was decided because of it.

        Raises:
            MetricError: the row lacks a metric that a part of the experiment needs.
        """
        if report.iteration <= trial.judged:
            return self._repeated(trial, key, report, adopted)
        row = self._row(trial, report)
        self._check_metrics(trial, row, report)
        view = self.view(trial)
        actions: tuple[Action, ...] = ()
        decision, save = STOP, False
        decider = self._ended_unasked(trial, row, report)
        if decider is None:
            decision, actions, save = self._decide(trial, view, row, report)
            if decision is STOP:
                decider = Decider.SCHEDULER
            elif self.state.stopping is not None and not self.state.resumable:
                decision, decider = STOP, Decider.EXPERIMENT
        agreed = trial.by_person and decision is PAUSE
        if trial.by_person and decision is CONTINUE:
            decision = PAUSE
        if decision is STOP:
            row["done"] = True
        else:
            self.search.on_result(trial.id, row)
        if decision is PAUSE:
            self.search.on_pause(trial.id)
        if decision is not CONTINUE:
            save = (self.saves_at_end if decision is STOP else self.saves) and not _replaces(actions, trial)
        if self.callbacks:
            save = self.callbacks.on_trial_result(self.iteration, self.trials, view, row) or save
        view.last_result = row
        return self._event(
            trial,
            key,
            report,
            adopted,
            decision=decision,
            actions=actions,
            save=save,
            agreed=agreed,
            stopped_by=decider,
        )

    def _repeated(self, trial: Trial, key: AttemptKey, report: Report, adopted: bool) -> Reported:
        """Answer a row that was judged before a rollback with what was decided then."""
        row = self._row(trial, report)
        self.view(trial).last_result = row
        if trial.decision is not None and report.iteration >= trial.decided_at:
            if trial.decision is STOP:
                row["done"] = True
            save = trial.owes_save or (self.saves and trial.decision is PAUSE and trial.start is None)
            return self._event(trial, key, report, adopted, decision=trial.decision, save=save, judged=False)
        return self._event(trial, key, report, adopted, save=report.iteration in trial.owed, judged=False)

    def _event(
        self,
        trial: Trial,
        key: AttemptKey,
        report: Report,
        adopted: bool,
        *,
        decision: Decision = CONTINUE,
        actions: tuple[Action, ...] = (),
        save: bool = False,
        agreed: bool = False,
        stopped_by: Decider | None = None,
        judged: bool = True,
    ) -> Reported:
        return Reported(
            at=report.at,
            trial=trial.id,
            attempt=key.attempt,
            segment=trial.segment,
            iteration=report.iteration,
            metrics=report.metrics,
            time_this_iter_s=report.time_this_iter_s,
            time_total_s=report.time_total_s,
            time_since_restore_s=report.time_since_restore_s,
            checkpoint=report.checkpoint,
            decision=decision,
            actions=actions,
            save=save,
            agreed=agreed,
            stopped_by=stopped_by,
            judged=judged,
            adopted=adopted,
        )

    def _ended_unasked(self, trial: Trial, row: dict[str, Any], report: Report) -> Decider | None:
        """Return who ends the trial with this row before the scheduler is asked; None: ask it.

        A trial that is to end has no more to say, and its stop rule is not shown what it says.
        """
        if trial.decision is STOP:
            return Decider.EARLIER
        if self.stopper(trial.id, row):
            return Decider.STOPPER
        return Decider.TRIAL if report.done else None

    def _decide(
        self, trial: Trial, view: TrialView, row: dict[str, Any], report: Report
    ) -> tuple[Decision, tuple[Action, ...], bool]:
        """Return what becomes of the trial and of others, and whether it is to save a checkpoint.

        One that is to pause may come to its end with this very row. Of a person's pause the scheduler knows nothing.
        """
        if trial.decision is PAUSE and not trial.by_person:
            return PAUSE, (), False  # the scheduler's, because of another trial
        answer = self.scheduler.on_trial_result(self.controller, view, row)
        decision, actions = judgement(self.scheduler, trial.id, answer)
        for paused in [action.trial for action in actions if action.decision is PAUSE and not action.donor]:
            self._check_pause(self.state.trials[paused], report if paused == trial.id else None)
        if decision is PAUSE and not _replaces(actions, trial):
            self._check_pause(trial, report)
        return decision, self._carried(actions), isinstance(answer, Judgement) and answer.save

    def _check_pause(self, trial: Trial, report: Report | None) -> None:
        """Refuse to pause what would have to begin anew when it goes on.

        Raises:
            PluginError: the trial has saved no checkpoint, and cannot save when it is told to.
        """
        saved = trial.latest is not None or (report is not None and report.checkpoint is not None)
        if not saved and not self.saves and not trial.status.finished:
            raise PluginError(
                f"{type(self.scheduler).__name__} pauses trial {trial.id}, which has not saved a checkpoint: all it "
                "has done would be lost. Report a checkpoint along with the metrics (report(metrics, checkpoint=...)) "
                "at least as often as the scheduler pauses trials, or give the experiment room for all of its trials. "
                "Nothing was paused; restore the experiment with the corrected trainable."
            )

    def _carried(self, actions: Sequence[Action] | None) -> tuple[Action, ...]:
        """Return a scheduler's actions as they are journaled, their configurations as data."""
        for action in actions or ():
            if action.resources is not None:
                self._check_resources(action.trial, action.resources)
                self.view(self.state.trials[action.trial]).resources = dict(action.resources)
        return tuple(action if action.config is None else self._reconfigured(action) for action in actions or ())

    def _reconfigured(self, action: Action) -> Action:
        trial = self.state.trials[action.trial]
        assert action.config is not None
        self.view(trial).config = dict(action.config)
        data, objects = encode_config(action.config)
        if objects:
            # The trial's earlier configuration holds until the record is written, so its objects are kept beside.
            self.save_config(trial.directory, {**self.load_objects(trial.directory), **by_repr(data, objects)})
        return msgspec.structs.replace(action, config=data)

    def _row(self, trial: Trial, report: Report) -> dict[str, Any]:
        return expand_row(self._origin(trial), report)

    def _origin(self, trial: Trial) -> RowOrigin:
        """Return what the rows of a trial's attempt have in common."""
        origin = RowOrigin(trial_id=trial.id, config=self.view(trial).config)
        live = trial.live
        if live is not None:
            origin.pid, origin.hostname, origin.node_ip = live.pid, live.host, live.node_ip
            origin.iteration = live.first_iteration
        return origin

    def _check_metrics(self, trial: Trial, row: dict[str, Any], report: Report) -> None:
        for metric, needed_by in self.required.items():
            value = leaf(row, metric, _MISSING)
            if value is _MISSING:
                reported = ", ".join(sorted(report.metrics)) or "nothing"
                raise MetricError(
                    f"Trial {trial.id} did not report the metric {metric!r}, which {needed_by} needs; "
                    f"it reported: {reported}. Report {metric!r} in every row, or name another metric. "
                    "(TUNE_DISABLE_STRICT_METRIC_CHECKING=1 switches this check off.)"
                )
            if value is not None and not isinstance(value, (int, float)):
                raise MetricError(
                    f"Trial {trial.id} reported the metric {metric!r}, which {needed_by} needs, as {value!r:.80} "
                    f"({a_kind(value)}), by which trials cannot be compared. Report one number: of an array of "
                    "one element, its item()."
                )

    # --- the life of a trial ----------------------------------------------------------------------------------------

    def launching(self, trial: Trial) -> None:
        """An attempt is about to be started."""
        self.search.on_unpause(trial.id)
        view = self.view(trial)
        view.resources = trial.resources or {}
        if self.callbacks:
            self.callbacks.on_trial_start(self.iteration, self.trials, view)
            if trial.attempts and trial.latest is not None:
                self.callbacks.on_trial_restore(self.iteration, self.trials, view)

    def started(self, trial: Trial) -> None:
        """An attempt's process is up."""
        self.view(trial)

    def reported(self, trial: Trial, event: Reported) -> None:
        """A row was taken into the state."""
        if event.checkpoint is not None:
            self.saved(trial, event.checkpoint)

    def saved(self, trial: Trial, info: CheckpointInfo) -> None:
        """A checkpoint was committed."""
        view = self.view(trial)
        view.checkpoint = checkpoint_at(f"{self.path}{os.sep}{trial.directory}{os.sep}{info.directory}")
        if self.callbacks:
            self.callbacks.on_checkpoint(self.iteration, self.trials, view, view.checkpoint)
            self.callbacks.on_trial_save(self.iteration, self.trials, view)

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        """An attempt has ended; the trial may go on."""
        view = self.view(trial)
        view.num_failures = trial.failures
        if self.callbacks and outcome in (Outcome.FAILED, Outcome.LOST) and not trial.status.finished:
            self.callbacks.on_trial_recover(self.iteration, self.trials, view)

    def finished(self, trial: Trial) -> Sequence[Action]:
        """A trial has come to its end, however it did. Return what the scheduler does with others because of it."""
        view = self.view(trial)
        actions: Sequence[Action] | None
        if trial.status is Status.ERROR:
            actions = self.scheduler.on_trial_error(self.controller, view)
            self.search.on_complete(trial.id, None, error=True)
            if self.callbacks:
                self.callbacks.on_trial_error(self.iteration, self.trials, view)
        else:
            actions = self.scheduler.on_trial_complete(self.controller, view, view.last_result)
            self.search.on_complete(trial.id, view.last_result or None, error=False)
            if self.callbacks:
                self.callbacks.on_trial_complete(self.iteration, self.trials, view)
        self._views.pop(trial.id, None)
        if trial.status is Status.TERMINATED:  # one in ERROR may be resumed, and is not to begin its count anew
            self.stopper.forget(trial.id)
        return self._carried(actions)

    # --- views ------------------------------------------------------------------------------------------------------

    def view(self, trial: Trial) -> TrialView:
        """Return what plugins see of a trial. Kept while the trial is unfinished, so that it is one object for them."""
        view = self._views.get(trial.id)
        if view is None:
            view = self._make_view(trial)
            if not trial.status.finished:
                self._views[trial.id] = view
        view.status = trial.status._value_  # asked for several times a row; see `core.transitions`
        return view

    def _make_view(self, trial: Trial) -> TrialView:
        view = TrialView(
            trial_id=trial.id,
            trial_name=trial.name,
            number=trial.number,
            config=self._config(trial),
            evaluated_params=dict_from_data(trial.searched or {}),
            experiment_tag=trial.tag,
            experiment_path=self.path,
            directory=trial.directory,
            trainable_name=self.state.trainable,
            resources=trial.resources,
            status=trial.status.value,
        )
        latest = trial.latest
        if latest is not None:
            view.checkpoint = Checkpoint(os.path.join(view.path, latest.directory))
        if trial.last is not None:
            origin = RowOrigin(trial_id=trial.id, config=view.config)
            view.last_result = expand_row(origin, trial.last, done=trial.last.decision is STOP)
        view.num_failures = trial.failures
        return view

    def _config(self, trial: Trial) -> dict[str, Any]:
        if trial.config is None:
            return {}
        if not has_objects(trial.config):
            return dict_from_data(trial.config)
        try:
            return dict_from_data(trial.config, self.load_objects(trial.directory))
        except (PerdureError, OSError):  # its own process will say why; nothing else depends on it
            return dict_from_data(trial.config)


def _replaces(actions: Sequence[Action], trial: Trial) -> bool:
    """Whether the trial goes on as a clone of another: what it has become is of no use then."""
    return any(action.trial == trial.id and action.donor is not None for action in actions)


def _same_leaves(flat: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether a flattened configuration is the configuration itself, value by value."""
    return flat.keys() == config.keys() and all(config[name] is value for name, value in flat.items())
