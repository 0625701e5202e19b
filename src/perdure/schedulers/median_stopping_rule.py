"""The median stopping rule: stop a trial whose best is worse than the median of what others were on average by then.

Golovin, Solnik, Moitra, Kochanski, Karro, Sculley: "Google Vizier: A Service for Black-Box Optimization" (KDD 2017),
section 3.2.2.
"""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Sequence
from typing import Any

from perdure.arguments import named_arguments
from perdure.core.events import Action
from perdure.schedulers.base import OLDER, Controller
from perdure.schedulers.scoring import WORST, ScoringScheduler
from perdure.schedulers.sorted_values import SortedValues
from perdure.trial_view import TrialView


@named_arguments(OLDER)
class MedianStoppingRule(ScoringScheduler):
    """Stops a trial at time t if its best score by then is worse than the median of the others' averages up to t.

    The others are those that have come as far, and count with the average of their rows since `grace_period`.
    Averages are kept at the times at which the trial that was farthest so far reported, and a row is compared at the
    last of these that is not after it. So nothing is interpolated, and where trials report at the same times (rows
    counted in iterations) it is exact; in seconds, others may be looked at as of one row before. A row
    takes O(log n), where n trials have been, for each of these times that it passes, and 8 bytes are kept for it.

    Args:
        time_attr: What time is measured by.
        metric: What trials are compared by; of TuneConfig if None.
        mode: "min" or "max"; of TuneConfig if None.
        grace_period: No trial is stopped earlier, and no row before counts for an average.
        min_samples_required: With fewer others to compare with, nobody is stopped.
        min_time_slice: A trial with too few others to compare with, that has a checkpoint, makes room for others that
            wait to be started once it has run longer than this since it last did. Not for paused ones, which have as
            few to compare with: somebody has to be the first to get farther.
        hard_stop: Whether trials are stopped, or paused until no others are left to be run.

    Raises:
        ConfigurationError: `mode` is neither "min" nor "max", or what should be a number is none.
    """

    def __init__(
        self,
        time_attr: str = "time_total_s",
        metric: str | None = None,
        mode: str | None = None,
        grace_period: float = 60.0,
        min_samples_required: int = 3,
        min_time_slice: float = 0,
        hard_stop: bool = True,
    ) -> None:
        super().__init__(time_attr, metric, mode)
        self._grace_period = grace_period
        self._min_samples = min_samples_required
        self._min_time_slice = min_time_slice
        self._hard_stop = hard_stop
        self._times = array("d")
        self._averages: list[SortedValues[float]] = []
        """At each of these times, the averages of those that came so far, sorted."""
        self._runs: dict[str, Run] = {}
        self._stopped = 0

    def on_trial_result(self, controller: Controller, trial: TrialView, result: dict[str, Any]) -> str:
        """Return STOP (or PAUSE) for a trial that is worse than the median."""
        decision = self._judge(trial.trial_id, result)
        if decision is not None:
            return decision
        run, time = self._runs[trial.trial_id], float(self._time(result))
        saved = self._saves or trial.checkpoint is not None or result.get("checkpoint_dir_name") is not None
        waited = run.yielded is None or time - run.yielded > self._min_time_slice
        if not (saved and waited and _others_wait(controller, trial)):
            return self.CONTINUE
        run.yielded = time
        return self.PAUSE

    def on_trial_retold(
        self,
        controller: Controller,
        trial: TrialView,
        result: dict[str, Any],
        decision: str,
        actions: Sequence[Action],
    ) -> None:
        """Judge a row again; whether it made room for others then is taken from the record."""
        if self._judge(trial.trial_id, result) is None and decision == self.PAUSE:
            self._runs[trial.trial_id].yielded = float(self._time(result))

    def on_trial_complete(self, controller: Controller, trial: TrialView, result: dict[str, Any]) -> None:
        """Let the trial's last row count, if it was not judged, and forget the trial."""
        point = self._point(result)
        if point is not None and point[0] > self._run(trial.trial_id).time:
            self._record(self._run(trial.trial_id), *point)
        self._runs.pop(trial.trial_id, None)

    def on_trial_error(self, controller: Controller, trial: TrialView) -> None:
        """Forget the trial; what it reported still counts."""
        self._runs.pop(trial.trial_id, None)

    def debug_string(self) -> str:
        """Return a line for people."""
        return f"Median stopping rule: {self._stopped} trials were stopped."

    def get_state(self) -> dict[str, Any]:
        """Return the averages so far, and what is known of the trials that run."""
        return {
            "times": list(self._times),
            "averages": [list(averages) for averages in self._averages],
            "runs": {trial: dataclasses.asdict(run) for trial, run in self._runs.items()},
            "stopped": self._stopped,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_state` returned."""
        self._times = array("d", state["times"])
        self._averages = [SortedValues(array("d", averages)) for averages in state["averages"]]
        self._runs = {trial: Run(**run) for trial, run in state["runs"].items()}
        self._stopped = state["stopped"]

    # --- the rule -----------------------------------------------------------------------------------------------------

    def _judge(self, trial_id: str, result: dict[str, Any]) -> str | None:
        """Take in a row and return what becomes of its trial; None if there are too few others to say."""
        point = self._point(result)
        run = self._run(trial_id)
        if point is None or run.spared:
            return self.CONTINUE
        self._record(run, *point)
        if point[0] < self._grace_period:
            return self.CONTINUE
        place = run.passed - 1
        others = Others(self._averages[place], run.counted) if place >= 0 else None
        if others is None or len(others) < self._min_samples or not len(others):
            return None
        if run.best >= others.median():
            return self.CONTINUE
        self._stopped += 1
        run.spared = True
        return self.STOP if self._hard_stop else self.PAUSE

    def _record(self, run: Run, time: float, score: float) -> None:
        """Take in a row: the trial's average stands at each time that it has passed."""
        run.time = time
        run.best = max(run.best, score)
        if time < self._grace_period:
            return
        while run.passed < len(self._times) and self._times[run.passed] < time:
            self._stand(run)
        if abs(score) < -WORST:
            run.total += score
            run.rows += 1
        if not self._times or time > self._times[-1]:
            self._times.append(time)
            self._averages.append(SortedValues(array("d")))
        if run.passed < len(self._times) and self._times[run.passed] == time:
            self._stand(run)

    def _stand(self, run: Run) -> None:
        run.counted = run.total / run.rows if run.rows else None
        if run.counted is not None:
            self._averages[run.passed].add(run.counted)
        run.passed += 1

    def _run(self, trial_id: str) -> Run:
        return self._runs.setdefault(trial_id, Run())

    def _time(self, result: dict[str, Any]) -> float:
        point = self._point(result)
        assert point is not None
        return point[0]


@dataclasses.dataclass(slots=True)
class Run:
    """What is known of an unfinished trial."""

    time: float = -1.0
    """Of its last row."""
    best: float = WORST
    total: float = 0.0
    rows: int = 0
    """Its finite scores since the grace period, and how many there are."""
    passed: int = 0
    """How many of the kept times it has passed."""
    counted: float | None = None
    """Its average at the last of them."""
    yielded: float | None = None
    """When it last made room for others."""
    spared: bool = False
    """It was paused for being worse, so when it goes on it runs to its end."""


class Others:
    """Sorted averages without one of them."""

    def __init__(self, averages: SortedValues[float], own: float | None) -> None:
        self._averages = averages
        count = len(averages)
        self._own = count if own is None else averages.bisect_left(own)
        self._count = count - (self._own < count)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> float:
        return self._averages[index if index < self._own else index + 1]

    def median(self) -> float:
        """Return the median; of two in the middle, the mean."""
        middle = self._count // 2
        return self[middle] if self._count % 2 else (self[middle - 1] + self[middle]) / 2


def _others_wait(controller: Controller, trial: TrialView) -> bool:
    """Whether others wait to be started. While a row is adopted after a crash, all that ran are PENDING."""
    pending = trial.status == TrialView.RUNNING and controller.count(TrialView.PENDING) > 0
    return controller.expects_more or pending
