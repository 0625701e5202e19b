"""The experiments that are simulated: what is to be run, and what its trials do."""

from __future__ import annotations

import dataclasses
import random

from perdure.core.events import Data, Spec

MODULUS = 1_000_003
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


def draw_workload(seed: int, rng: random.Random) -> Workload:
    """Return an experiment drawn by `rng`."""
    steps = rng.randint(1, 6)
    saves = rng.random() < 0.4
    keep = rng.choice((None, 1, 1, 2))
    scheduler = rng.choice(MIXED)
    spec = Spec(
        metric="value",
        mode="max",
        max_concurrent=rng.choice((0, 0, 1, 2)),
        max_failures=rng.choice((-1, -1, 0, 1, 3)),
        num_to_keep=keep,
        score_attribute=rng.choice((None, "value")) if keep else None,
        num_samples=rng.randint(1, 5),
        seed=seed,
        restart_without_checkpoint=rng.random() < 0.5,
    )
    return Workload(
        samples=spec.num_samples,
        steps=steps,
        every=1 if scheduler in CUTTING else rng.choice((1, 1, 2, 3)),
        cpus=rng.randint(1, 4),
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
