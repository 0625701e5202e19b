"""Asynchronous successive halving that pauses trials at rungs and promotes the best when there is room.

Li, Jamieson, Rostamizadeh, Gonina, Ben-tzur, Hardt, Recht, Talwalkar: "A System for Massively Parallel Hyperparameter
Tuning" (MLSys 2020, arXiv:1810.05934), algorithm 2.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from typing import Any

from perdure.arguments import named_arguments
from perdure.core.events import Action
from perdure.schedulers.async_hyperband import check_rungs, milestones
from perdure.schedulers.base import OLDER, Controller, resume, stop
from perdure.schedulers.scoring import ScoringScheduler
from perdure.schedulers.sorted_values import SortedValues
from perdure.trial_view import TrialView


@named_arguments(OLDER)
class PromotionASHAScheduler(ScoringScheduler):
    """Pauses every trial at each rung, and lets it go on once it is among the best of its rung.

    Whenever there is room, the best trial goes on that is among the best 1 / `reduction_factor` of its rung, of the
    highest such rung; if there is none, a new trial starts. Unlike `AsyncHyperBandScheduler`, no trial is lost for
    having been slow or compared with few: it waits, and may be promoted when its rung has grown. Nor does one go on
    for having been first.

    When no new trial can be had and nothing runs, the best of the highest rung goes on, so that at least one trial
    reaches `max_t`; then those that still wait are stopped. Where the searcher waits for trials to end, the worst
    waiting one of the lowest rung is.

    A row at a rung, and a promotion, takes O(log n), amortized, where n trials have been.

    Trials must save checkpoints at the rungs, or they would begin anew.

    Args:
        time_attr: What time is measured by.
        metric: What trials are compared by; of TuneConfig if None.
        mode: "min" or "max"; of TuneConfig if None.
        max_t: Trials are stopped at this time.
        grace_period: The first rung; rung k is at `grace_period` * `reduction_factor` ** k.
        reduction_factor: One in so many is promoted.

    Raises:
        ConfigurationError: an argument makes no sense.
    """

    def __init__(
        self,
        time_attr: str = "training_iteration",
        metric: str | None = None,
        mode: str | None = None,
        max_t: float = 100,
        grace_period: float = 1,
        reduction_factor: float = 4,
    ) -> None:
        super().__init__(time_attr, metric, mode)
        check_rungs(type(self).__name__, max_t, grace_period, reduction_factor)
        self._max_t = max_t
        self._rungs = [
            Rung(time, reduction_factor) for time in milestones(grace_period, max_t, reduction_factor) if time < max_t
        ]
        self._level: dict[str, int] = {}
        """The next rung of each unfinished trial."""
        self._stopped = 0

    def on_trial_add(self, controller: Controller, trial: TrialView) -> None:
        """Begin at the first rung. One that goes on after its end was counted at the rungs behind it."""
        super().on_trial_add(controller, trial)
        behind = self._point(trial.last_result)
        if behind is not None:
            self._level[trial.trial_id] = sum(rung.milestone <= behind[0] for rung in self._rungs)

    def on_trial_result(self, controller: Controller, trial: TrialView, result: dict[str, Any]) -> str:
        """Return PAUSE at a rung, but for a trial that would be promoted at once."""
        point = self._point(result)
        if point is None:
            return self.CONTINUE
        time, score = point
        if time >= self._max_t:
            return self.STOP
        rung = self._reached(trial.trial_id, time)
        if rung is None:
            return self.CONTINUE
        self._rungs[rung].add(trial.trial_id, score)
        self._level[trial.trial_id] = rung + 1
        best = self._promotable()
        if best is None or best[1] != trial.trial_id:
            return self.PAUSE
        self._rungs[rung].promote(trial.trial_id)
        return self.CONTINUE

    def promote(self, controller: Controller) -> Sequence[Action]:
        """Return the trial that goes on before a new one is started."""
        best = self._promotable()
        if best is None:
            return ()
        rung, trial = best
        self._rungs[rung].promote(trial)
        return (resume(trial),)

    def wake(self, controller: Controller) -> Sequence[Action]:
        """Return the trial that goes on; if nothing runs, the best of the highest rung, or who is stopped."""
        if promoted := self.promote(controller):
            return promoted
        if controller.count(TrialView.RUNNING) or controller.count(TrialView.PENDING):
            return ()  # what runs may make room in its rung
        for rung in reversed(self._rungs):
            if rung.waiting and not rung.promoted:
                best = rung.best()
                rung.promote(best)
                return (resume(best),)
        rungs = [rung for rung in self._rungs if rung.waiting]
        if controller.expects_more:
            return [self._stop(rung, rung.worst()) for rung in rungs[:1]]
        return [self._stop(rung, trial) for rung in rungs for trial in list(rung.waiting)]

    def on_actions_retold(self, controller: Controller, actions: Sequence[Action]) -> None:
        """Promote, or stop, again those that were."""
        for action in actions:
            rung = next((rung for rung in self._rungs if action.trial in rung.waiting), None)
            if rung is not None and action.resume:
                rung.promote(action.trial)
            elif rung is not None:
                self._stop(rung, action.trial)

    def on_trial_complete(self, controller: Controller, trial: TrialView, result: dict[str, Any]) -> None:
        """Do without the trial; its scores still count."""
        level = self._level.pop(trial.trial_id, 0)
        if level:
            self._rungs[level - 1].waiting.pop(trial.trial_id, None)

    def on_trial_error(self, controller: Controller, trial: TrialView) -> None:
        """Do without the trial; its scores still count."""
        self.on_trial_complete(controller, trial, {})

    def debug_string(self) -> str:
        """Return a line for people: what waits at each rung."""
        told = ", ".join(f"{len(rung.waiting)} of {len(rung.scores)} at {rung.milestone:g}" for rung in self._rungs)
        return f"Promotion ASHA: {self._stopped} trials were stopped. Waiting: {told}"

    def get_state(self) -> dict[str, Any]:
        """Return the rungs, and which trials are where."""
        return {
            "rungs": [rung.get_state() for rung in self._rungs],
            "level": dict(self._level),
            "stopped": self._stopped,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_state` returned."""
        for rung, remembered in zip(self._rungs, state["rungs"], strict=True):
            rung.set_state(remembered)
        self._level = dict(state["level"])
        self._stopped = state["stopped"]

    def _reached(self, trial_id: str, time: float) -> int | None:
        """Return the highest rung that a trial has come to since it was last at one."""
        first = self._level.setdefault(trial_id, 0)
        rungs = range(first, len(self._rungs))
        return next((rung for rung in reversed(rungs) if time >= self._rungs[rung].milestone), None)

    def _promotable(self) -> tuple[int, str] | None:
        """Return who is to go on, and the rung it waits at."""
        for number, rung in reversed(list(enumerate(self._rungs))):
            if rung.is_promotable():
                return number, rung.best()
        return None

    def _stop(self, rung: Rung, trial: str) -> Action:
        self._stopped += 1
        rung.waiting.pop(trial)
        return stop(trial)


class Rung:
    """The scores of all that have come to one time, and those of them that wait there."""

    def __init__(self, milestone: float, reduction_factor: float) -> None:
        self.milestone = milestone
        self.reduction_factor = reduction_factor
        self.scores: SortedValues[tuple[float, int]] = SortedValues([])
        """Score and (the negative of) the place in the order of arrival, sorted: of equals, the first is the best."""
        self.waiting: dict[str, tuple[float, int]] = {}
        self.promoted = 0
        self._best: list[tuple[float, int, str]] = []
        self._worst: list[tuple[float, int, str]] = []
        """Heaps of those that wait; at their heads may be some that were promoted, or are gone, or came here again."""

    def add(self, trial: str, score: float) -> None:
        """A trial has come here, and waits."""
        entry = score, -len(self.scores)
        self.scores.add(entry)
        self.waiting[trial] = entry
        heapq.heappush(self._best, (-entry[0], -entry[1], trial))
        heapq.heappush(self._worst, (*entry, trial))

    def promote(self, trial: str) -> None:
        """A trial goes on."""
        self.waiting.pop(trial)
        self.promoted += 1

    def best(self) -> str:
        """Return the best that waits."""
        heap = self._best
        while self.waiting.get(heap[0][2]) != (-heap[0][0], -heap[0][1]):
            heapq.heappop(heap)
        return heap[0][2]

    def worst(self) -> str:
        """Return the worst that waits."""
        heap = self._worst
        while self.waiting.get(heap[0][2]) != heap[0][:2]:
            heapq.heappop(heap)
        return heap[0][2]

    def is_promotable(self) -> bool:
        """Whether the best that waits is among the best of all that have come here."""
        if not self.waiting:
            return False
        count = len(self.scores)
        promoted = int(count / self.reduction_factor)
        return promoted > 0 and self.waiting[self.best()] >= self.scores[count - promoted]

    def get_state(self) -> dict[str, Any]:
        """Return the scores, in order of arrival, and who waits by its place in it."""
        scores = [score for score, _ in sorted(self.scores, key=lambda entry: -entry[1])]
        waiting = {trial: -place for trial, (_, place) in self.waiting.items()}
        return {"scores": scores, "waiting": waiting, "promoted": self.promoted}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_state` returned."""
        arrived = [(score, -place) for place, score in zip(itertools.count(), state["scores"])]
        self.scores = SortedValues(sorted(arrived))
        self.waiting = {trial: arrived[place] for trial, place in state["waiting"].items()}
        self.promoted = state["promoted"]
        self._best = [(-score, -place, trial) for trial, (score, place) in self.waiting.items()]
        self._worst = [(score, place, trial) for trial, (score, place) in self.waiting.items()]
        heapq.heapify(self._best)
        heapq.heapify(self._worst)
