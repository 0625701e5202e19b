"""The experiments that are simulated: what is to be run, and what its trials do.

Most are as small as they can be with something to go wrong in: a trial or two, a few steps. What breaks at all breaks
in a small case as a rule (the small scope hypothesis: Jackson, Software Abstractions, 2006), and many small ones in
which something happens at about every step find it sooner than few large ones. A share of them is large, for what
only a crowd does.
"""

from __future__ import annotations

import dataclasses
import random

from perdure.core.events import Data, Spec

MODULUS = 1_000_003
LARGE = 0.1
"""Share of the experiments that have up to five trials of up to six steps."""
MOST_CPUS = 4
SMALL = ((1, 1), (1, 2), (1, 3), (1, 6), (2, 1), (2, 2))
"""Trials and steps of the others; one trial of many steps for what becomes of its checkpoints."""
SMALL_CROWDS = ((2, 1), (2, 2), (2, 2), (2, 3), (3, 2))
"""The same, where a scheduler compares trials."""
SMALL_POPULATIONS = ((2, 2), (2, 4), (2, 5), (3, 3))
"""The same, where it clones them: a donor is to get ahead of a clone that waits for room."""
SMALL_SHAPES = {"fifo": SMALL, "cloning": SMALL_POPULATIONS, "population": SMALL_POPULATIONS}
OPENING = 21
"""About so many steps does a driver take to open an experiment: operations on the disk, calls of the executor."""
MIXED = ("fifo", "fifo", "pausing", "cloning", "population", "promoting", "halving")
CUTTING = frozenset({"cloning", "population", "promoting", "halving"})
"""Under these a trial may rightly end before its last step; they need a checkpoint at each."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workload:
    """An experiment to run."""

    samples: int
    steps: int
    every: int
    """A checkpoint at each so many steps."""
    cpus: int
    spec: Spec
    saves: bool
    """The trainable is a class: it saves when told to."""
    stop: dict[str, int] | None
    scheduler: str
    in_place: bool = True
    """Checkpoints are written where they will lie; otherwise elsewhere on the disk, and copied."""
    strict: bool = False
    """Nothing is acknowledged before it has reached the disk."""

    @property
    def driver_steps(self) -> int:
        """About so many steps does its driver take, if nothing goes wrong."""
        return OPENING + 20 * self.samples + 17 * self.samples * self.steps


def draw_workload(seed: int, rng: random.Random) -> Workload:
    """Return an experiment drawn by `rng`."""
    scheduler = rng.choice(MIXED)
    if rng.random() < LARGE:
        samples, steps = rng.randint(1, 5), rng.randint(1, 6)
    else:
        samples, steps = rng.choice(SMALL_SHAPES.get(scheduler, SMALL_CROWDS))
    saves = rng.random() < 0.4
    keep = rng.choice((None, 1, 1, 2))
    spec = Spec(
        metric="value",
        mode="max",
        max_concurrent=rng.choice((0, 0, 1, 2)),
        max_failures=rng.choice((-1, -1, 0, 1, 3)),
        num_to_keep=keep,
        score_attribute=rng.choice((None, "value")) if keep else None,
        num_samples=samples,
        seed=seed,
        restart_without_checkpoint=rng.random() < 0.5,
    )
    return Workload(
        samples=samples,
        steps=steps,
        every=1 if scheduler in CUTTING else rng.choice((1, 1, 2, 3)),
        cpus=rng.randint(1, min(MOST_CPUS, samples)),
        spec=spec,
        saves=saves,
        stop=rng.choice((None, None, {"training_iteration": rng.randint(1, steps)})),
        scheduler=scheduler,
        in_place=rng.random() < 0.7,
        strict=rng.random() < 0.15,
    )


def advance(value: int, step: int, factor: int) -> int:
    """Return what a trial's running value is after one more step."""
    return (value * factor + step) % MODULUS


def state_of(row: Data) -> tuple[int, int]:
    """Return the step and the value that a row reports."""
    step, value = row["step"], row["value"]
    assert isinstance(step, int)
    assert isinstance(value, int)
    return step, value
