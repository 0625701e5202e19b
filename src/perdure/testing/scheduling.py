"""Schedulers, searchers and stoppers on the simulated machine: what they decide, and that a crash changes none of it.

All but the machine, its disk and its clock is real (see `simulation`). Trials save a checkpoint with each report, and
restarting costs nothing: a step that a crash interrupts is over when it would have been over without. So whatever they
decide, an experiment whose driver is killed again and again has the same history as one that nobody
disturbs, row by row.

    history = run_scheduled(make_asha, curve, samples=9, max_t=27, slots=3, seed=0)
    assert transcript(history) == transcript(run_scheduled(..., crash_after=(40, 11)))
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from perdure.core.events import Action, Data, Reported, Spec
from perdure.executors.simulated import ScriptStep, Step
from perdure.history import ExperimentHistory
from perdure.schedulers.base import TrialScheduler
from perdure.search_space.functions import uniform
from perdure.search_space.randomness import keyed_random
from perdure.searchers.base import Searcher
from perdure.searchers.driver import SearchDriver
from perdure.stoppers.base import Stopper
from perdure.stoppers.noop import NoopStopper
from perdure.testing.simulation import BrokenPromiseError, Faults, Workload, World
from perdure.testing.simulation.faults import NONE
from perdure.testing.simulation.invariants import Ledger
from perdure.testing.simulation.run import PATH
from perdure.trainable.messages import Assignment

Curve = Callable[[Data, int, "Data | None"], Data]
"""The row that a trial reports: a function of its configuration, the iteration, and the row that its checkpoint holds
(None at the start; a clone's first is its donor's). What it must remember, it reports."""
Pace = Callable[[str, int], float]
"""Seconds that a step takes: a function of the trial's id and the iteration."""

OPENING = 60
"""About as many operations on the disk open an experiment."""
OPERATIONS = 4
"""About as many come with each call of the executor, which counts as a step."""
_CHECKED = 200  # trials: with more, the invariants are left to other tests, because checking looks at every trial


def _none() -> None:
    """Make nothing: then search is random."""


def run_scheduled(
    make_scheduler: Callable[[], TrialScheduler],
    learning_curve: Curve,
    *,
    samples: int,
    max_t: int,
    slots: int,
    seed: int,
    crash_after: Sequence[int] = (),
    space: Mapping[str, Any] | None = None,
    pace: Pace | None = None,
    make_searcher: Callable[[], Searcher | None] = _none,
    make_stopper: Callable[[], Stopper] = NoopStopper,
    tell: bool = False,
) -> ExperimentHistory:
    """Run an experiment in virtual time, and return its history.

    Args:
        make_scheduler: Makes the scheduler, anew for each session.
        learning_curve: What trials report.
        samples: How many trials there are.
        max_t: A trial ends by itself after so many iterations.
        slots: How many run at a time.
        seed: Draws the configurations, and the pace.
        crash_after: The first session's driver is killed after so many of its steps, the second session's after so
            many of its own, ... The session after these runs to the end.
        space: What is searched; "x", from 0 to 1, if None.
        pace: No two steps should end at the same instant. If None, steps take from 0.5 to 1.5 seconds.
        make_searcher: Makes the searcher, anew for each session; it knows its metric and mode. Random search otherwise.
        make_stopper: Makes the stop rule, anew for each session.
        tell: Print each event.

    Raises:
        BrokenPromiseError: a promise did not hold, among them that the experiment ends and leaves no trial paused.
    """
    laboratory = Laboratory(
        make_scheduler,
        learning_curve,
        samples=samples,
        max_t=max_t,
        slots=slots,
        seed=seed,
        crash_after=crash_after,
        space=space,
        pace=pace,
        make_searcher=make_searcher,
        make_stopper=make_stopper,
        tell=tell,
    )
    laboratory.run()
    return laboratory.history()


def transcript(
    history: ExperimentHistory,
) -> list[tuple[str, str, Data, dict[str, float] | None, list[tuple[int, int, Data, str, tuple[Action, ...]]]]]:
    """Return what happened, for comparison; no times.

    Of each trial: id, status, configuration, resources, and rows with all that was decided at them.
    """
    return [
        (
            trial.id,
            trial.status.value,
            trial.config,
            trial.resources,
            [(row.segment, row.iteration, row.metrics, row.decision.value, row.actions) for row in trial.rows()],
        )
        for trial in history.trials.values()
    ]


class Laboratory(World):
    """A world in which nothing goes wrong but that drivers are killed."""

    turns = 100_000_000
    snapshot_s = 1e9

    def __init__(
        self,
        make_scheduler: Callable[[], TrialScheduler],
        learning_curve: Curve,
        *,
        samples: int,
        max_t: int,
        slots: int,
        seed: int,
        crash_after: Sequence[int] = (),
        space: Mapping[str, Any] | None = None,
        pace: Pace | None = None,
        make_searcher: Callable[[], Searcher | None] = _none,
        make_stopper: Callable[[], Stopper] = NoopStopper,
        tell: bool = False,
    ) -> None:
        """Arguments are those of `run_scheduled`."""
        workload = Workload(
            samples=samples,
            steps=max_t,
            every=1,
            cpus=slots,
            spec=Spec(num_samples=samples, seed=seed),
            saves=False,
            stop=None,
            scheduler="",
        )
        super().__init__(seed, tell=tell, case=(workload, _nothing_but(crash_after)))
        self.ledger.thorough = samples <= _CHECKED
        self._make_scheduler = make_scheduler
        self._make_searcher = make_searcher
        self._make_stopper = make_stopper
        self._curve = learning_curve
        self._space = {"x": uniform(0, 1)} if space is None else space
        self._pace = pace or _uneven(seed)
        self._before = 0.0  # virtual seconds of earlier sessions
        self._due: dict[tuple[str, int, int], float] = {}

    def make_ledger(self) -> Ledger:
        """Return what keeps the promises; what a row holds is nobody's business."""
        return _Ledger(self.disk, PATH, self.workload)

    def make_search(self) -> SearchDriver:
        """Return what suggests configurations."""
        searcher, samples = self._make_searcher(), self.workload.samples
        return SearchDriver(searcher, param_space=self._space, num_samples=samples, seed=self.seed)

    def make_scheduler(self) -> TrialScheduler:
        """Return the scheduler, anew for each session."""
        return self._make_scheduler()

    def make_stopper(self) -> Stopper:
        """Return the stop rule, anew for each session."""
        return self._make_stopper()

    def script(self, config: Data, assignment: Assignment, row: Data | None) -> Iterator[ScriptStep]:
        """What a trial does: go on from the row in its checkpoint. A step begun before a crash ends as if none was."""
        for iteration in range(assignment.iteration + 1, self.workload.steps + 1):
            step = (assignment.trial, assignment.segment, iteration)
            now = self._before + self.machine.clock()
            due = self._due.setdefault(step, now + self._pace(assignment.trial, iteration))
            row = self._curve(config, iteration, row)
            yield Step(max(0.0, due - now), row, checkpoint=True)

    def crash(self, *, power_cut: bool) -> None:
        """Only the driver dies."""
        self._before += self.machine.clock()


class _Ledger(Ledger):
    def check_value(self, event: Reported) -> None:
        pass

    def check_follows(self, trial: str, previous: Reported | None, row: Reported) -> None:
        if previous is not None and previous.segment == row.segment and row.iteration != previous.iteration + 1:
            raise BrokenPromiseError(f"trial {trial}: {row} does not follow {previous}")

    def check_end(self, trial: str, last: Reported | None) -> None:
        pass


def _nothing_but(crash_after: Sequence[int]) -> Faults:
    crashes = tuple(OPENING + OPERATIONS * steps for steps in crash_after)
    return dataclasses.replace(NONE, crashes=crashes, power_cuts=(False,) * len(crashes))


def _uneven(seed: int) -> Pace:
    return lambda trial, iteration: keyed_random("pace", seed, trial, iteration).uniform(0.5, 1.5)
