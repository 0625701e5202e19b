"""Chooses hyperparameters for the next interval of training by a Gaussian process over those that were.

The process models how fast the score grows, given when, from which score, and with which hyperparameters; what was
seen long ago counts less. Kernel and rule are those of time-varying GP-UCB (Bogunovic et al. 2016,
http://proceedings.mlr.press/v51/bogunovic16.html) as in Parker-Holder et al. 2020; points that were chosen and have no
outcome yet lower the uncertainty around them (Desautels et al. 2014).

Needs NumPy, and imports it when it is first used.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.float64]

WINDOW = 200
"""So many of the newest observations are learnt from: the rest is of the past, and the cost grows with the cube."""
_CANDIDATES = 1000
_REFINEMENTS = 4
_SCALES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
_FORGETTING = (0.0, 0.01, 0.03, 0.1, 0.2, 0.35, 0.5)
_NOISES = (1e-4, 1e-3, 1e-2, 1e-1)


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
        pending: Hyperparameters that were chosen and have no outcome yet.
        now: When the interval begins, in intervals.
        score: What it begins with.
        rng: Draws the candidates.
    """
    import numpy as np

    newest = list(observations)[-WINDOW:]
    befores = np.array([each.before for each in newest] + [score])
    low, span = befores.min(), max(float(np.ptp(befores)), 1e-12)
    known = np.array([[each.round, (each.before - low) / span, *each.values] for each in newest])
    gains = np.array([each.gain for each in newest])
    targets = np.clip((gains - gains.mean()) / (gains.std() + 1e-12), -2.0, 2.0)
    context = [now, (score - low) / span]
    process = _fitted(known, targets)
    imagined = np.array([[*context, *values] for values in pending]).reshape(len(pending), known.shape[1])
    everything = np.vstack([known, imagined])
    wide = np.sqrt(0.2 + max(0.0, float(np.log(0.4 * len(newest)))))

    def bound(values: Array) -> Array:
        points = np.hstack([np.tile(context, (len(values), 1)), values])
        result: Array = process.mean(points) + wide * process.deviation(everything, points)
        return result

    draws = np.random.default_rng(rng.getrandbits(63))
    candidates = draws.uniform(size=(_CANDIDATES, known.shape[1] - 2))
    best = candidates[int(np.argmax(bound(candidates)))]
    for step in range(1, _REFINEMENTS + 1):
        near = best + draws.normal(scale=0.1 / 2**step, size=(_CANDIDATES // 10, len(best)))
        near = np.vstack([best, np.clip(near, 0.0, 1.0)])
        best = near[int(np.argmax(bound(near)))]
    return tuple(float(value) for value in best)


class _Process:
    """A Gaussian process of unit variance with given length scale, forgetting and noise."""

    def __init__(self, points: Array, targets: Array, scale: float, forgetting: float, noise: float) -> None:
        import numpy as np

        self._points = points
        self._scale, self._forgetting, self._noise = scale, forgetting, noise
        self._factor = self._factorised(points)
        half = np.linalg.solve(self._factor, targets)
        self._weights = np.linalg.solve(self._factor.T, half)
        self.likelihood = float(-0.5 * half @ half - np.log(np.diag(self._factor)).sum())

    def mean(self, points: Array) -> Array:
        result: Array = self._kernel(points, self._points) @ self._weights
        return result

    def deviation(self, known: Array, points: Array) -> Array:
        """Return the standard deviation at `points` if `known` had been observed, whatever was seen there."""
        import numpy as np

        factor = self._factor if len(known) == len(self._points) else self._factorised(known)
        half = np.linalg.solve(factor, self._kernel(known, points))
        result: Array = np.sqrt(np.maximum(1.0 - (half**2).sum(axis=0), 1e-12))
        return result

    def _factorised(self, points: Array) -> Array:
        import numpy as np

        return np.linalg.cholesky(self._kernel(points, points) + (self._noise + 1e-8) * np.eye(len(points)))

    def _kernel(self, left: Array, right: Array) -> Array:
        import numpy as np

        apart = np.abs(left[:, None, 0] - right[None, :, 0])
        distance = ((left[:, None, 1:] - right[None, :, 1:]) ** 2).sum(axis=2)
        result: Array = np.exp(-distance / self._scale) * (1.0 - self._forgetting) ** (apart / 2)
        return result


def _fitted(points: Array, targets: Array) -> _Process:
    """Return the process that makes the targets likeliest, one parameter varied after the other."""
    chosen = [1.0, 0.1, 1e-2]
    best = _Process(points, targets, *chosen)
    for _ in range(2):
        for index, grid in enumerate((_SCALES, _FORGETTING, _NOISES)):
            for value in grid:
                parameters = [*chosen[:index], value, *chosen[index + 1 :]]
                process = _Process(points, targets, *parameters)
                if process.likelihood > best.likelihood:
                    best, chosen = process, parameters
    return best
