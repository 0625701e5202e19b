"""What a search answers, and what it is told: the vocabulary between the loop and whatever searches."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any, Final, Union

import msgspec

from perdure.searchers.base import Result


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration for a new trial."""

    config: dict[str, Any]
    """Plain values, shared with nothing."""
    searched: dict[str, Any]
    """What was searched of it, flat, under "/"-joined keys."""


class NoSuggestion(enum.Enum):
    """Why there is no configuration."""

    WAIT = "wait"  # not now: ask again when a trial has ended, or after a while
    FINISHED = "finished"  # never again


WAIT: Final = NoSuggestion.WAIT
FINISHED: Final = NoSuggestion.FINISHED


class PastSuggestion(msgspec.Struct, frozen=True, kw_only=True):
    """A trial was created with this configuration."""

    trial: str
    config: dict[str, Any]
    """Its whole configuration: what was suggested, and the constants of the space."""


class PastResult(msgspec.Struct, frozen=True, kw_only=True):
    """A trial reported a row and went on."""

    trial: str
    result: Result


class PastCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """A trial ended for good."""

    trial: str
    result: Result | None
    error: bool = False


class PastContinuation(msgspec.Struct, frozen=True, kw_only=True):
    """A trial that had ended goes on, because a restore said so."""

    trial: str
    config: dict[str, Any]
    """Its whole configuration."""


class PastMove(msgspec.Struct, frozen=True, kw_only=True):
    """A trial was paused, or runs (again)."""

    trial: str
    paused: bool


Past = Union[PastSuggestion, PastResult, PastCompletion, PastContinuation, PastMove]


class Source:
    """What is behind a driver: random search or a Searcher."""

    total: int | None = None
    seed: int | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that are needed in every row."""
        return ()

    def next(self, trial_id: str) -> Suggestion | NoSuggestion:
        """Return a configuration, or why there is none."""
        raise NotImplementedError

    def tell(self, past: Past) -> None:
        """A trial has reported, has ended, or goes on."""
        raise NotImplementedError

    def change_space(self) -> bool:
        """See `SearchDriver.change_space`."""
        raise NotImplementedError

    def replay_suggested(self, count: int, live: Iterable[str]) -> None:
        """Go on after `count` trials."""
        raise NotImplementedError

    def save(self, directory: str) -> bool:
        """See `SearchDriver.save`."""
        raise NotImplementedError

    def restore(self, directory: str) -> bool:
        """See `SearchDriver.restore`."""
        raise NotImplementedError

    def replay(self, past: Iterable[Past], since: int) -> str | None:
        """See `SearchDriver.replay`."""
        raise NotImplementedError
