"""Schedulers on the simulated machine: what they decide, and that a crash changes none of it.

The core, the loop, the judge, the journal's lines and recovery are the real ones; simulated are the machine, its
clock and the disk (see `simulation`). Trials save a checkpoint with each report, and restarting costs nothing: a step
that a crash interrupts is over when it would have been over without. So whatever a scheduler decides, an experiment
whose driver is killed again and again has the same history as one that nobody disturbs, row by row.

    history = run_scheduled(make_asha, curve, samples=9, max_t=27, slots=3, seed=0)
    assert transcript(history) == transcript(run_scheduled(..., crash_after=(40, 11)))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from perdure.core.events import AnyEvent, Data, Reported, Spec
from perdure.core.state import State
from perdure.executors.simulated import ScriptStep, Step
from perdure.history import ExperimentHistory
from perdure.journal.base import Position
from perdure.schedulers.base import TrialScheduler
from perdure.search_space.functions import uniform
from perdure.search_space.randomness import keyed_random
from perdure.searchers.driver import SearchDriver
from perdure.testing.simulation import BrokenPromiseError, Faults, Workload, World
from perdure.trainable.messages import Assignment

Curve = Callable[[Data, int, "Data | None"], Data]
"""The row that a trial reports: a function of its configuration, the iteration, and the row that its checkpoint holds
(None at the start; a clone's first is its donor's). What it must remember, it reports."""
Pace = Callable[[str, int], float]
"""Seconds that a step takes: a function of the trial's id and the iteration."""

_CHECKED = 200  # trials: with more, the invariants are left to other tests, because checking looks at every trial


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
        tell=tell,
    )
    laboratory.run()
    return laboratory.history()


def transcript(history: ExperimentHistory) -> list[tuple[str, str, Data, list[tuple[int, int, Data, str]]]]:
    """Return what happened, for comparison: id, status, configuration and rows of each trial; no times."""
    return [
        (
            trial.id,
            trial.status.value,
            trial.config,
            [(row.segment, row.iteration, row.metrics, row.decision.value) for row in trial.rows()],
        )
        for trial in history.trials.values()
    ]


class Laboratory(World):
    """A world in which nothing goes wrong but that drivers are killed."""

    turns = 100_000_000

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
        super().__init__(seed, tell=tell, drawn=(workload, _nothing_but(crash_after)))
        self._make_scheduler = make_scheduler
        self._curve = learning_curve
        self._space = {"x": uniform(0, 1)} if space is None else space
        self._pace = pace or _uneven(seed)
        self._before = 0.0  # virtual seconds of earlier sessions
        self._due: dict[tuple[str, int, int], float] = {}

    def history(self) -> ExperimentHistory:
        """Return what is in the journal."""
        history = ExperimentHistory()
        for index, event in enumerate(self.disk.events()):
            history.fold(Position(1, index + 1, 0), event)
        return history

    def script(self, config: Data, assignment: Assignment) -> Iterator[ScriptStep]:
        """What a trial does: go on from the row in its checkpoint. A step begun before a crash ends as if none was."""
        row: Data | None = None
        if assignment.start is not None:
            stored = self.disk.find(assignment.start.path)
            assert stored is not None
            row = stored.manifest.row
        for iteration in range(assignment.iteration + 1, self.workload.steps + 1):
            step = (assignment.trial, assignment.segment, iteration)
            now = self._before + self.clock()
            due = self._due.setdefault(step, now + self._pace(assignment.trial, iteration))
            row = self._curve(config, iteration, row)
            yield Step(max(0.0, due - now), row, checkpoint=True)

    def observe(self, events: Sequence[AnyEvent]) -> None:
        """The runner's observer port."""
        if self.workload.samples <= _CHECKED:
            super().observe(events)

    def _search(self) -> SearchDriver:
        return SearchDriver(None, param_space=self._space, num_samples=self.workload.samples, seed=self.seed)

    def _scheduler(self) -> TrialScheduler:
        return self._make_scheduler()

    def _crash(self, *, power_cut: bool) -> None:
        self._before += self.clock()

    @staticmethod
    def _asleep(state: State) -> bool:  # noqa: ARG004 - however it looks, a paused trial is to be woken
        return False

    def _check_value(self, event: Reported) -> None:
        pass

    def _check_follows(self, trial: str, previous: Reported | None, row: Reported) -> None:
        if previous is not None and previous.segment == row.segment and row.iteration != previous.iteration + 1:
            raise BrokenPromiseError(f"trial {trial}: {row} does not follow {previous}")

    def _check_end(self, trial: str, last: Reported | None) -> None:
        pass


def _nothing_but(crash_after: Sequence[int]) -> Faults:
    return Faults(
        crashes=tuple(crash_after),
        power_cuts=(False,) * len(crash_after),
        dies=0.0,
        fails=0.0,
        hangs=0.0,
        mutes=0.0,
        budget=0,
        slow_disk_s=0.0,
        disk_refuses=0.0,
        rots=0.0,
        repeats=0.0,
    )


def _uneven(seed: int) -> Pace:
    return lambda trial, iteration: keyed_random("pace", seed, trial, iteration).uniform(0.5, 1.5)
