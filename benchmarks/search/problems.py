"""What is searched. A problem has a space, a number of epochs, and a state that one epoch after another changes.

`start(config)` returns the state before the first epoch, `epoch(config, state)` the state after one more and the value
that is reported then; lower is better everywhere. States are JSON, so that they can be checkpoints.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing to search."""

    name: str
    epochs: int
    space: Callable[[Any], dict[str, Any]]
    """Given the module `tune`, the search space."""
    start: Callable[[dict], Any]
    epoch: Callable[[dict, Any], tuple[Any, float]]
    mutations: Callable[[Any], dict[str, Any]] | None = None
    """What a population may vary; None: the problem has no state that a clone could take over."""
    bounds: dict[str, list[float]] | None = None
    """The same as the ends of intervals."""


def of_function(name: str, bounds: dict[str, tuple[float, float]], function: Callable[..., float]) -> Problem:
    """A function to be minimised; one epoch."""
    return Problem(
        name,
        epochs=1,
        space=lambda tune: {key: tune.uniform(*ends) for key, ends in bounds.items()},
        start=lambda config: None,
        epoch=lambda config, state: (None, function(*(config[key] for key in bounds))),
    )


# --- standard functions: https://www.sfu.ca/~ssurjano/optimization.html -----------------------------------------------


def branin(x: float, y: float) -> float:
    """Three minima of 0.397887."""
    b, c, t = 5.1 / (4 * math.pi**2), 5 / math.pi, 1 / (8 * math.pi)
    return (y - b * x * x + c * x - 6) ** 2 + 10 * (1 - t) * math.cos(x) + 10


_ALPHA = (1.0, 1.2, 3.0, 3.2)
_A = (
    (10, 3, 17, 3.5, 1.7, 8),
    (0.05, 10, 17, 0.1, 8, 14),
    (3, 3.5, 1.7, 10, 17, 8),
    (17, 8, 0.05, 10, 0.1, 14),
)
_P = (
    (1312, 1696, 5569, 124, 8283, 5886),
    (2329, 4135, 8307, 3736, 1004, 9991),
    (2348, 1451, 3522, 2883, 3047, 6650),
    (4047, 8828, 8732, 5743, 1091, 381),
)


def hartmann6(*x: float) -> float:
    """Minimum -3.32237."""
    return -sum(
        alpha * math.exp(-sum(a * (x_j - p * 1e-4) ** 2 for a, p, x_j in zip(row, centre, x, strict=True)))
        for alpha, row, centre in zip(_ALPHA, _A, _P, strict=True)
    )


def rosenbrock(*x: float) -> float:
    """Minimum 0 at (1, ..., 1), at the end of a curved valley."""
    return sum(100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in itertools.pairwise(x))


# --- recorded curves of real training ---------------------------------------------------------------------------------


class Table:
    """The curves that `record_table.py` recorded: the nearest width and batch, between the nearest learning rates."""

    def __init__(self) -> None:
        recorded = json.loads(Path(__file__).with_name("digits_table.json").read_text())
        self.logs = [math.log(rate) for rate in recorded["learning_rates"]]
        self.widths, self.batches, self.curves = recorded["widths"], recorded["batches"], recorded["accuracy"]

    def accuracy(self, config: dict, epoch: int) -> float:
        """Return the accuracy after `epoch` epochs, counted from 1."""
        log = math.log(config["lr"])
        right = min(max(bisect.bisect_left(self.logs, log), 1), len(self.logs) - 1)
        share = (log - self.logs[right - 1]) / (self.logs[right] - self.logs[right - 1])
        share = min(1.0, max(0.0, share))
        width = min(range(len(self.widths)), key=lambda i: abs(math.log(self.widths[i] / config["width"])))
        batch = self.batches.index(config["batch"])

        def recorded(rate: int) -> float:
            return self.curves[(rate * len(self.widths) + width) * len(self.batches) + batch][epoch - 1]

        return (1 - share) * recorded(right - 1) + share * recorded(right)


_table: list[Table] = []


def table_epoch(config: dict, state: int) -> tuple[int, float]:
    if not _table:
        _table.append(Table())
    return state + 1, 1 - _table[0].accuracy(config, state + 1)


def table_end(config: dict, state: None) -> tuple[None, float]:
    """Train for all epochs at once."""
    return None, table_epoch(config, 26)[1]


def table_space(tune: Any) -> dict[str, Any]:
    return {"lr": tune.loguniform(1e-5, 1e-1), "width": tune.lograndint(8, 129), "batch": tune.choice([16, 64, 256])}


# --- training whose hyperparameters ought to change -------------------------------------------------------------------

CURVATURES = [0.1 * (i + 1) for i in range(10)]
STEPS = 10
"""Steps of gradient descent in an epoch."""


def descent_start(config: dict) -> list[float]:
    return [1000.0] * len(CURVATURES) + [0.0]


def descent_epoch(config: dict, state: list[float]) -> tuple[list[float], float]:
    """Go down a bowl, from far away, along noisy gradients: large steps do well at first, small ones later."""
    *x, epoch = state
    noise = random.Random(f"{epoch}")  # the same for all, so that only the learning rates differ
    for _ in range(STEPS):
        x = [
            min(1e4, max(-1e4, x_i - config["lr"] * (h * x_i + noise.gauss(0, 1))))
            for x_i, h in zip(x, CURVATURES, strict=True)
        ]
    return [*x, epoch + 1], math.log10(sum(h * x_i**2 for x_i, h in zip(x, CURVATURES, strict=True)))


PROBLEMS = {
    problem.name: problem
    for problem in (
        of_function("branin", {"x": (-5, 10), "y": (0, 15)}, branin),
        of_function("hartmann6", {f"x{i}": (0, 1) for i in range(6)}, hartmann6),
        of_function("rosenbrock", {f"x{i}": (-2, 2) for i in range(4)}, rosenbrock),
        Problem("digits", epochs=27, space=table_space, start=lambda config: 0, epoch=table_epoch),
        Problem("digits, whole", epochs=1, space=table_space, start=lambda config: None, epoch=table_end),
        Problem(
            "descent",
            epochs=40,
            space=lambda tune: {"lr": tune.loguniform(1e-4, 1.0)},
            start=descent_start,
            epoch=descent_epoch,
            mutations=lambda tune: {"lr": tune.loguniform(1e-4, 1.0)},
            bounds={"lr": [1e-4, 1.0]},
        ),
    )
}
