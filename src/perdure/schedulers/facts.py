"""What schedulers may ask about an experiment: a `Controller` over a state, as it is now or as it was then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from perdure.core.events import CheckpointInfo
from perdure.core.state import State, Trial
from perdure.trial_view import TrialView

View = Callable[[Trial], TrialView]


class TrialList(Sequence[TrialView]):
    """All trials in the order they were created, as views that are made when asked for."""

    def __init__(self, state: State, view: View) -> None:
        self._trials = state.trials
        self._view = view

    def __len__(self) -> int:
        return len(self._trials)

    def __getitem__(self, index: Any) -> Any:
        trials = list(self._trials.values())[index]
        return [self._view(trial) for trial in trials] if isinstance(trials, list) else self._view(trials)

    def __iter__(self) -> Iterator[TrialView]:
        return (self._view(trial) for trial in list(self._trials.values()))


class ExperimentFacts:
    """What schedulers may ask about an experiment: a `Controller`.

    Args:
        state: What is true of it.
        view: Makes what plugins see of a trial.
        expects_more: Whether trials are still to begin.
    """

    def __init__(self, state: State, view: View, expects_more: Callable[[], bool]) -> None:
        self._state = state
        self._view = view
        self._expects_more = expects_more

    def get_trials(self) -> Sequence[TrialView]:
        """All trials, made on demand."""
        return TrialList(self._state, self._view)

    def get_live_trials(self) -> set[TrialView]:
        """The trials that are not finished, but for those that a person set aside."""
        return self.get_active_trials().union(self.get_paused_trials())

    def get_active_trials(self) -> set[TrialView]:
        """The trials that run or wait for room, but for those that a person set aside."""
        state = self._state
        active = (state.trials[trial] for trial in (*state.live, *state.ahead, *state.pending))
        return {self._view(trial) for trial in active if not trial.set_aside}

    def get_paused_trials(self) -> Iterator[TrialView]:
        """The paused trials, but for those that a person set aside."""
        trials = (self._state.trials[trial] for trial in self._state.paused)
        return (self._view(trial) for trial in trials if not trial.set_aside)

    def get_trial(self, trial_id: str) -> TrialView | None:
        """The trial of that id."""
        trial = self._state.trials.get(trial_id)
        return None if trial is None else self._view(trial)

    def count(self, status: str) -> int:
        """How many trials have that status."""
        return self._state.counts.get(status, 0)

    def checkpoint_of(self, trial_id: str) -> CheckpointInfo | None:
        """The newest whole checkpoint of what a trial is: not one from before it became a clone."""
        trial = self._state.trials[trial_id]
        latest = trial.latest
        return latest if latest is not None and latest.segment == trial.segment and trial.start is None else None

    @property
    def capacity(self) -> Mapping[str, float]:
        """What the executor has in all."""
        return self._state.capacity

    @property
    def expects_more(self) -> bool:
        """Whether trials are still to begin."""
        return self._expects_more()

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            """Say what there is to a plugin that takes this for Ray's controller."""
            raise AttributeError(
                f"A plugin asked the experiment for {name!r}, which it does not have. It has get_trials(), "
                "get_live_trials(), get_active_trials(), get_paused_trials(), get_trial(trial_id), count(status), "
                'checkpoint_of(trial_id), and capacity, for example capacity["CPU"].',
                name=name,
                obj=self,
            )
