"""Random and grid search, the searcher of an experiment that names none.

The i-th configuration is a function of the space, the seed and i. So the whole state of the search is how many
configurations were suggested, and each costs the same however many came before it.
"""

from __future__ import annotations

import bisect
import itertools
import math
import secrets
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from perdure.arguments import named_arguments
from perdure.search_space.presets import nested, trying, with_point
from perdure.search_space.randomness import derive_seed, keyed_random
from perdure.search_space.space import Space, Variant


@named_arguments()
class BasicVariantGenerator:
    """Tries every combination of the grids in the space, and draws everything else.

    Args:
        points_to_evaluate: Configurations to try first, each in place of one sample; what one leaves out is searched.
        max_concurrent: Most trials that are unfinished at a time; 0 for no limit.
        constant_grid_search: All combinations of the grids in one sample get the same draws.
        random_state: Integer, or NumPy `RandomState` or `Generator`, that makes the draws reproducible; None follows
            `TuneConfig(seed=)`.

    Raises:
        ConfigurationError: an argument is of another kind.
    """

    def __init__(
        self,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        max_concurrent: int = 0,
        constant_grid_search: bool = False,
        random_state: object = None,
    ) -> None:
        self.points_to_evaluate = [] if points_to_evaluate is None else list(points_to_evaluate)
        self.max_concurrent = max_concurrent
        self.constant_grid_search = constant_grid_search
        given = derive_seed(random_state)
        self.seeded = given is not None
        """Whether the user gave a `random_state`."""
        self.seed = secrets.randbits(48) if given is None else given
        """What all draws depend on. Drawn once, so that a pickled generator goes on as it began."""

    def check_points_to_evaluate(self, param_space: Mapping[str, Any]) -> None:
        """Refuse a space that cannot be used, and points that have a name which the space has not.

        A value outside its domain is used all the same.
        """
        tree = Space(param_space).tree
        for number, point in enumerate(self.points_to_evaluate):
            with trying(number, "BasicVariantGenerator"):
                nested(tree, point)

    def variants(self, param_space: Mapping[str, Any], num_samples: int, seed: int | None = None) -> Variants:
        """Return the configurations of `param_space`; `seed` counts only if no `random_state` was given."""
        return Variants(
            param_space,
            num_samples,
            seed=self.seed if self.seeded or seed is None else seed,
            points=self.points_to_evaluate,
            constant_grid_search=self.constant_grid_search,
        )


class Variants:
    """All configurations of a search, by number; none is kept.

    Args:
        param_space: What is searched.
        num_samples: How often the space is sampled, each time with every combination of its grids; -1 for ever.
        seed: What all draws depend on.
        points: Configurations to come first; each counts as one sample.
        constant_grid_search: The combinations of one sample share their draws.

    Raises:
        ConfigurationError: the space or a point cannot be used.
    """

    def __init__(
        self,
        param_space: Mapping[str, Any],
        num_samples: int,
        *,
        seed: int,
        points: Sequence[Mapping[str, Any]] = (),
        constant_grid_search: bool = False,
    ) -> None:
        self._space = Space(param_space)
        self._points = [Space(with_point(self._space.tree, point)) for point in points]
        self._ends = list(itertools.accumulate(space.grid_size for space in self._points))
        self.seed = seed
        self._constant = constant_grid_search
        self._generator: Random | None = None
        self.total = self._count(num_samples)
        """How many configurations there are; None for no end."""

    def __getitem__(self, index: int) -> Variant:
        """Return configuration number `index`, from 0 on.

        Raises:
            IndexError: there are not so many.
            ConfigurationError: a function of the user's raised; its exception is the cause.
        """
        if index < 0 or index >= (math.inf if self.total is None else self.total):
            raise IndexError(f"configuration {index} of {self.total}")
        space, sample, combination = self._locate(index)
        key = (self.seed, sample) if self._constant else (self.seed, sample, combination)

        def rng(path: str) -> Random:  # one for all draws: none goes on after the next has begun
            self._generator = keyed_random(*key, path, into=self._generator)
            return self._generator

        return space.variant(combination, rng)

    def _locate(self, index: int) -> tuple[Space, int, int]:
        """Return the space, the number of the sample and the combination of its grids."""
        points = len(self._points)
        from_points = self._ends[-1] if points else 0
        if index < from_points:
            point = bisect.bisect_right(self._ends, index)
            return self._points[point], point, index - (self._ends[point - 1] if point else 0)
        sample, combination = divmod(index - from_points, self._space.grid_size)
        return self._space, points + sample, combination

    def _count(self, num_samples: int) -> int | None:
        if num_samples == -1:
            return None
        drawn = max(0, num_samples - len(self._points))
        return (self._ends[-1] if self._points else 0) + drawn * self._space.grid_size
