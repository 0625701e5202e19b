"""Grids: how many combinations there are, and which is the i-th, without listing them.

The combinations of a space are numbered as Ray Tune numbers them: grids are ordered by their paths, the first of them
changes fastest, and grids inside the values of other grids change faster than all of these.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any

from perdure.errors import ConfigurationError
from perdure.search_space.domains import Categorical, Domain, grid_values, is_grid
from perdure.search_space.paths import INSIDE, Path, path_text, sort_key


class Grid:
    """One grid of a space, compiled once: finding a value by number costs no more for a million values than for ten."""

    def __init__(self, path: Path, values: Any) -> None:
        self.path = path
        try:
            self.values = Categorical(values).categories
        except ConfigurationError as error:
            raise ConfigurationError(f"grid_search at {path_text(path)!r}: {error}") from None
        inner = {index: find_grids(value, _inner_path(path, value)) for index, value in enumerate(self.values)}
        self.inner = {index: grids for index, grids in inner.items() if grids}
        self._starts = self._count_starts()
        self.size = self._starts[-1] if self._starts else len(self.values)

    def locate(self, offset: int) -> tuple[int, int]:
        """Return the index of the value at `offset` (0 to size - 1), and the offset at which that value begins."""
        if not self._starts:
            return offset, offset
        index = bisect.bisect_right(self._starts, offset) - 1
        return index, self._starts[index]

    def size_of(self, index: int) -> int:
        """How many combinations the value at `index` stands for."""
        return count(self.inner.get(index, ()))

    def _count_starts(self) -> list[int]:
        if not self.inner:
            return []
        return [0, *itertools.accumulate(self.size_of(index) for index in range(len(self.values)))]


def find_grids(node: object, path: Path = ()) -> list[Grid]:
    """Return the grids of a space in the order in which they change, fastest first."""
    return sorted((Grid(where, values) for where, values in _walk(node, path)), key=lambda grid: sort_key(grid.path))


def count(grids: Iterable[Grid]) -> int:
    """Return the number of combinations."""
    return math.prod(grid.size for grid in grids)


def combination(grids: list[Grid], number: int) -> dict[Path, Any]:
    """Return the value of every grid, by path, in combination `number`; inner grids of chosen values included."""
    chosen: dict[Path, Any] = {}
    while grids:
        inner: list[Grid] = []
        faster, weight = count(grids), 1  # combinations of the grids to come; of those inside what is chosen so far
        for grid in reversed(grids):
            faster //= grid.size
            index, start = grid.locate(number // (faster * weight))
            number -= start * faster * weight
            weight *= grid.size_of(index)
            chosen[grid.path] = grid.values[index]
            inner.extend(grid.inner.get(index, ()))
        grids = sorted(inner, key=lambda grid: sort_key(grid.path))
    return chosen


def _walk(node: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if is_grid(node):
        yield path, grid_values(node)
    elif isinstance(node, dict):
        for key, child in node.items():
            yield from _walk(child, (*path, key))
    elif isinstance(node, (list, tuple)):
        for index, child in enumerate(node):
            yield from _walk(child, (*path, index))


def _inner_path(path: Path, value: object) -> Path:
    return (*path, INSIDE) if is_grid(value) or isinstance(value, Domain) else path
