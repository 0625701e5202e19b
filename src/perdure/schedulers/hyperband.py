"""HyperBand: brackets of trials that are halved together, each bracket with another balance of number and length.

Li, Jamieson, DeSalvo, Rostamizadeh, Talwalkar: "Hyperband: A Novel Bandit-Based Approach to Hyperparameter
Optimization" (JMLR 18, 2018, arXiv:1603.06560).
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from perdure.arguments import named_arguments
from perdure.core.events import Action
from perdure.errors import ConfigurationError
from perdure.schedulers.base import OLDER, Answer, Controller, Judgement, resume, stop
from perdure.schedulers.scoring import ScoringScheduler
from perdure.trial_view import TrialView


@named_arguments(OLDER)
class HyperBandScheduler(ScoringScheduler):
    """Fills brackets with trials, pauses each at its bracket's milestone, and goes on with the best when all are there.

    A band has a bracket for each s from 0 to round(log(max_t) / log(reduction_factor)): its trials are compared s
    times, first at time max_t * reduction_factor ** -s, each time one in `reduction_factor` goes on and the milestone
    is `reduction_factor` times as far, in whole numbers; the last is `max_t`. Trials fill the brackets in order, those
    with few and long trials first, then another band.

    Trials are suggested when there is room for them, so a bracket may stay unfilled: when no more trials can be had,
    it is compared with those it has. What happens to the trials of a bracket at a comparison is one record of the
    journal. A row costs O(log b) on average, where b, the size of a bracket, does not depend on the number of trials.

    Trials that are paused must have a checkpoint, or they would begin anew.

    Args:
        time_attr: What time is measured by.
        metric: What trials are compared by; of TuneConfig if None.
        mode: "min" or "max"; of TuneConfig if None.
        max_t: No trial is run longer.
        reduction_factor: One in so many goes on.
        stop_last_trials: Whether trials are stopped at their bracket's last milestone.

    Raises:
        ConfigurationError: an argument makes no sense.
    """

    def __init__(
        self,
        time_attr: str = "training_iteration",
        metric: str | None = None,
        mode: str | None = None,
        max_t: float = 81,
        reduction_factor: float = 3,
        stop_last_trials: bool = True,
    ) -> None:
        super().__init__(time_attr, metric, mode)
        name = type(self).__name__
        if not 0 < max_t < math.inf:
            raise ConfigurationError(f"{name}(max_t={max_t!r}): use a number above 0, and not infinity.")
        if reduction_factor <= 1:
            raise ConfigurationError(f"{name}(reduction_factor={reduction_factor!r}): use more than 1.")
        self._max_t = max_t
        self._eta = reduction_factor
        self._stop_last_trials = stop_last_trials
        self._most_halvings = max(0, round(math.log(max_t) / math.log(reduction_factor)))
        self._brackets: dict[int, Bracket] = {}
        self._created = 0
        """Brackets so far, over all bands."""
        self._bracket_of: dict[str, int] = {}
        self._stopped = 0

    def on_trial_add(self, controller: Controller, trial: TrialView) -> None:
        """Put the trial into the bracket that is being filled."""
        super().on_trial_add(controller, trial)
        bracket = self._brackets.get(self._created - 1)
        if bracket is None or bracket.closed:
            bracket = self._next_bracket()
        bracket.add(trial.trial_id)
        self._bracket_of[trial.trial_id] = self._created - 1

    def on_trial_result(self, controller: Controller, trial: TrialView, result: dict[str, Any]) -> Answer:
        """Return PAUSE at a milestone, unless the trial was the last to arrive there: then what becomes of all."""
        point = self._point(result)
        index = self._bracket_of.get(trial.trial_id)
        if point is None or index is None:
            return self.CONTINUE
        bracket = self._brackets[index]
        bracket.scores[trial.trial_id] = point
        if bracket.goes_on(point[0]):
            return self.CONTINUE
        if not bracket.halvings:
            self._remove(trial.trial_id)
            return self.STOP
        bracket.arrived[trial.trial_id] = None
        if not bracket.complete:
            return self.PAUSE
        return self._answer(trial.trial_id, self._compare(index))

    def _answer(self, trial_id: str, actions: list[Action]) -> Answer:
        """Return what becomes of the trial that was the last to arrive, and of the others."""
        others = [action for action in actions if action.trial != trial_id]
        own = next((action for action in actions if action.trial == trial_id), None)
        if own is None:
            return Judgement(self.PAUSE, others)
        return Judgement(self.CONTINUE if own.resume else self.STOP, others)

    def on_trial_complete(self, controller: Controller, trial: TrialView, result: dict[str, Any]) -> Sequence[Action]:
        """Do without the trial; if the others of its bracket waited for it only, they are compared."""
        index = self._bracket_of.get(trial.trial_id)
        if index is None:
            return ()
        bracket = self._brackets[index]
        self._remove(trial.trial_id)
        return self._compare(index) if bracket.complete else ()

    def on_trial_error(self, controller: Controller, trial: TrialView) -> Sequence[Action]:
        """Do without the trial."""
        return self.on_trial_complete(controller, trial, {})

    def wake(self, controller: Controller) -> Sequence[Action]:
        """Compare the trials of a bracket that cannot be filled, or that waits for trials that nobody runs."""
        mended = self._mend(controller)
        if mended:
            return mended
        for index, bracket in list(self._brackets.items()):
            missing = [controller.get_trial(trial) for trial in bracket.scores if trial not in bracket.arrived]
            if bracket.arrived and all(trial is None or trial.status == TrialView.PAUSED for trial in missing):
                return self._compare(index)
        return ()

    def _mend(self, controller: Controller) -> list[Action]:
        """Return what had been decided when a trial ended and was lost with the driver before it was written."""
        actions = []
        for trial in controller.get_paused_trials():
            index = self._bracket_of.get(trial.trial_id)
            if index is None:
                actions.append(stop(trial.trial_id))
            elif trial.trial_id not in self._brackets[index].arrived:
                actions.append(resume(trial.trial_id))
        return actions

    def on_actions_retold(self, controller: Controller, actions: Sequence[Action]) -> None:
        """Compare again the trials that `wake` had compared, if that is what it had come to."""
        told = {action.trial: action.resume for action in actions}
        for index in {self._bracket_of[trial] for trial in told if trial in self._bracket_of}:
            go_on, stopped = copy.deepcopy(self._brackets[index]).halve()
            if told.items() <= {**dict.fromkeys(go_on, True), **dict.fromkeys(stopped, False)}.items():
                self._compare(index)

    def debug_string(self) -> str:
        """Return a line for people: each bracket that is under way."""
        told = "; ".join(str(bracket) for bracket in self._brackets.values())
        return f"HyperBand: {self._created} brackets, {self._stopped} trials were stopped. Under way: {told or 'none'}"

    def state(self) -> dict[str, int]:
        """Return how many brackets there have been, and how many trials were stopped."""
        return {"num_brackets": self._created, "num_stopped": self._stopped}

    def get_state(self) -> dict[str, Any]:
        """Return the brackets that are under way."""
        return {
            "created": self._created,
            "stopped": self._stopped,
            "brackets": [[index, dataclasses.asdict(bracket)] for index, bracket in self._brackets.items()],
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_state` returned."""
        self._created, self._stopped = state["created"], state["stopped"]
        self._brackets = {index: Bracket(**bracket) for index, bracket in state["brackets"]}
        self._bracket_of = {trial: index for index, bracket in self._brackets.items() for trial in bracket.scores}

    # --- brackets -----------------------------------------------------------------------------------------------------

    def _halvings_at(self, place: int) -> int:
        """Return how often the trials of the bracket at this place of a band are compared."""
        return place

    def _next_bracket(self) -> Bracket:
        places = self._most_halvings + 1
        while True:
            halvings = self._halvings_at(self._created % places)
            self._created += 1
            milestone = _milestone(self._max_t, self._eta, halvings)
            if milestone >= 1 or not halvings:  # else there is no time so short
                break
        size = math.ceil(places / (halvings + 1) * self._eta**halvings)
        bracket = Bracket(
            eta=self._eta,
            max_t=self._max_t,
            endless=not self._stop_last_trials,
            halvings=halvings,
            room=size,
            survivors=size,
            milestone=milestone,
        )
        self._brackets[self._created - 1] = bracket
        return bracket

    def _compare(self, index: int) -> list[Action]:
        """Return what becomes of the trials of a bracket that have arrived."""
        bracket = self._brackets[index]
        go_on, stopped = bracket.halve()
        for trial in stopped:
            self._remove(trial)
        self._stopped += len(stopped)
        return [*(resume(trial) for trial in go_on), *(stop(trial) for trial in stopped)]

    def _remove(self, trial_id: str) -> None:
        index = self._bracket_of.pop(trial_id)
        bracket = self._brackets[index]
        bracket.scores.pop(trial_id)
        bracket.arrived.pop(trial_id, None)
        if bracket.closed and not bracket.scores:
            del self._brackets[index]


def _milestone(max_t: float, eta: float, halvings: int) -> float:
    """Return the time that trials have come to when so many comparisons are still before them.

    Each is made from `max_t`, so that what is cut off of one is not lost to those after it.
    """
    time = max_t / eta**halvings
    return math.floor(time) or time


@dataclasses.dataclass(slots=True, kw_only=True)
class Bracket:
    """Trials that are compared with each other, and run equally long between comparisons."""

    eta: float
    max_t: float
    endless: bool
    """Those that are left at the end go on until they end by themselves."""
    halvings: int
    """Comparisons to come."""
    room: int
    """Trials that it still takes."""
    survivors: int
    """Trials that the last comparison left; at first, the planned number."""
    milestone: float
    """The time at which the next comparison takes place, or the end."""
    scores: dict[str, tuple[float, float] | None] = dataclasses.field(default_factory=dict)
    """Time and score of each unfinished trial, in the order they were added; None before its first row."""
    arrived: dict[str, None] = dataclasses.field(default_factory=dict)
    """Those at the milestone."""

    def __str__(self) -> str:
        return f"{len(self.arrived)} of {len(self.scores)} trials at {self.milestone:g}"

    @property
    def closed(self) -> bool:
        """Whether no trials are added any more."""
        return not self.room

    @property
    def complete(self) -> bool:
        """Whether all that can arrive at the milestone have."""
        return self.closed and bool(self.arrived) and len(self.arrived) == len(self.scores)

    def add(self, trial: str) -> None:
        """Add a trial."""
        self.scores[trial] = None
        self.room -= 1

    def goes_on(self, time: float) -> bool:
        """Whether a trial that has come to `time` has further to go without being compared."""
        return time < self.milestone or (self.endless and not self.halvings)

    def halve(self) -> tuple[list[str], list[str]]:
        """Compare those that have arrived until some go on; return those, the best first, and those that are stopped.

        Nobody is added to the bracket any more.
        """
        self.room = 0
        go_on: list[str] = []
        stopped: list[str] = []
        while self.arrived and self.halvings and not go_on:
            self.halvings -= 1
            self.survivors = math.ceil(self.survivors / self.eta)
            self.milestone = _milestone(self.max_t, self.eta, self.halvings)
            ranked = sorted((trial for trial in self.scores if trial in self.arrived), key=self._score)
            worse, better = ranked[: -self.survivors], ranked[-self.survivors :]
            go_on = [trial for trial in reversed(better) if self.goes_on(self._time(trial))]
            stopped += worse
            self.arrived = dict.fromkeys(trial for trial in better if trial not in go_on)
        if not self.halvings:  # these have come past the end already
            stopped += self.arrived
            self.arrived = {}
        return go_on, stopped

    def _time(self, trial: str) -> float:
        point = self.scores[trial]
        assert point is not None
        return point[0]

    def _score(self, trial: str) -> float:
        point = self.scores[trial]
        assert point is not None
        return point[1]
