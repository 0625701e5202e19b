"""Whole experiments in a few milliseconds, with everything going wrong: the same every time for the same seed.

Real are the core, the loop, the judge, searchers, schedulers and recovery, the journal's files, heads and claims, the
workers' commits, the checkpoint manager, and snapshots. They run on a simulated machine: a disk in memory that
fails, fills up, lies and forgets what was not synced (`disk`), a virtual clock, no process but the driver (`machine`);
trials follow a script (`workers`). In one of six experiments people stop, pause, resume, pin and collect, from
processes of their own, and answer themselves where nobody drives (`requests`, `people`). A seed draws a `workload` and
`faults`; `simulate(seed)` runs sessions until the experiment has ended, checking the promises after every event and
every restart (`invariants`). Nine in ten experiments are small, with as many faults as large ones: see `workload`.

    python -m perdure.testing.simulation SEED            replays one seed and tells what happened
    python -m perdure.testing.simulation SEED --shrink   the same, of the simplest case that still fails
    python -m perdure.testing.simulation FIRST COUNT     runs many, and says how many a second of one core
    python -m perdure.testing.simulation FIRST COUNT --workers 4    in so many processes at once

What is checked: an acknowledged row stands once, in order, with the value that every step before it leads to; a trial
starts only from a checkpoint that was committed, is whole, and is the newest such, and a clone from its donor's; only
damaged ones are rejected; no trial has two live attempts; resources are never exceeded and no status is skipped; no
checkpoint is deleted that something needs, and no more are kept than the policy allows; each key is judged once; what
had reached the disk survives a power cut; the experiment ends, and leaves nothing lying about. A request that was put
there is answered, once, whoever dies, by what it asks for or with a refusal, which changes nothing; a trial that people
stopped runs no more, and one that they paused does not go on until they let it, and then does.

One process, one thread at a time: while a simulation runs, the modules of the product that it mounts touch no real
disk (see `machine`).
"""

from __future__ import annotations

from perdure.testing.simulation.command import main
from perdure.testing.simulation.faults import Faults
from perdure.testing.simulation.invariants import BrokenPromiseError
from perdure.testing.simulation.run import Case, World, draw, simulate
from perdure.testing.simulation.shrink import shrink
from perdure.testing.simulation.workload import Workload

__all__ = ["BrokenPromiseError", "Case", "Faults", "Workload", "World", "draw", "main", "shrink", "simulate"]
