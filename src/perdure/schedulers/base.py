"""The port to schedulers, under Ray Tune's names: a subclass written for Ray works as it is.

A scheduler looks at every row and answers what becomes of the trial. It never acts by itself: what it decides about
other trials it returns along with its answer, so that all of it is journaled as one.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, Union

from perdure.core.events import Action, CheckpointInfo, Decision
from perdure.errors import ConfigurationError, PluginError
from perdure.trial_view import TrialView

DEFAULT_METRIC = "_metric"
"""What a scheduler calls its metric if nobody named one."""


_MADE_WITH = "_made_with"
"""Where a scheduler keeps the metric and mode that it was made with, once it has taken over others."""

OLDER = {"reward_attr": "Use metric and mode."}
"""What to write in place of arguments that schedulers had in older releases of Ray."""


class Controller(Protocol):
    """What a scheduler may ask about the experiment. Nothing in it can be changed."""

    def get_trials(self) -> Sequence[TrialView]:
        """Return all trials in the order they were created. They are made on demand: do not walk them per row."""
        ...

    def get_live_trials(self) -> set[TrialView]:
        """Return the trials that are not finished. Paused ones may be many: per row, use `get_active_trials`."""
        ...

    def get_active_trials(self) -> set[TrialView]:
        """Return the trials that run or wait for room: those that are neither finished nor paused."""
        ...

    def get_paused_trials(self) -> Iterator[TrialView]:
        """Yield the paused trials that may be woken, the one that has been paused longest first."""
        ...

    def get_trial(self, trial_id: str) -> TrialView | None:
        """Return the trial of that id, or None."""
        ...

    def count(self, status: str) -> int:
        """Return how many trials have that status."""
        ...

    def checkpoint_of(self, trial_id: str) -> CheckpointInfo | None:
        """Return the newest whole checkpoint of what a trial is now, or None: not one from before it was cloned."""
        ...

    @property
    def capacity(self) -> Mapping[str, float]:
        """What the executor has in all, by name: "CPU", "GPU", "memory", ..."""
        ...

    @property
    def expects_more(self) -> bool:
        """Whether trials are still to begin: created ones that wait for their first attempt, and others to come."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Judgement:
    """An answer to a row that decides about other trials as well, as one."""

    decision: str
    """CONTINUE, PAUSE, STOP or NOOP, for the trial that reported."""
    actions: Sequence[Action] = ()
    """What is done with others; or with this one, beyond what a word can say."""
    save: bool = False
    """The trial saves a checkpoint of this row if it can save when it is told to (a class)."""


Answer = Union[str, Judgement]


def resume(trial_id: str) -> Action:
    """Return the action that lets a paused trial go on."""
    return Action(trial=trial_id, decision=Decision.CONTINUE, resume=True)


def stop(trial_id: str) -> Action:
    """Return the action that ends a trial."""
    return Action(trial=trial_id, decision=Decision.STOP)


class TrialScheduler:
    """Decides which trials go on.

    A subclass overrides `on_trial_result`, and what else it wants to hear of.
    """

    CONTINUE = "CONTINUE"
    PAUSE = "PAUSE"
    STOP = "STOP"
    NOOP = "NOOP"
    """The same as CONTINUE, from schedulers that acted by other means."""

    _metric: str | None = None
    _supports_buffered_results = True

    def __init__(self) -> None:
        pass

    @property
    def metric(self) -> str | None:
        """The metric by which trials are judged."""
        return self._metric

    @property
    def writes_policies(self) -> bool:
        """Whether the configurations that trials go through are written to files that can be replayed."""
        return False

    @property
    def adds_to_rows(self) -> bool:
        """Whether `on_trial_result` adds columns to rows, which the searcher learns from."""
        return False

    @property
    def supports_buffered_results(self) -> bool:
        """Whether rows could come several at a time. perdure brings them one by one."""
        return self._supports_buffered_results

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Take over the metric and mode of TuneConfig; return False if the scheduler was made with its own."""
        if self._metric and metric:
            return False
        self._metric = metric or self._metric or DEFAULT_METRIC
        return True

    def prepare_config(self, number: int, config: dict[str, Any]) -> dict[str, Any]:
        """Return the configuration that trial `number` gets in place of the suggested one. By default, that one."""
        return config

    def on_trial_add(self, controller: Controller, trial: TrialView) -> None:
        """A trial was created; or one that had ended goes on, because a restore said so."""

    def on_trial_error(self, controller: Controller, trial: TrialView) -> Sequence[Action] | None:
        """A trial has ended in ERROR. May return what is to be done with other trials."""

    def on_trial_result(self, controller: Controller, trial: TrialView, result: dict[str, Any]) -> Answer:
        """A trial has reported a row.

        Returns:
            CONTINUE, PAUSE or STOP, or a Judgement that decides about other trials as well.
        """
        raise NotImplementedError

    def on_trial_retold(
        self,
        controller: Controller,
        trial: TrialView,
        result: dict[str, Any],
        decision: str,
        actions: Sequence[Action],
    ) -> None:
        """Hear again, after a restore, of a row that had been judged, and of what was decided then.

        By default `on_trial_result` is asked again, and its answer ignored: that does for a scheduler whose answers
        follow from the rows alone.
        """
        self.on_trial_result(controller, trial, result)

    def on_actions_retold(self, controller: Controller, actions: Sequence[Action]) -> None:
        """Hear again, after a restore, of what was decided that no row caused."""

    def on_trial_complete(
        self, controller: Controller, trial: TrialView, result: dict[str, Any]
    ) -> Sequence[Action] | None:
        """A trial has ended, by itself or because it was stopped. May return what is to be done with others."""

    def on_trial_remove(self, controller: Controller, trial: TrialView) -> Sequence[Action] | None:
        """Ray Tune's word that a trial that was not running has ended. Never called here: `on_trial_complete` is.

        It is there for subclasses that call it.
        """

    def choose_trial_to_run(self, controller: Controller) -> TrialView | None:
        """Return the trial that runs next, or None.

        Called only if a subclass overrides it (see `chooses_trials`): first come first served needs no asking.
        """
        return _first(controller, TrialView.PENDING) or _paused(controller)

    def wake(self, controller: Controller) -> Sequence[Action]:
        """Return which paused trials go on: there is room, none waits, and there is no new one to be had.

        Asked again whenever that is so, after a restore too: what is returned depends on what is known, not on who
        asked before. All of it is journaled as one, and a scheduler whose state changes with its answer hears of it
        again in `on_actions_retold`. To return nothing must change nothing.

        By default one trial: what `choose_trial_to_run` returns, if that is overridden, or the one paused longest.
        """
        trial = self.choose_trial_to_run(controller) if self.chooses_trials else _paused(controller)
        if trial is None or trial.status != TrialView.PAUSED:
            return ()
        return (resume(trial.trial_id),)

    def promote(self, controller: Controller) -> Sequence[Action]:
        """Return which paused trials go on although a new one could be had; otherwise as `wake`. By default none."""
        return ()

    @property
    def chooses_trials(self) -> bool:
        """Whether a subclass has its own idea of which trial runs next."""
        return type(self).choose_trial_to_run is not TrialScheduler.choose_trial_to_run

    def debug_string(self) -> str:
        """Return a line for people about what the scheduler is doing."""
        return f"Using {type(self).__name__}."

    def get_state(self) -> dict[str, Any] | None:
        """Return the scheduler's state as JSON data, or None if it is only to be had by `save`."""
        return None

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_state` returned."""
        raise NotImplementedError(f"{type(self).__name__} has no JSON state")

    def save(self, checkpoint_path: str) -> None:
        """Write all that the scheduler knows to the file `checkpoint_path`."""
        import cloudpickle

        with open(checkpoint_path, "wb") as file:
            cloudpickle.dump(self.__dict__, file)

    def restore(self, checkpoint_path: str) -> None:
        """Take up what `save` wrote."""
        import pickle

        with open(checkpoint_path, "rb") as file:
            self.__dict__.update(pickle.load(file))


_DECISIONS = {
    TrialScheduler.CONTINUE: Decision.CONTINUE,
    TrialScheduler.PAUSE: Decision.PAUSE,
    TrialScheduler.STOP: Decision.STOP,
    TrialScheduler.NOOP: Decision.CONTINUE,
}


def judgement(scheduler: TrialScheduler, trial_id: str, answer: object) -> tuple[Decision, tuple[Action, ...]]:
    """Return what a scheduler's answer to a row means.

    Raises:
        PluginError: the answer is none that a scheduler may give.
    """
    said = answer.decision if isinstance(answer, Judgement) else answer
    actions = tuple(answer.actions) if isinstance(answer, Judgement) else ()
    if isinstance(said, Decision):
        return said, actions
    if isinstance(said, str) and said in _DECISIONS:
        return _DECISIONS[said], actions
    raise PluginError(
        f"{type(scheduler).__name__}.on_trial_result returned {answer!r} for trial {trial_id}. It must return "
        f"{', '.join(_DECISIONS)}, or a Judgement."
    )


def configure(scheduler: TrialScheduler, metric: str | None, mode: str | None, **spec: Any) -> None:
    """Give a scheduler the metric and mode of TuneConfig.

    Raises:
        ConfigurationError: it was made with its own, and TuneConfig has them too.
    """
    if not hand_over(scheduler, metric, mode, **spec):
        raise ConfigurationError(
            f"TuneConfig(metric={metric!r}, mode={mode!r}) next to {type(scheduler).__name__}, which was made with a "
            "metric or mode of its own. Leave them out in one of the two places."
        )


def hand_over(scheduler: TrialScheduler, metric: str | None, mode: str | None, **spec: Any) -> bool:
    """Call `scheduler.set_search_properties`, without `spec` where a subclass takes none; return what it returns.

    One that took them over in an earlier session, as when `Tuner.fit` is called again, takes them anew.
    """
    kept = vars(scheduler)
    made_with = kept.setdefault(_MADE_WITH, {name: kept[name] for name in ("_metric", "_mode") if name in kept})
    for name in ("_metric", "_mode"):
        kept.pop(name, None)
    kept.update(made_with)
    method = scheduler.set_search_properties
    if not _takes_more(getattr(method, "__func__", method)):
        spec = {}
    return bool(method(metric, mode, **spec))


@functools.lru_cache(maxsize=64)
def _takes_more(method: Callable[..., object]) -> bool:
    """Whether a method takes any keyword. Looked up once for each: it costs 50 us."""
    import inspect

    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in inspect.signature(method).parameters.values())


def _paused(controller: Controller) -> TrialView | None:
    return next(iter(controller.get_paused_trials()), None)


def _first(controller: Controller, status: str) -> TrialView | None:
    return next((trial for trial in controller.get_trials() if trial.status == status), None)
