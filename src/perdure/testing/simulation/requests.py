"""What people ask of a simulated experiment, from processes of their own, and when."""

from __future__ import annotations

import operator
import random
from typing import NamedTuple

from perdure.testing.simulation.workload import Workload

KINDS = ("stop", "pause", "resume", "end", "pin", "unpin", "collect", "nonsense")
_WEIGHTS = (3, 5, 2, 1, 1, 1, 1, 1)
POSTING = 10
"""About so many steps does it take to put a request there; whoever asks and finds nobody driving then answers it."""
STANDING_IN = 60
"""About so many does that take."""


class Wish(NamedTuple):
    """One request that somebody will make."""

    at: int
    """Once the experiment has had so many events."""
    what: str
    """One of `KINDS`."""
    trials: tuple[int, ...]
    """Their numbers; there may be no such trials."""
    away: bool = False
    """Not before nobody drives, be it that the experiment is over."""
    dies: int | None = None
    """Whoever asks dies after so many steps of theirs."""


def draw_wishes(rng: random.Random, workload: Workload) -> tuple[Wish, ...]:
    """Return what people will ask for, in the order in which they do."""
    wishes = [_draw(rng, workload) for _ in range(rng.choice((1, 2, 2, 3, 4)))]
    if rng.random() < 0.25:  # the same once more, by somebody who does not know of it or did not trust it
        wishes.append(rng.choice(wishes))
    return tuple(sorted(wishes, key=operator.attrgetter("at")))


def _draw(rng: random.Random, workload: Workload) -> Wish:
    numbers = range(workload.samples + (rng.random() < 0.1))
    return Wish(
        at=rng.randint(2, 4 + workload.samples * (3 + workload.steps)),
        what=rng.choices(KINDS, _WEIGHTS)[0],
        trials=tuple(rng.choice(numbers) for _ in range(rng.choice((1, 1, 1, 2)))),
        away=rng.random() < 0.25,
        dies=rng.randint(1, POSTING + STANDING_IN) if rng.random() < 0.2 else None,
    )
