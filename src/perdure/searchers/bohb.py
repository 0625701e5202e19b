"""The model of BOHB: densities of good and of bad configurations, from the largest budget that has enough of them.

Falkner, Klein, Hutter: "BOHB: Robust and Efficient Hyperparameter Optimization at Scale" (ICML 2018,
arXiv:1807.01774). The constants are the paper's. The authors' library, HpBandSter, was last released
in 2018 and brings a server for distributed runs; the model alone is here, and needs nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from perdure.arguments import named_arguments
from perdure.errors import ConfigurationError
from perdure.search_space.domains import Domain
from perdure.search_space.functions import choice, lograndint, loguniform, randint, uniform
from perdure.search_space.parameters import Choice, Parameter
from perdure.search_space.randomness import keyed_random
from perdure.searchers.base import HINTS, OLDER, Result
from perdure.searchers.library import Asked, LibrarySearcher, Objectives, Raws, SearchedSpace

_LEAST = 1e-32  # a density below it counts as this
_SMALLEST_BANDWIDTH_OF_A_CHOICE = 1e-3

Point = tuple[float, ...]
"""A configuration: for each parameter the number of the choice, or where the number lies between its bounds, 0 to 1."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """`bohb_config`, under HpBandSter's names."""

    min_points_in_model: int | None = None
    """So many results more than 2 make a model; None is one more than there are parameters."""
    top_n_percent: int = 15
    """The share of the results that is good."""
    num_samples: int = 64
    """Candidates among which the model chooses."""
    random_fraction: float = 1 / 3
    """The share of suggestions that are drawn at random."""
    bandwidth_factor: float = 3
    """Candidates are drawn with wider kernels than the density is made of."""
    min_bandwidth: float = 1e-3


@named_arguments(OLDER, HINTS)
class TuneBOHB(LibrarySearcher):
    """Suggests as BOHB does; together with `HyperBandForBOHB`.

    A row is learnt from when that scheduler says it is at a milestone, with the milestone as its budget; and the last
    row of a trial is, with its `training_iteration` as the budget. Trials that fail are left out; paused ones do not
    count against `max_concurrent`.

    Args:
        space: A space of perdure's domains, or a ConfigSpace of floats, integers and categories without conditions;
            None takes the Tuner's `param_space`.
        bohb_config: `min_points_in_model`, `top_n_percent`, `num_samples`, `random_fraction`, `bandwidth_factor`,
            `min_bandwidth`.
        metric: What is optimised.
        mode: "min" or "max".
        points_to_evaluate: Configurations to try first.
        seed: Makes the search reproducible; None follows `TuneConfig(seed=...)`.
        max_concurrent: Most trials that run at a time; 0 for no limit.

    Raises:
        ConfigurationError: `bohb_config` has another key, or the space a parameter of another kind.
    """

    def __init__(
        self,
        space: Any = None,
        bohb_config: Mapping[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        seed: int | None = None,
        max_concurrent: int = 0,
    ) -> None:
        super().__init__(space, metric, mode, points_to_evaluate, seed)
        known = [field.name for field in dataclasses.fields(_Settings)]
        unknown = sorted(set(bohb_config or ()) - set(known))
        if unknown:
            raise ConfigurationError(f"bohb_config has {', '.join(unknown)}; there are: {', '.join(known)}.")
        self._settings = _Settings(**(bohb_config or {}))
        self._max_concurrent = max_concurrent

    def _own_space(self, space: Any) -> SearchedSpace:
        return self._tree_space(
            _domains_of(space) if hasattr(space, "values") and not isinstance(space, dict) else space
        )

    def _begin(self) -> None:
        self._memory = _Memory()

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Limit how many trials run at a time, paused ones not among them."""
        self._max_concurrent = max_concurrent
        return True

    def _ask(self, trial_id: str) -> Asked:
        rng = keyed_random(self._seed or 0, "bohb", self._count)
        results = self._results()
        if results is None or rng.random() < self._settings.random_fraction:
            point = tuple(_drawn(one, rng) for one in self.parameters)
        else:
            point = self._modelled(results, rng)
        return Asked(
            raws={one.name: _raw(one, at) for one, at in zip(self.parameters, point, strict=True)}, handle=None
        )

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return a configuration, unless there are enough running trials."""
        running = len(self._live) - len(self._memory.paused if self._begun else ())
        if self._max_concurrent and running >= self._max_concurrent:
            return None
        return super().suggest(trial_id)

    def _impose(self, trial_id: str, raws: Raws) -> Asked:
        return Asked(raws=raws, handle=None)

    def _report(self, asked: Asked, result: Result) -> None:
        budget = (result.get("hyperband_info") or {}).get("budget")
        if budget is not None:
            self._learn_from(asked, result, float(budget))

    def on_trial_complete(self, trial_id: str, result: Result | None = None, error: bool = False) -> None:
        """Learn from the last row, unless it was at a milestone and is known."""
        asked = self._live.pop(trial_id, None)
        if asked is None:
            return
        self._memory.paused.discard(trial_id)
        if error or not result:
            return
        iteration = result.get("training_iteration", 0)
        if asked.handle is None or asked.handle != iteration:
            milestone = result.get("hyperband_info") or {}
            self._learn_from(asked, result, float(milestone.get("budget") or iteration))

    def _tell(self, asked: Asked, objectives: Objectives | None) -> None:
        if objectives is not None:
            self._memory.learn(0.0, self._point(asked.raws), self.loss(objectives))

    def _learn_from(self, asked: Asked, result: Result, budget: float) -> None:
        values = self._values(result)
        if values is not None:
            asked.handle = result.get("training_iteration", 0)
            self._memory.learn(budget, self._point(asked.raws), self.loss(values))

    def on_pause(self, trial_id: str) -> None:
        """A trial was paused: another may run in its place."""
        if trial_id in self._live:
            self._memory.paused.add(trial_id)

    def on_unpause(self, trial_id: str) -> None:
        """A trial runs."""
        if self._begun:
            self._memory.paused.discard(trial_id)

    # --- the model --------------------------------------------------------------------------------------------------

    def _results(self) -> list[tuple[Point, float]] | None:
        """Return the results with the largest budget of which there are enough."""
        enough = self._least + 2
        budgets = [budget for budget, results in self._memory.results.items() if len(results) >= enough]
        return self._memory.results[max(budgets)] if budgets else None

    @property
    def _least(self) -> int:
        given = self._settings.min_points_in_model
        return len(self.parameters) + 1 if given is None else given

    def _modelled(self, results: list[tuple[Point, float]], rng: Random) -> Point:
        ranked = [point for point, _ in sorted(results, key=lambda result: result[1])]
        share = self._settings.top_n_percent / 100
        good = ranked[: max(self._least, int(len(ranked) * share))]
        bad = ranked[-max(self._least, len(ranked) - int(len(ranked) * share)) :]
        narrowest = self._settings.min_bandwidth
        densities = [_Density(self.parameters, points, narrowest) for points in (good, bad)]
        candidates = [
            densities[0].draw(rng, self._settings.bandwidth_factor) for _ in range(self._settings.num_samples)
        ]
        return min(candidates, key=lambda point: densities[1].at(point) / densities[0].at(point))

    def _point(self, raws: Raws) -> Point:
        """Return a configuration as a point; where a parameter is not there, at random, as the paper has it."""
        active = {one.name for one in self._active(raws)}
        rng = keyed_random(self._seed or 0, sorted(raws.items()))
        drawn = [_drawn(one, rng) for one in self.parameters]
        return tuple(
            _unit(one, raws[one.name]) if one.name in active else at
            for one, at in zip(self.parameters, drawn, strict=True)
        )

    def _active(self, raws: Raws) -> Any:
        assert self._space is not None
        return self._space.active(raws)  # type: ignore[attr-defined]


class _Memory:
    """What the search depends on, besides the seed."""

    def __init__(self) -> None:
        self.results: dict[float, list[tuple[Point, float]]] = {}
        """Points and losses by budget."""
        self.paused: set[str] = set()

    def learn(self, budget: float, point: Point, loss: float) -> None:
        """Add a result."""
        self.results.setdefault(budget, []).append((point, loss))


class _Density:
    """A kernel density estimate: the product of normal kernels for numbers and Aitchison and Aitken's for choices."""

    def __init__(self, parameters: Sequence[Parameter], points: Sequence[Point], narrowest: float) -> None:
        self._sizes = [one.kind.size if isinstance(one.kind, Choice) else 0 for one in parameters]
        self._points = points
        scale = 1.06 * len(points) ** (-1 / (4 + len(parameters)))  # the normal reference rule
        self._widths = [
            _width(scale * _deviation([point[index] for point in points]), size, narrowest)
            for index, size in enumerate(self._sizes)
        ]

    def at(self, place: Point) -> float:
        """Return the density at `place`."""
        total = sum(self._kernel(place, point) for point in self._points)
        return max(_LEAST, total / len(self._points))

    def draw(self, rng: Random, factor: float) -> Point:
        """Return a point near one of those it is made of; `factor` widens the kernels."""
        centre = self._points[rng.randrange(len(self._points))]
        return tuple(
            _near(at, width, size, factor, rng)
            for at, width, size in zip(centre, self._widths, self._sizes, strict=True)
        )

    def _kernel(self, place: Point, centre: Point) -> float:
        density = 1.0
        for at, middle, width, size in zip(place, centre, self._widths, self._sizes, strict=True):
            if size:
                density *= 1 - width if at == middle else width / max(1, size - 1)
            else:
                density *= math.exp(-0.5 * ((at - middle) / width) ** 2) / (width * math.sqrt(2 * math.pi))
        return density


def _deviation(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1))


def _width(width: float, size: int, narrowest: float) -> float:
    if not size:
        return max(narrowest, width)
    most = (size - 1) / size  # then all choices are as likely
    return min(most, max(_SMALLEST_BANDWIDTH_OF_A_CHOICE if size > 1 else 0.0, width))


def _near(at: float, width: float, size: int, factor: float, rng: Random) -> float:
    if size:
        return at if rng.random() < 1 - width else float(rng.randrange(size))
    while True:
        value = rng.gauss(at, width * factor)
        if 0 <= value <= 1:
            return value


def _drawn(parameter: Parameter, rng: Random) -> float:
    kind = parameter.kind
    return float(rng.randrange(kind.size)) if isinstance(kind, Choice) else rng.random()


def _unit(parameter: Parameter, raw: Any) -> float:
    return float(raw) if isinstance(parameter.kind, Choice) else parameter.kind.to_unit(raw)


def _raw(parameter: Parameter, at: float) -> Any:
    return int(at) if isinstance(parameter.kind, Choice) else parameter.kind.from_unit(at)


def _domains_of(space: Any) -> dict[str, Domain]:
    """Return a ConfigSpace as perdure's domains."""
    if getattr(space, "conditions", None):
        raise ConfigurationError("TuneBOHB takes no ConfigSpace with conditions: nest the space in choice() instead.")
    return {parameter.name: _domain_of(parameter) for parameter in space.values()}


def _domain_of(parameter: Any) -> Domain:
    kind = type(parameter).__name__
    if kind == "UniformFloatHyperparameter":
        return (loguniform if parameter.log else uniform)(parameter.lower, parameter.upper)
    if kind == "UniformIntegerHyperparameter":
        return (lograndint if parameter.log else randint)(parameter.lower, parameter.upper + 1)
    if kind == "CategoricalHyperparameter":
        return choice(parameter.choices)
    raise ConfigurationError(f"TuneBOHB cannot search {parameter!r}: use floats, integers and categories.")
