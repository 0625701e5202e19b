"""A search space as optimisation libraries see it: a list of numbers and choices, some there only with some choice.

Every domain becomes one of three kinds, which each library has: a real number, a whole number, a choice. What the kinds
cannot say is in the way back: a quantized number is a whole number of steps, a normal one a real number from 0 to 1
through the inverse of its distribution. So bounds and rounding are right in one place, whatever the library does.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from statistics import NormalDist
from typing import Any, Union

from perdure.errors import ConfigurationError
from perdure.search_space.domains import Categorical, Domain, Float, Integer, as_domain
from perdure.search_space.paths import Path, path_text
from perdure.search_space.presets import nested
from perdure.search_space.samplers import LogUniform, Normal, Quantized, Sampler
from perdure.search_space.space import plain_copy, rebuild, unresolved

_TAIL = 1e-6  # of a normal distribution, on either side, that is not searched: nearly five standard deviations away


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Real:
    """A number from `low` to `high`, both included; `log`: each order of magnitude counts the same."""

    low: float
    high: float
    log: bool = False

    def clip(self, raw: float) -> float:
        """Return the nearest number within the bounds."""
        return min(self.high, max(self.low, float(raw)))

    def to_unit(self, raw: float) -> float:
        """Return where `raw` lies between the bounds, from 0 to 1."""
        return _to_unit(self.low, self.high, float(raw), log=self.log)

    def from_unit(self, unit: float) -> float:
        """Return the number that lies at `unit`, from 0 to 1, between the bounds."""
        return self.clip(_from_unit(self.low, self.high, unit, log=self.log))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A whole number from `low` to `high`, both included; `log`: each order of magnitude counts the same."""

    low: int
    high: int
    log: bool = False

    def clip(self, raw: float) -> int:
        """Return the nearest whole number within the bounds."""
        return min(self.high, max(self.low, round(raw)))

    def to_unit(self, raw: float) -> float:
        """Return the middle of the part of [0, 1] that stands for `raw`."""
        return _to_unit(self.low - 0.5, self.high + 0.5, float(raw), log=self.log)

    def from_unit(self, unit: float) -> int:
        """Return the whole number that `unit`, from 0 to 1, lies in the part of."""
        return self.clip(_from_unit(self.low - 0.5, self.high + 0.5, unit, log=self.log))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A number from 0 to `size` - 1 that says which."""

    size: int

    def clip(self, raw: float) -> int:
        """Return the nearest number that stands for a choice."""
        return min(self.size - 1, max(0, round(raw)))


Kind = Union[Real, Whole, Choice]
Raw = Union[float, int]
"""What a library suggests for a parameter."""
Raws = dict[str, Raw]
"""What it suggests for all of them, by name."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One searched value."""

    name: str
    """The keys on the way to it, joined by "/"; in a part that comes with a choice, after `<choice>[<number>]/`."""
    kind: Kind
    domain: Domain
    given: tuple[str, int] | None
    """The name of the choice it comes with, and the number chosen; None: it is always there."""
    step: float = 0.0
    """The distance between values, where these are `step` times a whole number; 0 where they are not."""

    def decode(self, raw: Raw) -> Any:
        """Return the value that `raw` stands for: one of the domain's, whatever `raw` is."""
        bounded = self.kind.clip(raw)
        domain = self.domain
        if isinstance(domain, Categorical):
            return domain.categories[int(bounded)]
        if self.step:
            return domain.cast(Decimal(repr(self.step)) * int(bounded))
        sampler = domain.get_sampler()
        step, sampler = _unquantized(sampler)
        if isinstance(sampler, Normal):
            value = NormalDist(sampler.mean, sampler.sd).inv_cdf(bounded)
            return float(Decimal(repr(step)) * round(value / step)) if step else value
        return domain.cast(bounded)

    def encode(self, value: Any) -> Raw:
        """Return what stands for `value`.

        Raises:
            ConfigurationError: it is none of the domain's values.
        """
        try:
            return self._encode(value)
        except (TypeError, ValueError, OverflowError):
            raise self.stranger(value) from None

    def stranger(self, value: Any) -> ConfigurationError:
        """Return the error for a value that is none of the domain's."""
        return ConfigurationError(
            f"The value {value!r} of {self.name!r} is not in its domain {self.domain!r}. Correct the value, or widen "
            "the domain in param_space."
        )

    @property
    def is_counted(self) -> bool:
        """Whether it is a whole number of which each counts the same."""
        return isinstance(self.kind, Whole) and not self.kind.log

    def to_coordinate(self, raw: Raw | None) -> float:
        """Return where `raw`, or else the first value, lies: a choice's number, a whole number, or from 0 to 1."""
        kind = self.kind
        if isinstance(kind, Choice):
            return raw or 0
        known = kind.low if raw is None else raw
        return known if self.is_counted else kind.to_unit(known)

    def from_coordinate(self, at: float) -> Raw:
        """Return the raw value that lies there, or nearest to there."""
        kind = self.kind
        return kind.clip(at) if isinstance(kind, Choice) or self.is_counted else kind.from_unit(at)

    def candidates(self, value: Any) -> list[int]:
        """Return the numbers of the categories that `value` may be; more than one if they look the same."""
        assert isinstance(self.domain, Categorical)
        categories = self.domain.categories
        equal = [number for number, category in enumerate(categories) if _same(category, value)]
        # What is neither data nor importable came through a pickle, and is no longer equal to what it was.
        return equal or [number for number, one in enumerate(categories) if _appearance(one) == _appearance(value)]

    def _encode(self, value: Any) -> Raw:
        if isinstance(self.kind, Choice):
            found = self.candidates(value)
            if not found:
                raise self.stranger(value)
            return found[0]
        _, sampler = _unquantized(self.domain.get_sampler())
        raw: float
        if isinstance(sampler, Normal):
            return self.kind.clip(NormalDist(sampler.mean, sampler.sd).cdf(value))
        raw = value / self.step if self.step else float(value)
        if isinstance(self.kind, Whole):
            whole = round(raw)
            if not math.isclose(raw, whole, rel_tol=1e-9, abs_tol=1e-9) or self.kind.clip(whole) != whole:
                raise self.stranger(value)
            return whole
        if not math.isclose(raw, self.kind.clip(raw), rel_tol=1e-9, abs_tol=1e-12):
            raise self.stranger(value)
        return self.kind.clip(raw)


class ParameterSpace:
    """The searched part of a `param_space`.

    Args:
        tree: The space, or a part of it.
        whose: Who searches, for error messages.

    Raises:
        ConfigurationError: the space holds a grid, a function, or a number without bounds, and says which.
    """

    def __init__(self, tree: Any, whose: str) -> None:
        self.parameters: list[Parameter] = []
        self._root = _Part(tree, "", None, whose, self.parameters)
        self.by_name = {parameter.name: parameter for parameter in self.parameters}

    def build(self, raws: Mapping[str, Raw]) -> dict[str, Any]:
        """Return the configuration for `raws`, without the constants that stand in dicts of their own.

        Parameters that come with another choice than the one made may be in `raws`, and are not used.
        """
        built = self._root.build(raws, searched_only=True)
        assert isinstance(built, dict)
        return built

    @property
    def tree(self) -> Any:
        """What the space is made of."""
        return self._root.tree

    def read(self, config: Any, like: Mapping[str, Raw] | None = None, *, partial: bool = False) -> Raws:
        """Return what stands for the searched values of `config`, which may have further ones.

        Args:
            config: A configuration, or only its searched part.
            like: Decides between categories that look the same.
            partial: Values may be missing.

        Raises:
            ConfigurationError: a value is missing, or none of its domain's.
        """
        raws: Raws = {}
        self._root.read(config, raws, like or {}, partial=partial)
        return raws

    def active(self, raws: Mapping[str, Raw]) -> Iterator[Parameter]:
        """Yield the parameters that are there with the choices in `raws`, a choice before what comes with it."""
        return self._root.active(raws)

    def complete(self, raws: Mapping[str, Raw], draw: Callable[[Parameter], Any]) -> Raws:
        """Return `raws` and, for the parameters that are missing, what `draw` gives as their value."""
        return self._root.complete(dict(raws), draw)


class _Part:
    """The space, or the part of it that comes with one category of a choice."""

    def __init__(
        self, tree: Any, prefix: str, given: tuple[str, int] | None, whose: str, parameters: list[Parameter]
    ) -> None:
        self.tree = tree
        self.at: dict[Path, Parameter] = {}
        self.branches: dict[str, dict[int, _Part]] = {}
        for path, domain in unresolved(tree):
            text = path_text(path)
            name = f"{prefix}/{text}" if prefix and text else prefix or text
            parameter = self.at[path] = _parameter(name, domain, given, whose)
            parameters.append(parameter)
            if isinstance(domain, Categorical):
                self.branches[name] = {
                    number: _Part(category, f"{name}[{number}]", (name, number), whose, parameters)
                    for number, category in enumerate(domain.categories)
                    if any(True for _ in unresolved(category))
                }

    def build(self, raws: Mapping[str, Raw], *, searched_only: bool) -> Any:
        tree = _searched(self.tree) if searched_only else self.tree
        return self._build(tree, (), raws)

    def _build(self, node: Any, path: Path, raws: Mapping[str, Raw]) -> Any:
        if as_domain(node) is None:
            return rebuild(node, path, lambda child, where: self._build(child, where, raws))
        parameter = self.at[path]
        raw = raws[parameter.name]
        if isinstance(parameter.kind, Choice):
            branch = self.branches[parameter.name].get(parameter.kind.clip(raw))
            if branch is not None:
                return branch.build(raws, searched_only=False)
        return plain_copy(parameter.decode(raw))

    def active(self, raws: Mapping[str, Raw]) -> Iterator[Parameter]:
        for parameter in self.at.values():
            yield parameter
            if isinstance(parameter.kind, Choice):
                branch = self.branches[parameter.name].get(parameter.kind.clip(raws[parameter.name]))
                if branch is not None:
                    yield from branch.active(raws)

    def complete(self, raws: Raws, draw: Callable[[Parameter], Any]) -> Raws:
        for parameter in self.at.values():
            if parameter.name not in raws:
                raws[parameter.name] = parameter.encode(draw(parameter))
            if isinstance(parameter.kind, Choice):
                branch = self.branches[parameter.name].get(parameter.kind.clip(raws[parameter.name]))
                if branch is not None:
                    branch.complete(raws, draw)
        return raws

    def read(self, config: Any, raws: Raws, like: Mapping[str, Raw], *, partial: bool) -> None:
        for path, parameter in self.at.items():
            try:
                value = _at(config, path)
            except (KeyError, IndexError, TypeError) as error:
                if partial and isinstance(error, KeyError):
                    continue
                raise ConfigurationError(
                    f"There is no value for {parameter.name!r}, which param_space searches."
                ) from None
            if isinstance(parameter.kind, Choice):
                self._read_choice(parameter, value, raws, like, partial=partial)
            elif parameter.name in like and _same(parameter.decode(like[parameter.name]), value):
                raws[parameter.name] = like[parameter.name]  # to the last bit
            else:
                raws[parameter.name] = parameter.encode(value)

    def _read_choice(
        self, parameter: Parameter, value: Any, raws: Raws, like: Mapping[str, Raw], *, partial: bool
    ) -> None:
        branches = self.branches[parameter.name]
        found = [number for number in parameter.candidates(value) if number not in branches]
        liked = like.get(parameter.name)
        if found:
            raws[parameter.name] = liked if liked in found else found[0]
            return
        for number, branch in sorted(branches.items(), key=lambda item: item[0] != liked):
            inside: Raws = {}
            try:
                part = nested(branch.tree, value) if partial and isinstance(branch.tree, dict) else value
                if not _constants_agree(branch.tree, part, partial=partial):
                    continue
                branch.read(part, inside, like, partial=partial)
            except ConfigurationError:
                continue
            raws[parameter.name] = number
            raws.update(inside)
            return
        raise parameter.stranger(value)


def _parameter(name: str, domain: Domain, given: tuple[str, int] | None, whose: str) -> Parameter:
    if domain.is_grid() or domain.is_function():
        called = "grid_search" if domain.is_grid() else "sample_from"
        raise ConfigurationError(
            f"{whose} needs domains of known bounds, and {name!r} is a {called}, which is for random and grid search "
            "(BasicVariantGenerator). Use choice() and the like, or compute the value in the trainable."
        )
    if isinstance(domain, Categorical):
        return Parameter(name=name, kind=Choice(size=len(domain.categories)), domain=domain, given=given)
    if isinstance(domain, Integer):
        kind, step = _steps(domain)
        return Parameter(name=name, kind=kind, domain=domain, given=given, step=step)
    if isinstance(domain, Float):
        quantum, sampler = _unquantized(domain.get_sampler())
        if isinstance(sampler, Normal):
            return Parameter(name=name, kind=Real(low=_TAIL, high=1 - _TAIL), domain=domain, given=given)
        if not (math.isfinite(domain.lower) and math.isfinite(domain.upper)):
            raise ConfigurationError(
                f"{whose} needs domains of known bounds, and {name!r} is {domain!r}. Give both bounds, or use randn()."
            )
        log = isinstance(sampler, LogUniform)
        if not quantum:
            real = Real(low=float(domain.lower), high=float(domain.upper), log=log)
            return Parameter(name=name, kind=real, domain=domain, given=given)
        whole = Whole(low=round(domain.lower / quantum), high=round(domain.upper / quantum), log=log)
        return Parameter(name=name, kind=whole, domain=domain, given=given, step=quantum)
    raise ConfigurationError(f"{whose} cannot search {name!r}, which is {domain!r}. Use one of perdure's own domains.")


def _steps(domain: Integer) -> tuple[Whole, float]:
    sampler = domain.checked().get_sampler()
    log = isinstance(_unquantized(sampler)[1], LogUniform)
    if isinstance(sampler, Quantized):
        first, after = sampler.grid(domain.lower, domain.upper)
        return Whole(low=first, high=after - 1, log=log), int(sampler.q)
    return Whole(low=domain.lower, high=domain.upper - 1, log=log), 1


def _unquantized(sampler: Sampler) -> tuple[float, Sampler]:
    return (sampler.q, sampler.sampler) if isinstance(sampler, Quantized) else (0, sampler)


def _to_unit(low: float, high: float, raw: float, *, log: bool) -> float:
    if low == high:
        return 0.5
    if log:
        low, high, raw = math.log(low), math.log(high), math.log(raw)
    return min(1.0, max(0.0, (raw - low) / (high - low)))


def _from_unit(low: float, high: float, unit: float, *, log: bool) -> float:
    unit = min(1.0, max(0.0, float(unit)))
    if log:
        return math.exp(math.log(low) + (math.log(high) - math.log(low)) * unit)
    return low + (high - low) * unit


def _searched(node: Any) -> Any:
    """Return the part of a space that is searched: dicts without their constants, lists that hold a domain whole."""
    if not isinstance(node, dict) or as_domain(node) is not None:
        return node
    return {key: _searched(value) for key, value in node.items() if any(True for _ in unresolved(value))}


def _at(config: Any, path: Path) -> Any:
    for key in path:
        config = config[key]
    return config


def _constants_agree(tree: Any, value: Any, *, partial: bool) -> bool:
    """Whether `value` has what `tree` has, where that is not searched; if `partial`, what is may be missing."""
    if as_domain(tree) is not None:
        return True
    if isinstance(tree, dict):
        return isinstance(value, Mapping) and all(
            _constants_agree(child, value[key], partial=partial)
            if key in value
            else partial and any(True for _ in unresolved(child))
            for key, child in tree.items()
        )
    if isinstance(tree, (list, tuple)):
        return (
            isinstance(value, (list, tuple))
            and len(tree) == len(value)
            and all(_constants_agree(child, part, partial=partial) for child, part in zip(tree, value, strict=True))
        )
    return _same(tree, value) or _appearance(tree) == _appearance(value)


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if isinstance(one, bool) != isinstance(other, bool):  # 1 and True are two values to choose from
        return False
    try:
        return bool(one == other)
    except (TypeError, ValueError):
        return False


def _appearance(value: Any) -> str:
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
