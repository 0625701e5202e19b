"""Random and grid search behind the driver's face."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from perdure.searchers.basic_variant import BasicVariantGenerator
from perdure.searchers.suggestions import (
    FINISHED,
    WAIT,
    NoSuggestion,
    Past,
    PastCompletion,
    PastContinuation,
    PastSuggestion,
    Source,
    Suggestion,
)


class VariantSource(Source):
    """Random and grid search: its state is a count, and which trials are unfinished if their number is limited."""

    def __init__(
        self, generator: BasicVariantGenerator, space: Mapping[str, Any], num_samples: int, seed: int | None
    ) -> None:
        self._variants = generator.variants(space, num_samples, seed)
        self._limit = max(0, generator.max_concurrent)
        self._count = 0
        self._live: set[str] = set()
        self.total = self._variants.total
        self.seed = self._variants.seed

    def next(self, trial_id: str) -> Suggestion | NoSuggestion:
        if self.total is not None and self._count >= self.total:
            return FINISHED
        if self._limit and len(self._live) >= self._limit:
            return WAIT
        variant = self._variants[self._count]
        self._began(trial_id)
        return Suggestion(config=variant.config, searched=variant.searched)

    def _began(self, trial_id: str) -> None:
        self._count += 1
        if self._limit:
            self._live.add(trial_id)

    def tell(self, past: Past) -> None:
        if isinstance(past, PastCompletion):
            self._live.discard(past.trial)
        elif isinstance(past, PastContinuation) and self._limit:
            self._live.add(past.trial)

    def change_space(self) -> bool:
        return True

    def replay_suggested(self, count: int, live: Iterable[str]) -> None:
        self._count = count
        self._live = set(live) if self._limit else set()

    def save(self, directory: str) -> bool:
        return True

    def restore(self, directory: str) -> bool:
        return True

    def replay(self, past: Iterable[Past], since: int) -> str | None:
        for one in past:
            if isinstance(one, PastSuggestion):
                self._began(one.trial)
            else:
                self.tell(one)
        return None
