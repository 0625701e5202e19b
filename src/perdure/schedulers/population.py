"""The ranking of a population, kept in order as scores come and go."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

from perdure.schedulers.sorted_values import SortedValues


class Ranking:
    """Members by score, the worst first; of equal scores the one that was added to the experiment first.

    All but a walk takes O(log n), where n scores have come. Members without a score, or with NaN, are not ranked.
    """

    def __init__(self) -> None:
        self._ranked: SortedValues[tuple[float, int, str]] = SortedValues([])
        self._places: dict[str, tuple[float, int, str]] = {}

    def __len__(self) -> int:
        return len(self._ranked)

    def __iter__(self) -> Iterator[str]:
        """The members, the worst first."""
        return (member for _, _, member in self._ranked)

    def __contains__(self, member: object) -> bool:
        return member in self._places

    def first(self) -> str | None:
        """Return the worst member; None if there is none."""
        return self._ranked[0][2] if self._ranked else None

    def best(self, index: int) -> str:
        """Return the best member but `index`."""
        return self._ranked[-1 - index][2]

    def put(self, member: str, score: float | None, number: int) -> None:
        """Give a member another score; None takes it out."""
        self.drop(member)
        if score is not None and not math.isnan(score):
            place = self._places[member] = (score, number, member)
            self._ranked.add(place)

    def drop(self, member: str) -> None:
        """Take a member out."""
        place = self._places.pop(member, None)
        if place is not None:
            del self._ranked[self._ranked.bisect_left(place)]

    def quantile(self, fraction: float) -> int:
        """Return how many members `fraction` is: at least one if it is above 0, at most half of them."""
        count = len(self._ranked)
        return 0 if count < 2 else min(math.ceil(count * fraction), count // 2)

    def is_low(self, member: str, fraction: float) -> bool:
        """Whether the member is in the lower quantile."""
        place = self._places.get(member)
        return place is not None and place < self._ranked[self.quantile(fraction)]

    def is_high(self, member: str, fraction: float) -> bool:
        """Whether the member is in the upper quantile."""
        place, count = self._places.get(member), self.quantile(fraction)
        return place is not None and count > 0 and place >= self._ranked[len(self._ranked) - count]

    def low(self, fraction: float) -> Iterator[str]:
        """Yield the lower quantile, the worst first."""
        return islice(self, self.quantile(fraction))
