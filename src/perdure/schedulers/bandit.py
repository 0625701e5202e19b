"""Chooses hyperparameters for the next interval of training by a Gaussian process over those that were.

The process models how fast the score grows, given when, from which score, and with which hyperparameters; what was
seen long ago counts less. Kernel and rule are those of time-varying GP-UCB (Bogunovic et al. 2016,
http://proceedings.mlr.press/v51/bogunovic16.html) as in Parker-Holder et al. 2020; points that were chosen and have no
outcome yet lower the uncertainty around them (Desautels et al. 2014).

Needs NumPy, and imports it when it is first used.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.float64]

WINDOW = 200
"""So many of the newest observations are learnt from: the rest is of the past, and the cost grows with the cube."""
PENDING = 50
"""So many of the newest choices without an outcome are kept away from: all of them in a population of 200."""
_CANDIDATES = 1000
_REFINEMENTS = 4
_SCALES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
_FORGETTING = (0.0, 0.01, 0.03, 0.1, 0.2, 0.35, 0.5)
_NOISES = (1e-4, 1e-3, 1e-2, 1e-1)
_JITTER = 1e-8


@dataclasses.dataclass(frozen=True, slots=True)
class Observation:
    """One interval of training."""

    round: float
    """When it ended, in intervals."""
    before: float
    """The score it began with."""
    values: tuple[float, ...]
    """The hyperparameters, each from 0 to 1 within its bounds."""
    gain: float
    """How much the score grew per unit of time."""


def choose(
    observations: Sequence[Observation],
    pending: Sequence[tuple[float, ...]],
    *,
    now: float,
    score: float,
    rng: random.Random,
) -> tuple[float, ...]:
    """Return the hyperparameters (0 to 1) with the greatest upper confidence bound on the gain.

    Args:
        observations: What is known, at least one.
        pending: Hyperparameters that were chosen and have no outcome yet, the newest last.
        now: When the interval begins, in intervals.
        score: What it begins with.
        rng: Draws the candidates.
    """
    import numpy as np

    newest, pending = list(observations)[-WINDOW:], list(pending)[-PENDING:]
    befores = np.array([each.before for each in newest] + [score])
    low, span = befores.min(), max(float(np.ptp(befores)), 1e-12)
    known = np.array([[each.round, (each.before - low) / span, *each.values] for each in newest])
    gains = np.array([each.gain for each in newest])
    targets = np.clip((gains - gains.mean()) / (gains.std() + 1e-12), -2.0, 2.0)
    context = [now, (score - low) / span]
    imagined = np.array([[*context, *values] for values in pending]).reshape(len(pending), known.shape[1])
    process = _Process(known, targets, imagined, *_likeliest(known, targets))
    wide = np.sqrt(0.2 + max(0.0, float(np.log(0.4 * len(newest)))))

    def bound(values: Array) -> Array:
        mean, deviation = process.at(np.hstack([np.tile(context, (len(values), 1)), values]))
        return mean + wide * deviation

    draws = np.random.default_rng(rng.getrandbits(63))
    candidates = draws.uniform(size=(_CANDIDATES, known.shape[1] - 2))
    best = candidates[int(np.argmax(bound(candidates)))]
    for step in range(1, _REFINEMENTS + 1):
        near = best + draws.normal(scale=0.1 / 2**step, size=(_CANDIDATES // 10, len(best)))
        near = np.vstack([best, np.clip(near, 0.0, 1.0)])
        best = near[int(np.argmax(bound(near)))]
    return tuple(float(value) for value in best)


class _Process:
    """A Gaussian process of unit variance that has seen `targets` at `known`, and something at `imagined`.

    One factor serves both: where `known` comes first, the factor of `known` alone is a part of it.
    """

    def __init__(
        self, known: Array, targets: Array, imagined: Array, scale: float, forgetting: float, noise: float
    ) -> None:
        import numpy as np

        self._points = np.vstack([known, imagined])
        self._kernel = _Kernel(scale, forgetting)
        kernel = self._kernel(*_distances(self._points, self._points))
        kernel.flat[:: len(kernel) + 1] += noise + _JITTER
        self._whitened = np.linalg.inv(np.linalg.cholesky(kernel))
        count = len(known)
        self._weights = self._whitened[:count, :count].T @ (self._whitened[:count, :count] @ targets)

    def at(self, points: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation at `points`."""
        import numpy as np

        kernel = self._kernel(*_distances(self._points, points))
        explained = ((self._whitened @ kernel) ** 2).sum(axis=0)
        return self._weights @ kernel[: len(self._weights)], np.sqrt(np.maximum(1.0 - explained, 1e-12))


@dataclasses.dataclass(frozen=True, slots=True)
class _Kernel:
    """How alike two points are: the nearer in values and score and the less time between them, the more."""

    scale: float
    forgetting: float

    def __call__(self, apart: Array, distances: Array) -> Array:
        """Return it for the times between points, in intervals, and the squares of their distances."""
        import numpy as np

        result: Array = np.exp(apart * (math.log1p(-self.forgetting) / 2) - distances / self.scale)
        return result


def _distances(left: Array, right: Array) -> tuple[Array, Array]:
    """Return the time between each of `left` and each of `right`, and the squares of their other distances."""
    import numpy as np

    here, there = left[:, 1:], right[:, 1:]
    squares = (here**2).sum(axis=1)[:, None] + (there**2).sum(axis=1) - 2.0 * (here @ there.T)
    return np.abs(left[:, None, 0] - right[:, 0]), np.maximum(squares, 0.0)


def _likeliest(points: Array, targets: Array) -> tuple[float, ...]:
    """Return scale, forgetting and noise that make the targets likeliest, one varied after the other."""
    apart, distances = _distances(points, points)
    known: dict[tuple[float, ...], float] = {}

    def likelihood(parameters: tuple[float, ...]) -> float:
        if parameters not in known:
            scale, forgetting, noise = parameters
            value = _likelihood(_Kernel(scale, forgetting)(apart, distances), targets, noise + _JITTER)
            known[parameters] = round(value, 9)  # what differs by less has been rounded, and is no reason to change
        return known[parameters]

    best: tuple[float, ...] = (1.0, 0.1, 1e-2)
    for _ in range(2):
        for index, grid in enumerate((_SCALES, _FORGETTING, _NOISES)):
            candidates = [(*best[:index], value, *best[index + 1 :]) for value in grid]
            best = max([best, *candidates], key=likelihood)  # the first of equals
    return best


def _likelihood(kernel: Array, targets: Array, noise: float) -> float:
    """Return how likely the targets are, but for a constant.

    The targets are written below the matrix as one more row. Its factor's last row then is what is needed of them,
    and no system of equations has to be solved.
    """
    import numpy as np

    count = len(targets)
    bordered = np.empty((count + 1, count + 1))
    bordered[:count, :count] = kernel
    bordered.flat[:: count + 2] += noise
    bordered[count, :count] = targets
    bordered[count, count] = 1.0 + float(targets @ targets) / noise  # more than enough to keep it positive definite
    factor = np.linalg.cholesky(bordered)  # of which only the lower triangle is read
    explained = factor[count, :count]
    return float(-0.5 * explained @ explained - np.log(factor.diagonal()[:count]).sum())
