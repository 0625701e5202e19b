"""The sampling functions: what users write into `param_space`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from perdure.errors import ConfigurationError
from perdure.search_space.domains import Categorical, Float, Function, Integer


def uniform(lower: float, upper: float) -> Float:
    """Draw a float between `lower` and `upper`, all as likely."""
    return Float(lower, upper).uniform()


def quniform(lower: float, upper: float, q: float) -> Float:
    """Draw a float between `lower` and `upper`, rounded to a multiple of `q`; both bounds must be multiples."""
    return Float(lower, upper).uniform().quantized(q)


def loguniform(lower: float, upper: float, base: object = None) -> Float:
    """Draw a float between `lower` and `upper` (above 0) whose logarithm is uniform. `base` changes nothing."""
    return Float(lower, upper).loguniform(base)


def qloguniform(lower: float, upper: float, q: float, base: object = None) -> Float:
    """Draw as `loguniform` does, rounded to a multiple of `q`; both bounds must be multiples."""
    return Float(lower, upper).loguniform(base).quantized(q)


def randn(mean: float = 0.0, sd: float = 1.0) -> Float:
    """Draw a float of the normal distribution with this mean and standard deviation."""
    return Float(None, None).normal(mean, sd)


def qrandn(mean: float, sd: float, q: float) -> Float:
    """Draw as `randn` does, rounded to a multiple of `q`."""
    return Float(None, None).normal(mean, sd).quantized(q)


def randint(lower: int, upper: int) -> Integer:
    """Draw an integer from `lower` up to but without `upper`."""
    return Integer(lower, upper).uniform().checked()


def qrandint(lower: int, upper: int, q: int = 1) -> Integer:
    """Draw a multiple of `q` from `lower` up to and with `upper`, without `upper` if q is 1; bounds need not be one."""
    return Integer(lower, upper).uniform().quantized(q)


def lograndint(lower: int, upper: int, base: object = None) -> Integer:
    """Draw an integer from `lower` (above 0) up to but without `upper`, its logarithm uniform."""
    return Integer(lower, upper).loguniform(base).checked()


def qlograndint(lower: int, upper: int, q: int, base: object = None) -> Integer:
    """Draw a multiple of `q` as `qrandint` does, its logarithm uniform."""
    return Integer(lower, upper).loguniform(base).quantized(q)


def choice(categories: Iterable[Any]) -> Categorical:
    """Draw one of `categories`: values of any kind, which may hold search spaces of their own."""
    return Categorical(categories).uniform()


def grid_search(values: Iterable[Any]) -> dict[str, list[Any]]:
    """Try every one of `values`, in combination with every value of every other grid.

    Returns:
        `{"grid_search": [...]}`, which may be written directly as well (in a JSON or YAML file, say).
    """
    return {"grid_search": Categorical(values).categories}


def sample_from(func: Callable[..., Any]) -> Function:
    """Compute a value from the others of the same configuration, once these are known.

    `func` is called with the configuration, `lambda config: config["units"] * 2`, or with nothing. The older
    `lambda spec: spec.config.units * 2` works as well. What it draws from `random`, or from NumPy's global
    generator, is reproducible: both are seeded for the call.
    """
    if not callable(func):
        raise ConfigurationError(f"sample_from() needs a function, not {func!r}.")
    return Function(func)
