"""A sorted list in which a value is put, found, taken by its place and removed in O(log n).

What schedulers ask of all scores so far: a quantile, a rank, the k-th best. A plain list that `bisect.insort` keeps
sorted answers all of it, but moves what lies behind a new value: 0.4 MB on average among 100,000. Here the list is cut
into leaves of a B+-tree whose branches also count what lies below each of their parts.

Why it is not `sortedcontainers`, or two heaps, is told in docs/design/017-sorted-scores.md.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from itertools import chain
from typing import Any, Generic, TypeVar, Union

Value = TypeVar("Value")

LEAF = 1024
"""So many values a leaf has at most: inserting one moves 4 kB on average, a fraction of a microsecond."""
FAN = 32
"""So many parts a branch has at most: their counts are summed up at each look-up."""


class SortedValues(Generic[Value]):
    """Values in ascending order; equal ones are kept, each for itself.

    `add`, `bisect_left`, `[place]` and `del [place]` take O(log n) in the worst case, where n values have been added:
    none of them touches more than one leaf and, of each level above it, one branch, and both are of bounded size. What
    empties is given back; what is merely sparse is not merged, so n counts those that were removed, too. The number of
    levels is the one thing that grows: it is one up to 1,024 values, three at 100,000.

    Args:
        values: Values to begin with, sorted. They are kept in lists of the same kind: an `array("d")` takes 8 bytes
            for each. The list is taken over, and is not to be changed by others.
    """

    __slots__ = ("_count", "_root")

    def __init__(self, values: list[Value] | array[Any]) -> None:
        self._count = len(values)
        self._root: _Part = values if len(values) <= LEAF else _grown(values)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Value]:
        return chain.from_iterable(_leaves(self._root))

    def __getitem__(self, place: int) -> Value:
        """Return the value at a place, from 0, or from the end if it is negative.

        Raises:
            IndexError: there are not so many.
        """
        if not 0 <= place < self._count:
            place = self._from_end(place)
        part = self._root
        while isinstance(part, _Branch):
            index = 0  # as `holding`, here because a call takes as long as what it does
            for count in part.counts:
                if place < count:
                    break
                place -= count
                index += 1
            part = part.parts[index]
        value: Value = part[place]
        return value

    def __delitem__(self, place: int) -> None:
        """Remove the value at a place.

        Raises:
            IndexError: there are not so many.
        """
        if not 0 <= place < self._count:
            place = self._from_end(place)
        part, way = self._root, list[tuple[_Branch, int]]()
        while isinstance(part, _Branch):
            index, place = part.holding(place)
            part.counts[index] -= 1
            way.append((part, index))
            part = part.parts[index]
        del part[place]
        self._count -= 1
        if not self._count:
            self._root = part
        elif not part:
            self._prune(way)

    def add(self, value: Value) -> None:
        """Put a value in its place; behind its equals."""
        part = self._root
        while isinstance(part, _Branch):
            index = bisect_right(part.bounds, value)
            part.counts[index] += 1
            part = part.parts[index]
        insort(part, value)
        self._count += 1
        if len(part) > LEAF:
            self._split(value)

    def bisect_left(self, value: Value) -> int:
        """Return how many values are less."""
        part, less = self._root, 0
        while isinstance(part, _Branch):
            index = bisect_left(part.bounds, value)
            less += sum(part.counts[:index])
            part = part.parts[index]
        return less + bisect_left(part, value)

    def _from_end(self, place: int) -> int:
        if not -self._count <= place < 0:
            raise IndexError(f"place {place} of {self._count} values")
        return place + self._count

    def _split(self, value: Value) -> None:
        """Halve the leaf that has become too long by a value, and each branch above it that has because of it."""
        part, way = self._root, list[tuple[_Branch, int]]()
        while isinstance(part, _Branch):
            index = bisect_right(part.bounds, value)
            way.append((part, index))
            part = part.parts[index]
        right: _Part
        bound, right = _halved(part)
        while way:
            branch, index = way.pop()
            branch.put(index, bound, right)
            if len(branch.parts) <= FAN:
                return
            part = branch
            bound, right = branch.halved()
        self._root = _Branch([part, right], [bound], [_size(part), _size(right)])

    def _prune(self, way: list[tuple[_Branch, int]]) -> None:
        """Remove the leaf that has become empty, each branch that has because of it, and a root with one part."""
        while way:
            branch, index = way.pop()
            branch.drop(index)
            if branch.parts:
                break
        while isinstance(self._root, _Branch) and len(self._root.parts) == 1:
            self._root = self._root.parts[0]


class _Branch:
    """Parts in order. `bounds[i]` is not less than what is in part i, and not greater than what is in part i + 1."""

    __slots__ = ("bounds", "counts", "parts")

    def __init__(self, parts: list[_Part], bounds: list[Any], counts: list[int]) -> None:
        self.parts = parts
        self.bounds = bounds
        self.counts = counts

    def holding(self, place: int) -> tuple[int, int]:
        """Return which part holds the value at a place, and its place there."""
        index = 0
        for count in self.counts:
            if place < count:
                break
            place -= count
            index += 1
        return index, place

    def put(self, index: int, bound: Any, right: _Part) -> None:
        """Part `index` was halved: add the right half."""
        size = _size(right)
        self.parts.insert(index + 1, right)
        self.bounds.insert(index, bound)
        self.counts[index] -= size
        self.counts.insert(index + 1, size)

    def drop(self, index: int) -> None:
        """Do without a part that is empty."""
        del self.parts[index], self.counts[index]
        if self.bounds:
            del self.bounds[max(index - 1, 0)]

    def halved(self) -> tuple[Any, _Branch]:
        """Keep the left half; return the bound and the right half."""
        half = len(self.parts) // 2
        right = _Branch(self.parts[half:], self.bounds[half:], self.counts[half:])
        bound = self.bounds[half - 1]
        del self.parts[half:], self.bounds[half - 1 :], self.counts[half:]
        return bound, right


_Leaf = Union["list[Any]", "array[Any]"]
_Part = Union[_Branch, _Leaf]


def _halved(leaf: _Leaf) -> tuple[Any, _Leaf]:
    half = len(leaf) // 2
    right = leaf[half:]
    del leaf[half:]
    return right[0], right


def _size(part: _Part) -> int:
    return sum(part.counts) if isinstance(part, _Branch) else len(part)


def _leaves(part: _Part) -> Iterator[_Leaf]:
    if not isinstance(part, _Branch):
        yield part
        return
    for each in part.parts:
        yield from _leaves(each)


def _grown(values: _Leaf) -> _Part:
    """Return sorted values as a tree whose leaves and branches are half full."""
    half = LEAF // 2
    parts: list[_Part] = [values[start : start + half] for start in range(0, len(values), half)]
    bounds = list(values[half::half])
    half = FAN // 2
    while len(parts) > 1:
        groups = [slice(start, start + half) for start in range(0, len(parts), half)]
        sizes = [_size(part) for part in parts]
        parts = [_Branch(parts[group], bounds[group][: half - 1], sizes[group]) for group in groups]
        bounds = bounds[half - 1 :: half]
    return parts[0]
