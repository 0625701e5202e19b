"""Populations that keep one checkpoint each, and clone each other while their donors advance."""

from __future__ import annotations

import dataclasses
import os
import random

import msgspec
import pytest

from perdure.testing.simulation import Case, draw, simulate
from perdure.testing.simulation.faults import NONE

SCHEDULES = int(os.environ.get("PERDURE_SCHEDULES", "2000"))
CHUNK = 50


def population(seed: int) -> Case:
    """Return an experiment in which trials clone each other at about every fourth report, or by PBT's own rule."""
    workload, faults = draw(seed)
    rng = random.Random(f"population {seed}")
    spec = msgspec.structs.replace(
        workload.spec, num_to_keep=1, score_attribute=rng.choice((None, "value")), num_samples=rng.randint(2, 6)
    )
    workload = dataclasses.replace(
        workload,
        spec=spec,
        samples=spec.num_samples,
        steps=rng.randint(3, 8),
        every=1,
        cpus=rng.randint(1, 4),
        stop=None,
        scheduler=rng.choice(("cloning", "cloning", "population")),
    )
    crashes, cuts = faults.crashes, (False,) * len(faults.crashes)
    faults = dataclasses.replace(
        NONE,
        crashes=crashes,
        power_cuts=cuts,
        dies=faults.dies,
        breaks=faults.breaks,
        budget=faults.budget,
        slow_disk_s=faults.slow_disk_s,
        repeats=faults.repeats,
        meddles=faults.meddles,
    )
    return workload, faults


@pytest.mark.parametrize("first", range(0, SCHEDULES, CHUNK))
def test_no_clone_misses_its_donor_and_the_disk_holds_no_more_than_is_kept(first: int) -> None:
    """Workers and drivers die at any step, the disk is slow, and nothing damages a checkpoint: so none is ever missed.

    A trial's checkpoints on the disk never exceed, at any event: `num_to_keep` (1), the newest, two on their way to the
    disk (the newest that is there, and the oldest that is not), one that its worker has committed and nobody has heard
    of, those saved since the driver last looked (a second here), those that clones and starting attempts refer to, and
    those that are pinned; besides, those retired within the last second or so, until a power cut can no longer take
    back that they were. When the experiment is over there are
    the one, the newest, and the newest that reached the disk: `Ledger.check_usage` and `Ledger.check_leftovers`.
    """
    clones = 0
    for seed in range(first, first + CHUNK):
        world = simulate(seed, case=population(seed))
        assert not world.ledger.facts.rejected
        clones += world.ledger.facts.clones
    assert clones > CHUNK
