"""Twenty thousand experiments in which everything goes wrong; `make soak` runs a million."""

from __future__ import annotations

import os

import pytest

from perdure.testing.simulation import simulate
from perdure.testing.simulation.run import PATH, run_in_turn

SEEDS = int(os.environ.get("PERDURE_SEEDS", "20000"))
FIRST = int(os.environ.get("PERDURE_FIRST_SEED", "0"))
CHUNK = 250


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, CHUNK))
def test_every_promise_holds(first: int) -> None:
    run_in_turn(range(first, first + CHUNK))


def test_the_same_seed_is_the_same_experiment() -> None:
    for seed in range(30):
        one, two = simulate(seed).disk, simulate(seed).disk
        assert one.names(PATH) == two.names(PATH)
        assert one.files(PATH) == two.files(PATH)
