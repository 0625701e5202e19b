"""Asynchronous successive halving: stop a trial that is not among the best of those that got as far.

Li, Jamieson, Rostamizadeh, Gonina, Ben-tzur, Hardt, Recht, Talwalkar: "A System for Massively Parallel Hyperparameter
Tuning" (MLSys 2020, arXiv:1810.05934), in the form that stops trials at once instead of promoting them later; for the
promoting form see `promotion_asha`. With several brackets it is asynchronous Hyperband, of the same paper.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from typing import Any

from perdure.arguments import named_arguments
from perdure.errors import ConfigurationError
from perdure.schedulers.base import OLDER, Controller
from perdure.schedulers.scoring import ScoringScheduler
from perdure.schedulers.sorted_values import SortedValues
from perdure.search_space.randomness import keyed_random
from perdure.trial_view import TrialView


@named_arguments(OLDER)
class AsyncHyperBandScheduler(ScoringScheduler):
    """Stops trials at rungs: at times `grace_period` * `reduction_factor` ** k.

    A trial that reaches a rung is stopped if its score is below the (1 - 1 / `reduction_factor`) quantile, with linear
    interpolation, of the scores of those that reached it before. A row at a rung takes O(log n), where n trials have
    been; rows between rungs cost nothing.

    Args:
        time_attr: What time is measured by.
        metric: What trials are compared by; of TuneConfig if None.
        mode: "min" or "max"; of TuneConfig if None.
        max_t: Trials are stopped at this time.
        grace_period: The first rung: no trial is stopped before.
        reduction_factor: One in so many passes a rung.
        brackets: So many series of rungs, the n-th without the first n - 1 rungs. A trial's series is drawn by the seed
            and its number, one with one rung more being e times as likely.
        stop_last_trials: Whether trials are stopped at `max_t`.

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
        brackets: int = 1,
        stop_last_trials: bool = True,
    ) -> None:
        super().__init__(time_attr, metric, mode)
        check_rungs(type(self).__name__, max_t, grace_period, reduction_factor)
        if not 1 <= brackets < math.inf:
            raise ConfigurationError(f"{type(self).__name__}(brackets={brackets!r}): use 1 or more, and not infinity.")
        self._max_t = max_t
        self._stop_last_trials = stop_last_trials
        self._quantile = 1 - 1 / reduction_factor
        rungs = milestones(grace_period, max_t, reduction_factor)
        self._milestones = [rungs[skipped:] for skipped in range(int(brackets))]
        self._scores = [[_scores() for _ in left] for left in self._milestones]
        self._reached: dict[str, list[int]] = {}
        """The bracket of each unfinished trial, and the rungs at which it was counted."""
        self._stopped = 0

    def on_trial_add(self, controller: Controller, trial: TrialView) -> None:
        """Draw the trial's bracket. One that goes on after its end was counted at the rungs behind it."""
        super().on_trial_add(controller, trial)
        progress = self._reached.setdefault(trial.trial_id, [self._draw_bracket(trial.number)])
        behind = self._point(trial.last_result)
        if behind is not None:
            progress += [rung for rung, time in enumerate(self._milestones[progress[0]]) if time <= behind[0]]

    def on_trial_result(self, controller: Controller, trial: TrialView, result: dict[str, Any]) -> str:
        """Return STOP at the end, or for a trial that does not pass a rung."""
        point = self._point(result)
        if point is None:
            return self.CONTINUE
        time, score = point
        over = self._stop_last_trials and time >= self._max_t
        if not over and self._passes(trial.trial_id, time, score):
            return self.CONTINUE
        self._stopped += 1
        return self.STOP

    def on_trial_complete(self, controller: Controller, trial: TrialView, result: dict[str, Any]) -> None:
        """Count where a trial got in the end, and forget it."""
        point = self._point(result)
        if trial.trial_id in self._reached and point is not None:
            self._passes(trial.trial_id, *point)
        self._reached.pop(trial.trial_id, None)

    def on_trial_error(self, controller: Controller, trial: TrialView) -> None:
        """Forget the trial; its scores still count."""
        self._reached.pop(trial.trial_id, None)

    def debug_string(self) -> str:
        """Return a line for people: the cut-offs by time."""
        cuts = " | ".join(
            f"{milestone:g}: {self._sign * cut_off(scores, self._quantile):.4g}"
            for rungs, counted in zip(self._milestones, self._scores, strict=True)
            for milestone, scores in zip(rungs, counted, strict=True)
            if scores
        )
        return f"Asynchronous HyperBand: {self._stopped} trials were stopped. Cut-offs by {self._time_attr}: {cuts}"

    def get_state(self) -> dict[str, Any]:
        """Return the scores at each rung, and which trials were counted where."""
        scores = [[list(rung) for rung in rungs] for rungs in self._scores]
        return {"scores": scores, "reached": dict(self._reached), "stopped": self._stopped}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_state` returned."""
        self._scores = [[_scores(rung) for rung in rungs] for rungs in state["scores"]]
        self._reached = {trial: list(progress) for trial, progress in state["reached"].items()}
        self._stopped = state["stopped"]

    @property
    def _sign(self) -> float:
        return 1.0 if self._mode == "max" else -1.0

    def _draw_bracket(self, number: int) -> int:
        weights = [math.exp(len(left)) for left in self._milestones]
        return keyed_random("bracket", self._seed, number).choices(range(len(weights)), weights)[0]

    def _passes(self, trial_id: str, time: float, score: float) -> bool:
        """Count the trial at the highest rung that it has reached and was not counted at; say whether it passes."""
        progress = self._reached[trial_id]
        bracket, counted = progress[0], progress[1:]
        milestones = self._milestones[bracket]
        for rung in reversed(range(len(milestones))):
            if time < milestones[rung]:
                continue
            if rung in counted:
                if self._stop_last_trials:
                    continue
                return True  # it passed this one, so those before no longer matter
            scores = self._scores[bracket][rung]
            passes = not scores or score >= cut_off(scores, self._quantile)
            scores.add(score)
            progress.append(rung)
            return passes
        return True


ASHAScheduler = AsyncHyperBandScheduler


def check_rungs(name: str, max_t: float, grace_period: float, reduction_factor: float) -> None:
    """See that there can be rungs.

    Raises:
        ConfigurationError: there cannot.
    """
    if not 0 < grace_period <= max_t < math.inf:
        raise ConfigurationError(
            f"{name}(grace_period={grace_period!r}, max_t={max_t!r}): use 0 < grace_period <= max_t < inf."
        )
    if reduction_factor <= 1:
        raise ConfigurationError(f"{name}(reduction_factor={reduction_factor!r}): use more than 1.")


def milestones(grace_period: float, max_t: float, reduction_factor: float) -> list[float]:
    """Return the times of the rungs, up to `max_t`."""
    count = int(math.log(max_t / grace_period) / math.log(reduction_factor) + 1 + 1e-9)
    return [grace_period * reduction_factor**rung for rung in range(count)]


def _scores(scores: Iterable[float] = ()) -> SortedValues[float]:
    return SortedValues(array("d", scores))


def cut_off(scores: SortedValues[float], quantile: float) -> float:
    """Return a quantile of sorted scores, interpolated linearly between two."""
    last = len(scores) - 1
    place = last * quantile
    below = int(place)
    low, high, share = scores[below], scores[min(below + 1, last)], place - below
    if share >= 0.5:
        return high - (high - low) * (1 - share)
    return low + (high - low) * share
