"""What a hyperparameter may be: the domains behind the sampling functions, under Ray Tune's names."""

from __future__ import annotations

import copy
import inspect
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from perdure.errors import ConfigurationError
from perdure.search_space.randomness import random_source
from perdure.search_space.samplers import Grid, LogUniform, Normal, Quantized, Sampler, Uniform

_D = TypeVar("_D", bound="Domain")
_Rng = Any  # random.Random; searcher adapters pass their own


class Domain:
    """Base of all domains. A domain is never changed: `uniform()` and the like return a copy with another sampler."""

    sampler: Sampler | None = None
    default_sampler_cls: type[Sampler] = Uniform

    def cast(self, value: Any) -> Any:
        """Return `value` as the type of this domain's values."""
        return value

    def get_sampler(self) -> Sampler:
        """Return the sampler that was chosen, or the default one."""
        return self.sampler or self.default_sampler_cls()

    def sample(self, config: Any = None, size: int = 1, random_state: object = None) -> Any:
        """Draw one value, or a list of `size` values if that is above 1.

        Args:
            config: What a `sample_from` function is called with.
            size: How many values.
            random_state: An integer seed, a `random.Random` or a NumPy generator; None follows `random.seed`.
        """
        rng = random_source(random_state)
        values = [self.draw(rng, config) for _ in range(size)]
        return values if size > 1 else values[0]

    def draw(self, rng: _Rng, config: Any = None) -> Any:
        """Draw one value from `rng`, a `random.Random`."""
        raise NotImplementedError

    def is_grid(self) -> bool:
        """Whether every value is to be tried, instead of one being drawn."""
        return isinstance(self.sampler, Grid)

    def is_function(self) -> bool:
        """Whether the value comes from a function of the user's."""
        return False

    def is_valid(self, value: Any) -> bool:
        """Whether `value` is in this domain."""
        raise NotImplementedError

    @property
    def domain_str(self) -> str:
        """The domain as people read it."""
        return "(unknown)"

    def _with(self: _D, sampler: Sampler) -> _D:  # noqa: PYI019 (Self is not in Python 3.10)
        new = copy.copy(self)
        new.sampler = sampler
        return new

    def __repr__(self) -> str:
        how = f", {self.sampler}" if self.sampler is not None else ""
        return f"<{type(self).__name__} {self.domain_str}{how}>"


class Float(Domain):
    """A number between two bounds, both included; a bound of None is no bound."""

    def __init__(self, lower: float | None, upper: float | None) -> None:
        self.lower = -math.inf if lower is None else _number(lower, "lower")
        self.upper = math.inf if upper is None else _number(upper, "upper")
        if self.lower > self.upper:
            raise ConfigurationError(f"The bounds ({lower!r}, {upper!r}) are the wrong way round: lower comes first.")

    def cast(self, value: Any) -> float:
        """Return `value` as a float."""
        return float(value)

    def uniform(self) -> Float:
        """Return this domain with every value as likely as any other."""
        if math.isinf(self.lower) or math.isinf(self.upper):
            raise ConfigurationError(f"A uniform number needs two finite bounds, not {self.domain_str}.")
        return self._with(Uniform())

    def loguniform(self, base: object = None) -> Float:
        """Return this domain with the logarithm of the value uniform."""
        _check_log_bounds(self.lower, self.upper)
        return self._with(LogUniform())

    def normal(self, mean: float = 0.0, sd: float = 1.0) -> Float:
        """Return this domain with values of a normal distribution; it must have no bounds."""
        if not (math.isinf(self.lower) and math.isinf(self.upper)):
            raise ConfigurationError(f"A normal distribution has no bounds, not {self.domain_str}.")
        return self._with(Normal(mean, sd))

    def quantized(self, q: float) -> Float:
        """Return this domain with values rounded to multiples of `q`, both bounds included.

        Raises:
            ConfigurationError: a bound is no multiple of `q`.
        """
        sampler = Quantized(self.get_sampler(), q)
        for name, bound in (("lower", self.lower), ("upper", self.upper)):
            if math.isfinite(bound) and not math.isclose(bound / q, round(bound / q)):
                raise ConfigurationError(f"The {name} bound {bound!r} is no multiple of q={q!r}; make it one.")
        return self._with(sampler)

    def draw(self, rng: _Rng, config: Any = None) -> float:
        """Draw one float."""
        return self.cast(self.get_sampler().draw(self.lower, self.upper, rng))

    def is_valid(self, value: Any) -> bool:
        """Whether `value` is one of this domain's."""
        return bool(self.lower <= value <= self.upper)

    @property
    def domain_str(self) -> str:
        """The domain as people read it."""
        return f"({self.lower}, {self.upper})"


class Integer(Domain):
    """A whole number from `lower` up to but without `upper`; quantized by more than 1, `upper` is included."""

    def __init__(self, lower: int, upper: int) -> None:
        self.lower = _whole(lower, "lower")
        self.upper = _whole(upper, "upper")
        if self.lower > self.upper:
            raise ConfigurationError(f"The bounds ({lower!r}, {upper!r}) are the wrong way round: lower comes first.")

    def cast(self, value: Any) -> int:
        """Return `value` as an int."""
        return int(value)

    def uniform(self) -> Integer:
        """Return this domain with every value as likely as any other."""
        return self._with(Uniform())

    def loguniform(self, base: object = None) -> Integer:
        """Return this domain with the logarithm of the value uniform."""
        _check_log_bounds(self.lower, self.upper)
        return self._with(LogUniform())

    def quantized(self, q: int) -> Integer:
        """Return this domain with multiples of `q` only; `upper` is included unless q is 1.

        Raises:
            ConfigurationError: `q` is no whole number above 0, or there is no multiple of it between the bounds.
        """
        return self._with(Quantized(self.get_sampler(), _whole(q, "q"))).checked()

    def checked(self) -> Integer:
        """Return this domain.

        Raises:
            ConfigurationError: there is no value in it.
        """
        sampler = self.get_sampler()
        if isinstance(sampler, Quantized):
            first, after = sampler.grid(self.lower, self.upper)
            if first >= after:
                raise ConfigurationError(
                    f"There is no multiple of q={sampler.q} between {self.lower} and {self.upper}."
                )
        elif self.lower >= self.upper:
            raise ConfigurationError(
                f"There is no integer from {self.lower} up to but without {self.upper}: the upper bound is exclusive."
            )
        return self

    def draw(self, rng: _Rng, config: Any = None) -> int:
        """Draw one integer."""
        return self.checked().get_sampler().draw_index(self.lower, self.upper, rng)

    def is_valid(self, value: Any) -> bool:
        """Whether `value` is one of this domain's."""
        return bool(self.lower <= value <= self.upper)

    @property
    def domain_str(self) -> str:
        """The domain as people read it."""
        return f"({self.lower}, {self.upper})"


class Categorical(Domain):
    """One of some values, of any kind; classes, functions and nested search spaces among them."""

    def __init__(self, categories: Iterable[Any]) -> None:
        try:
            self.categories = list(categories)
        except TypeError:
            raise ConfigurationError(
                f"Values to choose from must be a list, not {categories!r} of type {type(categories).__name__}."
            ) from None
        if not self.categories:
            raise ConfigurationError("There must be at least one value to choose from, and the list is empty.")

    def uniform(self) -> Categorical:
        """Return this domain with every value as likely as any other."""
        return self._with(Uniform())

    def grid(self) -> Categorical:
        """Return this domain with every value tried."""
        return self._with(Grid())

    def draw(self, rng: _Rng, config: Any = None) -> Any:
        """Draw one of the categories."""
        if self.is_grid():
            raise ConfigurationError("Every value of a grid is tried; none can be drawn from it.")
        return self.categories[self.get_sampler().draw_index(0, len(self.categories), rng)]

    def is_valid(self, value: Any) -> bool:
        """Whether `value` is one of this domain's."""
        return value in self.categories

    def __len__(self) -> int:
        return len(self.categories)

    def __getitem__(self, item: int) -> Any:
        return self.categories[item]

    @property
    def domain_str(self) -> str:
        """The domain as people read it."""
        return f"{self.categories}"


class Function(Domain):
    """A value that a function of the user's computes, from the other values or from nothing.

    Raises:
        ConfigurationError: the function takes neither no argument nor one.
    """

    def __init__(self, func: Callable[..., Any]) -> None:
        if not callable(func):
            raise ConfigurationError(f"sample_from() needs a function, not {func!r}.")
        self.func = func
        self.pass_config = _takes_config(func)

    def is_function(self) -> bool:
        """Whether the value comes from a function of the user's: yes."""
        return True

    def draw(self, rng: _Rng = None, config: Any = None) -> Any:
        """Call the function; `rng` is not used."""
        return self.func(config) if self.pass_config else self.func()

    def is_valid(self, value: Any) -> bool:
        """Whether `value` is one of this domain's."""
        return True

    @property
    def domain_str(self) -> str:
        """The domain as people read it."""
        return f"{getattr(self.func, '__qualname__', self.func)}()"


def as_domain(node: object) -> Domain | None:
    """Return the domain that `node` of a search space is, in either spelling, or None if it is none."""
    if isinstance(node, Domain):
        return node
    if is_grid(node):
        return Categorical(grid_values(node)).grid()
    return None


def is_grid(node: object) -> bool:
    """Whether `node` is a grid: `{"grid_search": [...]}` or `Categorical([...]).grid()`."""
    if isinstance(node, Domain):
        return node.is_grid()
    return isinstance(node, dict) and len(node) == 1 and "grid_search" in node


def grid_values(node: Any) -> Any:
    """Return the values of a grid."""
    return node.categories if isinstance(node, Categorical) else node["grid_search"]


def _takes_config(func: Callable[..., Any]) -> bool:
    try:
        signature = inspect.signature(func)
    except (TypeError, ValueError):  # a builtin that does not tell: `numpy.random.rand`
        return False
    for arguments in ((None,), ()):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return bool(arguments)
    raise ConfigurationError(
        f"The function {getattr(func, '__qualname__', func)}{signature} given to sample_from() must be callable with "
        "the config, or with nothing."
    )


def _number(value: Any, name: str) -> float:
    try:
        usable = not math.isnan(value)
    except TypeError:
        usable = False
    if not usable or isinstance(value, (str, Mapping)):
        raise ConfigurationError(f"The {name} bound {value!r} is not a number.")
    return value  # type: ignore[no-any-return]  # kept as it is, so that people see what they wrote


def _whole(value: Any, name: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        pass
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise ConfigurationError(f"{name}={value!r} of an integer domain must be a whole number.")


def _check_log_bounds(lower: float, upper: float) -> None:
    if not (lower > 0 and 0 < upper < math.inf):
        raise ConfigurationError(
            f"A logarithmic domain needs finite bounds above 0, not ({lower!r}, {upper!r}). Give the bounds of the "
            "value itself, not their logarithms."
        )
