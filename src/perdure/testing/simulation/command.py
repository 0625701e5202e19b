"""The command: replay a seed, shrink it, or run many."""

from __future__ import annotations

import argparse
import concurrent.futures
import sys
import time
from collections.abc import Sequence

from perdure.testing.simulation.invariants import BrokenPromiseError
from perdure.testing.simulation.run import draw, run_in_turn, simulate
from perdure.testing.simulation.shrink import fails, shrink

CHUNK = 2000


def main(argv: Sequence[str]) -> int:
    """Do what the arguments say; return 1 where a promise did not hold."""
    parser = argparse.ArgumentParser(
        prog="python -m perdure.testing.simulation", description="Simulate experiments in which everything goes wrong."
    )
    parser.add_argument("seed", type=int, help="replay this seed; the first one where COUNT is given")
    parser.add_argument("count", type=int, nargs="?", help="run so many seeds")
    parser.add_argument("--shrink", action="store_true", help="replay the simplest case that still fails")
    parser.add_argument("--workers", type=int, default=1, help="processes at once")
    given = parser.parse_args(argv)
    try:
        if given.count is None:
            replay(given.seed, simplest=given.shrink)
        else:
            run_many(given.seed, given.count, workers=given.workers)
    except BrokenPromiseError as error:
        print(f"A promise is broken: {error}", file=sys.stderr)
        return 1
    return 0


def replay(seed: int, *, simplest: bool) -> None:
    """Run one seed and print each event."""
    case = shrink(seed) if simplest and fails(seed, draw(seed)) else None
    world = simulate(seed, tell=True, case=case)
    print(f"{world.sessions + 1} sessions, {world.events} events: every promise held")


def run_many(first: int, count: int, *, workers: int = 1) -> None:
    """Run seeds, and say after each chunk from which one to go on, should this be interrupted."""
    began, busy_s = time.perf_counter(), 0.0
    chunks = [range(start, min(start + CHUNK, first + count)) for start in range(first, first + count, CHUNK)]
    with concurrent.futures.ProcessPoolExecutor(workers) as pool:
        results = pool.map(_run_chunk, chunks) if workers > 1 else map(_run_chunk, chunks)
        for chunk, cpu_s in zip(chunks, results, strict=True):
            busy_s += cpu_s
            done, took = chunk.stop - first, time.perf_counter() - began
            print(
                f"seeds {first} to {chunk.stop - 1}: {done / took:.0f} experiments a second ({done / busy_s:.0f} a "
                f"second of one core), every promise held; {first + count - chunk.stop} to go",
                flush=True,
            )


def _run_chunk(seeds: range) -> float:
    """Run some seeds; return the CPU time that took, in seconds."""
    began = time.process_time()
    run_in_turn(seeds)
    return time.process_time() - began
