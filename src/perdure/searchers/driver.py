"""What the loop talks to when it wants a configuration: one face for random search and for any Searcher.

It counts what was suggested, merges suggestions with the constants of the space, and brings a searcher back after a
restore: from what it saved, and by telling it again what has happened since.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from perdure.arguments import check_methods
from perdure.errors import ConfigurationError
from perdure.searchers.base import Result, Searcher
from perdure.searchers.basic_variant import BasicVariantGenerator
from perdure.searchers.registry import create_searcher
from perdure.searchers.searcher_source import SearcherSource, layers
from perdure.searchers.suggestions import (
    FINISHED,
    WAIT,
    NoSuggestion,
    Past,
    PastCompletion,
    PastContinuation,
    PastMove,
    PastResult,
    PastSuggestion,
    Source,
    Suggestion,
)
from perdure.searchers.variant_source import VariantSource

__all__ = [
    "FINISHED",
    "WAIT",
    "NoSuggestion",
    "Past",
    "PastCompletion",
    "PastContinuation",
    "PastMove",
    "PastResult",
    "PastSuggestion",
    "SearchDriver",
    "Suggestion",
]


def check_search(search_alg: object, param_space: Mapping[str, Any]) -> None:
    """Refuse what can be seen to be wrong with a search before anything of it begins. Changes nothing.

    Args:
        search_alg: As in TuneConfig.
        param_space: What is searched.

    Raises:
        ConfigurationError: there is no such searcher, the space cannot be used with it, or a point to evaluate is none
            of it.
        ModuleNotFoundError: the searcher's library is not installed.
    """
    source = _checked(create_searcher(search_alg) if isinstance(search_alg, str) else search_alg)
    if isinstance(source, BasicVariantGenerator):
        source.check_points_to_evaluate(param_space)
    else:
        *_, base = layers(source)
        base.check_points_to_evaluate(dict(param_space))


def _checked(search_alg: object) -> Searcher | BasicVariantGenerator:
    if search_alg is None:
        return BasicVariantGenerator()
    if isinstance(search_alg, Searcher):
        check_methods(search_alg, Searcher, "suggest", "on_trial_complete")
        return search_alg
    if isinstance(search_alg, BasicVariantGenerator):
        return search_alg
    raise ConfigurationError(
        f"search_alg must be a Searcher or a BasicVariantGenerator, not {search_alg!r}. "
        "Use the base class perdure.tune.search.Searcher for one of your own."
    )


class SearchDriver:
    """Suggests configurations from a searcher, at most `num_samples` of them.

    Args:
        searcher: None is random and grid search.
        param_space: What is searched.
        num_samples: How often (for random and grid search: with every combination of the grids); -1 for ever.
        metric: Of TuneConfig.
        mode: Of TuneConfig.
        seed: Makes the search reproducible, unless it was made with a seed of its own; a Searcher finds it in `spec`.
            A restore must be given the seed of the first run.

    Raises:
        ConfigurationError: the space cannot be used, or not with this searcher; or the searcher lacks a method.
    """

    def __init__(
        self,
        searcher: Searcher | BasicVariantGenerator | None,
        *,
        param_space: Mapping[str, Any] | None,
        num_samples: int = 1,
        metric: str | None = None,
        mode: str | None = None,
        seed: int | None = None,
    ) -> None:
        space = {} if param_space is None else param_space
        source = self.searcher = _checked(searcher)
        self._source: Source = (
            VariantSource(source, space, num_samples, seed)
            if isinstance(source, BasicVariantGenerator)
            else SearcherSource(source, space, num_samples, metric, mode, seed)
        )

    @property
    def total(self) -> int | None:
        """How many trials there will be at most; None for no limit."""
        return self._source.total

    @property
    def seed(self) -> int | None:
        """The seed of random search; None for a Searcher, which sees to its own."""
        return self._source.seed

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that the searcher needs in every row."""
        return self._source.metrics

    def next(self, trial_id: str) -> Suggestion | NoSuggestion:
        """Return a configuration for the trial `trial_id`, WAIT or FINISHED.

        Raises:
            ConfigurationError: what was suggested leaves a part of the space open.
            PluginError: the searcher raised; its exception is the cause.
        """
        return self._source.next(trial_id)

    def on_result(self, trial_id: str, result: Result) -> None:
        """A trial has reported a row and goes on."""
        self._source.tell(PastResult(trial=trial_id, result=result))

    def on_complete(self, trial_id: str, result: Result | None, error: bool = False) -> None:
        """A trial has ended for good."""
        self._source.tell(PastCompletion(trial=trial_id, result=result, error=error))

    def on_continue(self, trial_id: str, config: dict[str, Any]) -> None:
        """A trial that had ended goes on.

        The searcher has heard its end, so it hears nothing more of it but, if it can, of how it did in the end: as of
        a point that was evaluated elsewhere.
        """
        self._source.tell(PastContinuation(trial=trial_id, config=config))

    def on_pause(self, trial_id: str) -> None:
        """A trial was paused."""
        self._source.tell(PastMove(trial=trial_id, paused=True))

    def on_unpause(self, trial_id: str) -> None:
        """A trial is about to run, for the first time or again."""
        self._source.tell(PastMove(trial=trial_id, paused=False))

    # --- over a restore ---------------------------------------------------------------------------------------------

    def replay_suggested(self, count: int, live: Iterable[str] = ()) -> None:
        """Go on after `count` trials, of which those named in `live` are unfinished.

        All that random and grid search needs after a restore. For a Searcher, use `restore` and `replay`.
        """
        self._source.replay_suggested(count, live)

    def change_space(self) -> bool:
        """Have the searcher go on in this driver's `param_space`, which is not the one that it began with.

        Call it after `restore` and `replay`. Returns whether it does.
        """
        return self._source.change_space()

    def save(self, directory: str | os.PathLike[str]) -> bool:
        """Write what the searcher knows into `directory`; return False if it cannot save itself.

        Random and grid search has nothing to save.
        """
        return self._source.save(os.fspath(directory))

    def restore(self, directory: str | os.PathLike[str]) -> bool:
        """Take up what `save` wrote; return False if there is nothing.

        Raises:
            PluginError: the searcher could not read its own state.
        """
        return self._source.restore(os.fspath(directory))

    def replay(self, past: Iterable[Past], *, since: int = 0) -> str | None:
        """Tell the searcher what has happened, from the beginning of the experiment, in order.

        What it knew when it was saved is skipped. Call it once after `restore`, whatever that returned.

        Args:
            past: What has happened.
            since: So many of the trials are another searcher's, that was there before it. It is not asked for them
                again.

        Returns:
            None if the searcher knows all of it now; otherwise a sentence for the user on what it does not know.
        """
        return self._source.replay(past, since)
