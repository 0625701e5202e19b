"""How a value is drawn between two bounds. What the bounds mean is the domain's business."""

from __future__ import annotations

import dataclasses
import math
import random
from typing import Union

from perdure.errors import ConfigurationError


class Sampler:
    """Base of all ways to draw a value."""

    def draw(self, lower: float, upper: float, rng: random.Random) -> float:
        """Return a number in [lower, upper]."""
        raise NotImplementedError

    def draw_index(self, lower: int, stop: int, rng: random.Random) -> int:
        """Return an integer in [lower, stop)."""
        raise NotImplementedError

    def __str__(self) -> str:
        return type(self).__name__


@dataclasses.dataclass(frozen=True, repr=True)
class Uniform(Sampler):
    """Every value between the bounds is as likely as any other."""

    def draw(self, lower: float, upper: float, rng: random.Random) -> float:
        """Return a number in [lower, upper]."""
        return min(upper, lower + (upper - lower) * rng.random())

    def draw_index(self, lower: int, stop: int, rng: random.Random) -> int:
        """Return an integer in [lower, stop)."""
        return rng.randrange(lower, stop)


@dataclasses.dataclass(frozen=True)
class LogUniform(Sampler):
    """The logarithm of the value is uniform: each order of magnitude is as likely as any other."""

    def draw(self, lower: float, upper: float, rng: random.Random) -> float:
        """Return a number in [lower, upper]."""
        low, high = math.log(lower), math.log(upper)
        return min(upper, max(lower, math.exp(low + (high - low) * rng.random())))

    def draw_index(self, lower: int, stop: int, rng: random.Random) -> int:
        """Return an integer in [lower, stop)."""
        return min(stop - 1, max(lower, math.floor(self.draw(lower, stop, rng))))


@dataclasses.dataclass(frozen=True)
class Normal(Sampler):
    """The normal distribution; it knows no bounds."""

    mean: float = 0.0
    sd: float = 1.0

    def __post_init__(self) -> None:
        if not self.sd > 0:
            raise ConfigurationError(f"A normal distribution with sd={self.sd!r}: use a number above 0.")

    def draw(self, lower: float, upper: float, rng: random.Random) -> float:
        """Return a number in [lower, upper]."""
        return rng.normalvariate(self.mean, self.sd)


@dataclasses.dataclass(frozen=True)
class Quantized(Sampler):
    """Another sampler's value, rounded to a multiple of `q`."""

    sampler: Sampler
    q: Union[float, int]

    def __post_init__(self) -> None:
        if not self.q > 0:
            raise ConfigurationError(f"A value quantized by q={self.q!r}: use a number above 0.")

    def get_sampler(self) -> Sampler:
        """Return the sampler whose values are rounded."""
        return self.sampler

    def draw(self, lower: float, upper: float, rng: random.Random) -> float:
        """Return a number in [lower, upper]."""
        steps = round(self.sampler.draw(lower, upper, rng) / self.q)
        return min(upper, max(lower, self._multiple(steps)))

    def draw_index(self, lower: int, stop: int, rng: random.Random) -> int:
        """Return an integer in [lower, stop)."""
        first, after = self.grid(lower, stop)
        return self.sampler.draw_index(first, after, rng) * int(self.q)

    def grid(self, lower: int, upper: int) -> tuple[int, int]:
        """Return the range of k for which k * q may be drawn: up to and with `upper`, but without it for q = 1."""
        q = int(self.q)
        return -(-lower // q), upper // q + (0 if q == 1 else 1)

    def _multiple(self, steps: int) -> float:
        from decimal import Decimal

        return float(Decimal(repr(self.q)) * steps)  # 3 * 0.1 is to be 0.3


@dataclasses.dataclass(frozen=True)
class Grid(Sampler):
    """Nothing is drawn: every category is tried."""
