"""Finding the simplest experiment that still fails."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from perdure.testing.simulation.faults import Faults
from perdure.testing.simulation.invariants import BrokenPromiseError
from perdure.testing.simulation.run import Case, draw, simulate
from perdure.testing.simulation.workload import Workload


def shrink(seed: int, case: Case | None = None) -> Case:
    """Return the simplest workload and faults, of those near `case`, or what `seed` draws, that break a promise."""
    smallest = case or draw(seed)
    while True:
        for simpler in _simpler(*smallest):
            if fails(seed, simpler):
                smallest = simpler
                break
        else:
            return smallest


def fails(seed: int, case: Case) -> bool:
    """Return whether a promise does not hold."""
    try:
        simulate(seed, case=case)
    except BrokenPromiseError:
        return True
    return False


def _simpler(workload: Workload, faults: Faults) -> Iterator[Case]:
    """Yield what is one step simpler, the greatest simplifications first."""
    for index in range(len(faults.crashes)):
        crashes = faults.crashes[:index] + faults.crashes[index + 1 :]
        cuts = faults.power_cuts[:index] + faults.power_cuts[index + 1 :]
        yield workload, dataclasses.replace(faults, crashes=crashes, power_cuts=cuts)
    if any(faults.power_cuts):
        yield workload, dataclasses.replace(faults, power_cuts=(False,) * len(faults.crashes))
    for index, wish in enumerate(faults.requests):
        fewer = faults.requests[:index], faults.requests[index + 1 :]
        yield workload, dataclasses.replace(faults, requests=(*fewer[0], *fewer[1]))
        for plainer in (wish._replace(dies=None), wish._replace(away=False), wish._replace(trials=wish.trials[:1])):
            if plainer != wish:
                yield workload, dataclasses.replace(faults, requests=(*fewer[0], plainer, *fewer[1]))
    for name in (field.name for field in dataclasses.fields(faults)):
        if isinstance(getattr(faults, name), float) and getattr(faults, name):
            without: dict[str, Any] = {name: 0.0}
            yield workload, dataclasses.replace(faults, **without)
    if workload.scheduler != "fifo":
        yield dataclasses.replace(workload, scheduler="fifo"), faults
    for name in ("samples", "steps", "cpus", "every"):
        if getattr(workload, name) > 1:
            smaller: dict[str, Any] = {name: getattr(workload, name) - 1}
            yield dataclasses.replace(workload, **smaller), faults
    for name, plain in (("stop", None), ("strict", False), ("in_place", True)):
        if getattr(workload, name) != plain:
            yield dataclasses.replace(workload, **{name: plain}), faults  # type: ignore[arg-type]
