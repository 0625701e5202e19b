"""What a scheduler needs for a row, and whether that grows with the number of trials.

Only the scheduler is real; the experiment is one on paper. Measured is the CPU time of `on_trial_result`: the mean of
the last rows, by when all trials but the last are known.

Those that stop and pause trials: 1,000 against 100,000 trials that come and go, sixteen at a time.
PBT and PB2: populations of 1,000 against 100,000 members, all of them alive, so that a row is ranked among all. Rows
    after which a member goes on as a clone (`clone`) and others (`row`) are told apart, because PB2 fits a model for
    the first.
"""

from __future__ import annotations

import itertools
import os
import random
import statistics
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from comparison import Goal, Part, main

FEW, MANY = 1_000, 100_000
LAST = 1_000
STEPS = 10
SLOTS = 16
TURNS = 400
"""So many rows of a population are measured."""


class Paper:
    """An experiment on paper: what a scheduler may ask of it, and what becomes of its answers."""

    capacity = {"CPU": float(SLOTS)}  # noqa: RUF012

    def __init__(self, scheduler: Any, count: int) -> None:
        from perdure.schedulers.base import configure

        self.scheduler = scheduler
        configure(scheduler, "loss", "min", seed=0, saves=True)
        self.rng = random.Random(0)
        self.left = count
        self.trials: dict[str, Any] = {}
        self.steps: dict[str, int] = {}
        self.running: deque[str] = deque()
        self.paused: dict[str, None] = {}
        self.poor: set[str] = set()
        self.taken: list[float] = []

    def add(self) -> Any:
        from perdure.trial_view import TrialView

        number = len(self.trials)
        config = {"x": self.rng.random(), "y": self.rng.random()}
        trial = TrialView(trial_id=f"t{number}", trial_name="", number=number, config=config, status="RUNNING")
        trial.resources, trial.checkpoint = {"CPU": 1.0}, object()
        self.trials[trial.trial_id], self.steps[trial.trial_id] = trial, 0
        self.left -= 1
        self.running.append(trial.trial_id)
        self.scheduler.on_trial_add(self, trial)
        return trial

    def report(self, name: str) -> Any:
        """Have a trial report its next row; return the scheduler's answer."""
        trial = self.trials[name]
        self.steps[name] += 1
        loss = trial.config["x"] + trial.config["y"] / self.steps[name] + (name in self.poor)
        trial.last_result = {"training_iteration": self.steps[name], "loss": loss, "checkpoint_dir_name": "c"}
        began = time.thread_time()
        answer = self.scheduler.on_trial_result(self, trial, trial.last_result)
        self.taken.append(time.thread_time() - began)
        return answer

    def run(self) -> None:
        """Have trials come and go until there are no more."""
        while self.left or self.running or self.paused:
            while len(self.running) < SLOTS:
                if not (self.act(self.scheduler.promote(self)) or (self.left and self.add())):
                    break
            if not self.running and not self.act(self.scheduler.wake(self)):
                break
            while self.running:
                name = self.running[0]
                answer = self.report(name)
                self.running.remove(name)
                self.decide(name, getattr(answer, "decision", answer))
                self.act(getattr(answer, "actions", ()))
                if len(self.running) < SLOTS:
                    break

    def decide(self, name: str, decision: str) -> None:
        if decision == "STOP" or self.steps[name] >= STEPS:
            self.trials[name].status = "TERMINATED"
            self.paused.pop(name, None)
            self.act(self.scheduler.on_trial_complete(self, self.trials[name], self.trials[name].last_result) or ())
        elif decision == "PAUSE":
            self.trials[name].status = "PAUSED"
            self.paused[name] = None
        else:
            self.trials[name].status = "RUNNING"
            self.running.append(name)

    def act(self, actions: Any) -> bool:
        for action in actions:
            if action.resume or action.decision.value == "stop":
                self.paused.pop(action.trial, None)
                if action.trial in self.running:
                    self.running.remove(action.trial)
                self.decide(action.trial, action.decision.value.upper() if not action.resume else "RESUME")
        return bool(actions)

    # --- what a scheduler asks

    @property
    def expects_more(self) -> bool:
        return self.left > 0

    def get_trials(self) -> Any:
        return list(self.trials.values())

    def get_live_trials(self) -> Any:
        return {self.trials[name] for name in (*self.running, *self.paused)}

    def get_active_trials(self) -> Any:
        return {self.trials[name] for name in self.running}

    def get_paused_trials(self) -> Any:
        return (self.trials[name] for name in self.paused)

    def get_trial(self, name: str) -> Any:
        return self.trials.get(name)

    def count(self, status: str) -> int:
        return {"RUNNING": len(self.running), "PAUSED": len(self.paused)}.get(status, 0)

    def checkpoint_of(self, name: str) -> Any:
        from perdure.core.events import CheckpointInfo

        step = self.steps[name]
        return CheckpointInfo(number=step, directory="c", attempt=1, iteration=step) if step else None


def made(name: str) -> Any:
    from perdure.tune import schedulers
    from perdure.tune.schedulers.pb2 import PB2

    steps = {"time_attr": "training_iteration"}
    halved = {"max_t": STEPS - 1, "reduction_factor": 3, **steps}
    bred = {"perturbation_interval": 1, **steps}
    space = {"x": [0.0, 1.0], "y": [0.0, 1.0]}
    makers: dict[str, Callable[[], Any]] = {
        "asha": lambda: schedulers.AsyncHyperBandScheduler(**halved),
        "promotion": lambda: schedulers.PromotionASHAScheduler(**halved),
        "hyperband": lambda: schedulers.HyperBandScheduler(**halved),
        "bohb": lambda: schedulers.HyperBandForBOHB(**halved),
        "median": lambda: schedulers.MedianStoppingRule(grace_period=1, **steps),
        "resources": lambda: schedulers.ResourceChangingScheduler(schedulers.AsyncHyperBandScheduler(**halved)),
        "pbt": lambda: schedulers.PopulationBasedTraining(hyperparam_mutations=space, **bred),
        "pb2": lambda: PB2(hyperparam_bounds=space, **bred),
    }
    return makers[name]()


def coming_and_going(name: str, count: int) -> float:
    paper = Paper(made(name), count)
    paper.run()
    assert not paper.left
    return statistics.fmean(paper.taken[-LAST:]) * 1e6


def measure(name: str) -> Callable[[str, Path], dict[str, float]]:
    def halving(engine: str, directory: Path) -> dict[str, float]:
        coming_and_going(name, 100)
        return {f"{name}_row_us_{count}": coming_and_going(name, count) for count in (FEW, MANY)}

    def breeding(engine: str, directory: Path) -> dict[str, float]:
        os.environ["OPENBLAS_NUM_THREADS"] = "1"  # NumPy is imported later; the CPU time is that of one thread
        population(name, 100)
        return population(name, FEW) | population(name, MANY)

    return breeding if name in BREEDING else halving


def population(name: str, count: int) -> dict[str, float]:
    """Have all members report once, and some of them again and again: what those take counts."""
    paper = Paper(made(name), count)
    for _ in range(count):
        paper.add()
    turning = [f"t{number}" for number in paper.rng.sample(range(count), 40)]
    rows: list[float] = []
    clones: list[float] = []
    for number, member in enumerate((*paper.trials, *itertools.islice(itertools.cycle(turning), TURNS))):
        if number == count:
            paper.poor.update(turning[::2])  # they go on as clones at their next row
        answer = paper.report(member)
        clone = next((action for action in getattr(answer, "actions", ()) if action.donor is not None), None)
        if clone is not None:
            paper.trials[member].config = clone.config
        if number >= count:
            (rows if clone is None else clones).append(paper.taken[-1])
    return {
        f"{name}_row_us_{count}": statistics.fmean(rows) * 1e6,
        f"{name}_clone_us_{count}": statistics.fmean(clones) * 1e6,
    }


BREEDING = ("pbt", "pb2")
HALVING = ("asha", "promotion", "hyperband", "bohb", "median", "resources")
PARTS = {name: Part(measure(name), on_ray=False) for name in (*HALVING, *BREEDING)}
GOALS: list[Goal] = []

if __name__ == "__main__":
    main(__file__, PARTS, GOALS)
