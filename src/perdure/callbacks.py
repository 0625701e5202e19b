"""Hooks into a running experiment, under Ray Tune's names.

A `Callback` runs in the driver's loop, after a row was judged and before it is journaled. It is given copies: what it
writes into a result changes nothing, but for `should_checkpoint`, by which it asks a class trainable to save.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perdure.checkpoint import Checkpoint
    from perdure.trial_view import TrialView

SHOULD_CHECKPOINT = "should_checkpoint"

_log = logging.getLogger(__name__)


class Callback:
    """Base of what is told of an experiment's course. Every hook does nothing unless it is overridden.

    `iteration` counts the turns of the loop, `trials` are all trials, and `trial` is a read-only view. Hooks take
    further keyword arguments (`**info`), so that later versions may pass more.
    """

    def setup(
        self, stop: Any = None, num_samples: int | None = None, total_num_samples: int | None = None, **info: Any
    ) -> None:
        """Called once, before anything else."""

    def on_step_begin(self, iteration: int, trials: Sequence[TrialView], **info: Any) -> None:
        """Called at the beginning of each turn of the loop."""

    def on_step_end(self, iteration: int, trials: Sequence[TrialView], **info: Any) -> None:
        """Called at the end of each turn of the loop."""

    def on_trial_start(self, iteration: int, trials: Sequence[TrialView], trial: TrialView, **info: Any) -> None:
        """Called when an attempt of a trial is about to start; the trial is still PENDING."""

    def on_trial_restore(self, iteration: int, trials: Sequence[TrialView], trial: TrialView, **info: Any) -> None:
        """Called when a trial is about to go on from a checkpoint, after `on_trial_start`."""

    def on_trial_save(self, iteration: int, trials: Sequence[TrialView], trial: TrialView, **info: Any) -> None:
        """Called when a checkpoint of a trial was committed."""

    def on_trial_result(
        self, iteration: int, trials: Sequence[TrialView], trial: TrialView, result: dict[str, Any], **info: Any
    ) -> None:
        """Called with each row. An error raised here ends the experiment.

        `result` is a copy; `result["should_checkpoint"] = True` asks a class trainable to save.
        """

    def on_trial_complete(self, iteration: int, trials: Sequence[TrialView], trial: TrialView, **info: Any) -> None:
        """Called when a trial has come to its end. An error raised here is logged and ignored."""

    def on_trial_recover(self, iteration: int, trials: Sequence[TrialView], trial: TrialView, **info: Any) -> None:
        """Called when a trial failed and is to be retried."""

    def on_trial_error(self, iteration: int, trials: Sequence[TrialView], trial: TrialView, **info: Any) -> None:
        """Called when a trial has ended in ERROR."""

    def on_checkpoint(
        self, iteration: int, trials: Sequence[TrialView], trial: TrialView, checkpoint: Checkpoint, **info: Any
    ) -> None:
        """Called when a checkpoint of a trial was committed, with the checkpoint."""

    def on_experiment_end(self, trials: Sequence[TrialView], **info: Any) -> None:
        """Called once, when the experiment is over."""

    def get_state(self) -> dict[str, Any] | None:
        """Return what is to be given to `set_state` when the experiment is restored; None is nothing."""
        return None

    def set_state(self, state: dict[str, Any]) -> None:
        """Take back what `get_state` returned in an earlier session."""


class CallbackList:
    """Calls the hooks of several callbacks, in order. False where there are none, so that a loop can skip it.

    Args:
        callbacks: What to call.
        warn: Given a sentence, once, where a callback changed what cannot be changed.
    """

    def __init__(self, callbacks: Sequence[Callback] = (), *, warn: Callable[[str], None] | None = None) -> None:
        self._callbacks = tuple(callbacks)
        self._warn = warn if warn is not None else _log.warning
        self._warned: set[int] = set()
        self._step_begin = self._that_override("on_step_begin")
        self._step_end = self._that_override("on_step_end")
        self._result = self._that_override("on_trial_result")

    def _that_override(self, hook: str) -> tuple[Callback, ...]:
        """Return the callbacks that do something at `hook`."""
        idle = getattr(Callback, hook)
        return tuple(each for each in self._callbacks if getattr(getattr(each, hook), "__func__", None) is not idle)

    def __bool__(self) -> bool:
        return bool(self._callbacks)

    def __len__(self) -> int:
        return len(self._callbacks)

    def setup(
        self, stop: Any = None, num_samples: int | None = None, total_num_samples: int | None = None, **info: Any
    ) -> None:
        """Call `setup` of each."""
        for each in self._callbacks:
            each.setup(stop=stop, num_samples=num_samples, total_num_samples=total_num_samples, **info)

    def on_step_begin(self, iteration: int, trials: Sequence[TrialView], **info: Any) -> None:
        """Call `on_step_begin` of each that has one."""
        for each in self._step_begin:
            each.on_step_begin(iteration=iteration, trials=trials, **info)

    def on_step_end(self, iteration: int, trials: Sequence[TrialView], **info: Any) -> None:
        """Call `on_step_end` of each that has one."""
        for each in self._step_end:
            each.on_step_end(iteration=iteration, trials=trials, **info)

    def on_trial_start(self, iteration: int, trials: Sequence[TrialView], trial: TrialView, **info: Any) -> None:
        """Call `on_trial_start` of each."""
        for each in self._callbacks:
            each.on_trial_start(iteration=iteration, trials=trials, trial=trial, **info)

    def on_trial_restore(self, iteration: int, trials: Sequence[TrialView], trial: TrialView, **info: Any) -> None:
        """Call `on_trial_restore` of each."""
        for each in self._callbacks:
            each.on_trial_restore(iteration=iteration, trials=trials, trial=trial, **info)

    def on_trial_save(self, iteration: int, trials: Sequence[TrialView], trial: TrialView, **info: Any) -> None:
        """Call `on_trial_save` of each."""
        for each in self._callbacks:
            each.on_trial_save(iteration=iteration, trials=trials, trial=trial, **info)

    def on_trial_result(
        self, iteration: int, trials: Sequence[TrialView], trial: TrialView, result: dict[str, Any], **info: Any
    ) -> bool:
        """Call `on_trial_result` of each with one copy of the row; return whether one asked for a checkpoint.

        Raises:
            Exception: what a callback raised, as it was raised.
        """
        if not self._result:
            return False
        copy = dict(result)
        for each in self._result:
            each.on_trial_result(iteration=iteration, trials=trials, trial=trial, result=copy, **info)
            self._check_changes(each, result, copy)
        return copy.get(SHOULD_CHECKPOINT) is True and result.get(SHOULD_CHECKPOINT) is not True

    def _check_changes(self, callback: Callback, result: dict[str, Any], copy: dict[str, Any]) -> None:
        if id(callback) in self._warned:
            return
        changed = [
            name
            for name in {**result, **copy}
            if name != SHOULD_CHECKPOINT and result.get(name, _ABSENT) is not copy.get(name, _ABSENT)
        ]
        if changed:
            self._warned.add(id(callback))
            self._warn(
                f"{type(callback).__name__}.on_trial_result changed {', '.join(map(repr, changed))} in the result it "
                "was given. It is a copy: the change reaches no logger and no scheduler. Only "
                f"{SHOULD_CHECKPOINT!r} is read back; report other values from the trainable."
            )

    def on_trial_complete(self, iteration: int, trials: Sequence[TrialView], trial: TrialView, **info: Any) -> None:
        """Call `on_trial_complete` of each; errors are logged and go no further."""
        for each in self._callbacks:
            try:
                each.on_trial_complete(iteration=iteration, trials=trials, trial=trial, **info)
            except Exception as error:
                from perdure.trainable.failure import user_traceback

                name = type(each).__name__
                _log.error("%s.on_trial_complete failed for trial %s.\n%s", name, trial, user_traceback(error))

    def on_trial_recover(self, iteration: int, trials: Sequence[TrialView], trial: TrialView, **info: Any) -> None:
        """Call `on_trial_recover` of each."""
        for each in self._callbacks:
            each.on_trial_recover(iteration=iteration, trials=trials, trial=trial, **info)

    def on_trial_error(self, iteration: int, trials: Sequence[TrialView], trial: TrialView, **info: Any) -> None:
        """Call `on_trial_error` of each."""
        for each in self._callbacks:
            each.on_trial_error(iteration=iteration, trials=trials, trial=trial, **info)

    def on_checkpoint(
        self, iteration: int, trials: Sequence[TrialView], trial: TrialView, checkpoint: Checkpoint, **info: Any
    ) -> None:
        """Call `on_checkpoint` of each."""
        for each in self._callbacks:
            each.on_checkpoint(iteration=iteration, trials=trials, trial=trial, checkpoint=checkpoint, **info)

    def on_experiment_end(self, trials: Sequence[TrialView], **info: Any) -> None:
        """Call `on_experiment_end` of each; one that raises keeps no other from being called.

        Raises:
            Exception: what the first callback that failed raised.
        """
        first: Exception | None = None
        for each in self._callbacks:
            try:
                each.on_experiment_end(trials=trials, **info)
            except Exception as error:
                first = first or error
        if first is not None:
            raise first

    def get_state(self) -> dict[str, dict[str, Any]]:
        """Return the state of each callback that has one, by its place and class."""
        states = {name: each.get_state() for name, each in self._named()}
        return {name: state for name, state in states.items() if state is not None}

    def set_state(self, states: dict[str, dict[str, Any]]) -> None:
        """Give each callback back what it returned from `get_state`."""
        for name, each in self._named():
            if name in states:
                each.set_state(states[name])

    def _named(self) -> list[tuple[str, Callback]]:
        return [(f"{i}:{type(each).__qualname__}", each) for i, each in enumerate(self._callbacks)]


_ABSENT = object()
