"""A searcher around another one that has each of its configurations evaluated several times."""

from __future__ import annotations

import math
from typing import Any

from perdure.arguments import named_arguments
from perdure.errors import ConfigurationError
from perdure.rows import leaf
from perdure.search_space.space import plain_copy
from perdure.searchers.base import Result, Searcher
from perdure.searchers.properties import set_properties

TRIAL_INDEX = "__trial_index__"
"""Key under which a repeated trial finds its number in the group in its config, for use as a seed."""


@named_arguments()
class Repeater(Searcher):
    """Repeats each configuration of a searcher, and tells it the mean of the results.

    The searcher hears of the first trial of each group only. `num_samples` counts all trials; make it a multiple of
    `repeat`, for a group that is never complete is never told.

    Args:
        searcher: The searcher.
        repeat: Trials per configuration.
        set_index: Put the number of the trial in its group into its config, as `__trial_index__`.

    Raises:
        ConfigurationError: `repeat` is no integer above 0.
    """

    def __init__(self, searcher: Searcher, repeat: int = 1, set_index: bool = True) -> None:
        if not repeat >= 1:
            raise ConfigurationError(f"Repeater(repeat={repeat!r}): use 1 or more.")
        super().__init__(metric=searcher.metric, mode=searcher.mode)
        self.searcher = searcher
        self.repeat = repeat
        self.set_index = set_index
        self._groups: dict[str, dict[str, float | None]] = {}  # first trial -> trial -> score, until the group is told
        self._group_of: dict[str, str] = {}
        self._open: str | None = None
        self._config: dict[str, Any] = {}

    @property
    def metric(self) -> Any:
        """The metric that the searcher optimises."""
        return self.searcher.metric

    @property
    def mode(self) -> Any:
        """The mode of the searcher."""
        return self.searcher.mode

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Hand everything to the searcher."""
        return set_properties(self.searcher, metric, mode, config, **spec)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Repeat the configuration of the group that is not full, or ask the searcher for another."""
        if self._open is None:
            suggestion = self.searcher.suggest(trial_id)
            if not isinstance(suggestion, dict):
                return suggestion
            self._open, self._config = trial_id, suggestion
            self._groups[trial_id] = {}
        group = self._groups[self._open]
        config: dict[str, Any] = plain_copy(self._config)
        if self.set_index:
            config[TRIAL_INDEX] = len(group)
        group[trial_id] = None
        self._group_of[trial_id] = self._open
        if len(group) == self.repeat:
            self._open, self._config = None, {}
        return config

    def replay_suggestion(self, trial_id: str, config: dict[str, Any]) -> bool:
        """Count the trial to its group; the searcher is reminded of the first of each."""
        if self._open is None:
            alone = {key: value for key, value in config.items() if key != TRIAL_INDEX or not self.set_index}
            if not self.searcher.replay_suggestion(trial_id, alone):
                return False
            self._open, self._config = trial_id, alone
            self._groups[trial_id] = {}
        group = self._groups[self._open]
        group[trial_id] = None
        self._group_of[trial_id] = self._open
        if len(group) == self.repeat:
            self._open, self._config = None, {}
        return True

    def on_trial_complete(self, trial_id: str, result: Result | None = None, error: bool = False) -> None:
        """Take note of the score; with the last of its group, tell the searcher their mean.

        Trials that failed, or have no score, are left out of it; the searcher hears of an error if that is all of them.
        """
        first = self._group_of.get(trial_id)
        if first is None:
            return
        group = self._groups[first]
        score = leaf(result or {}, self.searcher.metric)
        group[trial_id] = math.nan if score is None else float(score)
        scores = [value for value in group.values() if value is not None]
        if len(scores) < self.repeat:
            return
        for trial in self._groups.pop(first):
            del self._group_of[trial]
        known = [value for value in scores if not math.isnan(value)]
        mean = sum(known) / len(known) if known else math.nan
        self.searcher.on_trial_complete(first, result={self.searcher.metric: mean}, error=error and not known)

    def get_state(self) -> dict[str, Any]:
        """Return the groups that are not told yet; not the searcher's own state."""
        return {"groups": self._groups, "open": self._open, "config": self._config}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_state` returned."""
        self._groups = {first: dict(group) for first, group in state["groups"].items()}
        self._group_of = {trial: first for first, group in self._groups.items() for trial in group}
        self._open, self._config = state["open"], dict(state["config"])

    def save(self, checkpoint_path: str) -> None:
        """Save the searcher; see `get_state` for the rest."""
        self.searcher.save(checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """Restore the searcher."""
        self.searcher.restore(checkpoint_path)
