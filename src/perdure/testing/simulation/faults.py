"""What goes wrong in a simulated experiment, and how often."""

from __future__ import annotations

import dataclasses
import random

from perdure.testing.simulation.requests import Wish, draw_wishes
from perdure.testing.simulation.workload import OPENING, Workload


@dataclasses.dataclass(frozen=True, kw_only=True)
class Faults:
    """A plan of mishaps; every chance is 0 in an experiment in which nothing goes wrong."""

    crashes: tuple[int, ...]
    """For each session that is cut short, after how many of the driver's steps: operations on the disk, calls of the
    executor."""
    power_cuts: tuple[bool, ...]
    """Whether that crash is the machine's, which forgets what was not synced."""
    dies: float
    fails: float
    hangs: float
    """Chance of each at a step of a trial, while there are any left."""
    breaks: float
    """Chance that a worker dies at some step of a commit, or right after it."""
    budget: int
    """How many of these there are in all."""
    slow_disk_s: float
    """Seconds until a checkpoint is brought to the disk, or off it."""
    errors: float
    """Chance that an operation on the disk fails, while there are any left."""
    spares: frozenset[str]
    """Operations that never fail."""
    dies_of_errors: float
    """Chance that the driver dies soon after an operation of its failed: perhaps before it could say so."""
    fills: float
    """Chance that there is no space left instead, until the driver or the worker has noticed."""
    lies: float
    """Chance that a sync says it was done and was not."""
    rots: float
    """Chance that a crash leaves one checkpoint damaged."""
    repeats: float
    """Chance that a message is delivered twice, or long after its attempt is over."""
    meddles: float
    """Chance of each operation on the disk to be a moment at which the other threads of the driver have their turn."""
    pins: float
    """Chance of each turn to be one in which a person pins a checkpoint, or lets go of it."""
    moves: float
    """Chance of each session to have other CPUs than the one before."""
    requests: tuple[Wish, ...]
    """What people ask for, from other processes."""


ASKED = 1 / 6
"""Share of the experiments in which people ask for something; they take a fifth longer."""
NO_OPERATION: frozenset[str] = frozenset()
ALL_BUT_SYNCS = frozenset(
    ("mkdir", "rmdir", "unlink", "link", "rename", "scandir", "stat", "open", "read", "write", "truncate")
)
NONE = Faults(
    crashes=(),
    power_cuts=(),
    dies=0.0,
    fails=0.0,
    hangs=0.0,
    breaks=0.0,
    budget=0,
    slow_disk_s=0.0,
    errors=0.0,
    spares=frozenset(),
    dies_of_errors=0.0,
    fills=0.0,
    lies=0.0,
    rots=0.0,
    repeats=0.0,
    meddles=0.0,
    pins=0.0,
    moves=0.0,
    requests=(),
)


def draw_faults(rng: random.Random, workload: Workload) -> Faults:
    """Return what goes wrong in an experiment, drawn by `rng`."""
    crashes = tuple(_crash_step(rng, workload.driver_steps) for _ in range(rng.choice((0, 1, 1, 2))))
    return Faults(
        crashes=crashes,
        power_cuts=tuple(rng.random() < 0.4 for _ in crashes),
        dies=rng.choice((0.0, 0.0, 0.1, 0.3)),
        fails=rng.choice((0.0, 0.0, 0.1)),
        hangs=rng.choice((0.0, 0.0, 0.05)),
        breaks=rng.choice((0.0, 0.0, 0.2)),
        budget=6,
        slow_disk_s=rng.choice((0.0, 0.1, 1.5)),
        errors=rng.choice((0.0, 0.0, 0.004, 0.01)),
        spares=rng.choice((NO_OPERATION, NO_OPERATION, ALL_BUT_SYNCS)),
        dies_of_errors=rng.choice((0.0, 0.0, 0.5)),
        fills=rng.choice((0.0, 0.0, 0.0, 0.3)),
        lies=rng.choice((0.0, 0.0, 0.0, 0.3)),
        rots=rng.choice((0.0, 0.0, 0.3)),
        repeats=rng.choice((0.0, 0.1)),
        meddles=rng.choice((0.0, 0.01, 0.05)),
        pins=rng.choice((0.0, 0.0, 0.15)),
        moves=rng.choice((0.0, 0.0, 0.5)),
        requests=draw_wishes(rng, workload) if rng.random() < ASKED else (),
    )


def _crash_step(rng: random.Random, all_steps: int) -> int:
    """Return a step: now and then one of those in which a driver opens the experiment."""
    return rng.randint(1, OPENING) if rng.random() < 0.2 else rng.randint(OPENING, all_steps)
