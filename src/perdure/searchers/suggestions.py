"""What a search answers, and what it is told: the vocabulary between the loop and whatever searches."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable
from typing import Any, Final, Union

from perdure.searchers.base import Result


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PastSuggestion:
    """A trial was created with this configuration."""

    trial: str
    config: dict[str, Any]
    """Its whole configuration: what was suggested, and the constants of the space."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PastResult:
    """A trial reported a row and went on."""

    trial: str
    result: Result


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PastCompletion:
    """A trial ended for good."""

    trial: str
    result: Result | None
    error: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PastContinuation:
    """A trial that had ended goes on, because a restore said so."""

    trial: str
    config: dict[str, Any]
    """Its whole configuration."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PastMove:
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

    def replay(self, past: Iterable[Past]) -> str | None:
        """See `SearchDriver.replay`."""
        raise NotImplementedError
