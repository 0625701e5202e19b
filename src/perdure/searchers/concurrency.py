"""A searcher around another one that lets only so many of its trials be unfinished at a time."""

from __future__ import annotations

from typing import Any

from perdure.arguments import a_kind, named_arguments
from perdure.errors import ConfigurationError
from perdure.searchers.base import Result, Searcher
from perdure.searchers.properties import set_properties


@named_arguments()
class ConcurrencyLimiter(Searcher):
    """Limits how many trials of a searcher are unfinished at a time.

    Args:
        searcher: The searcher; one that can limit itself is told to, and does.
        max_concurrent: How many.
        batch: The searcher hears of results only when all trials of a batch are over.

    Raises:
        ConfigurationError: `max_concurrent` is no integer above 0, or `searcher` no Searcher.
    """

    def __init__(self, searcher: Searcher, max_concurrent: int, batch: bool = False) -> None:
        if not max_concurrent >= 1:
            raise ConfigurationError(f"ConcurrencyLimiter(max_concurrent={max_concurrent!r}): use 1 or more.")
        if not isinstance(searcher, Searcher):
            raise ConfigurationError(
                f"ConcurrencyLimiter limits a Searcher, not {a_kind(searcher)}. For random and grid search, "
                "use BasicVariantGenerator(max_concurrent=...)."
            )
        super().__init__(metric=searcher.metric, mode=searcher.mode)
        self.searcher = searcher
        self.max_concurrent = max_concurrent
        self.batch = batch
        self.live_trials: set[str] = set()
        self.cached_results: dict[str, tuple[Result | None, bool]] = {}
        self._limits = not searcher.set_max_concurrency(max_concurrent)

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
        self._limits = not self.searcher.set_max_concurrency(self.max_concurrent)
        return set_properties(self.searcher, metric, mode, config, **spec)

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Change the limit."""
        self.max_concurrent = max_concurrent
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Ask the searcher, unless there are enough unfinished trials."""
        if self._limits and len(self.live_trials) >= self.max_concurrent:
            return None
        suggestion = self.searcher.suggest(trial_id)
        if isinstance(suggestion, dict):
            self.live_trials.add(trial_id)
        return suggestion

    def replay_suggestion(self, trial_id: str, config: dict[str, Any]) -> bool:
        """Hand it on, and count the trial as unfinished if it is remembered: otherwise nobody hears of its end."""
        remembered = self.searcher.replay_suggestion(trial_id, config)
        if remembered:
            self.live_trials.add(trial_id)
        return remembered

    def on_trial_result(self, trial_id: str, result: Result) -> None:
        """Hand it on."""
        self.searcher.on_trial_result(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: Result | None = None, error: bool = False) -> None:
        """Hand it on: at once, or with the last trial of its batch."""
        if trial_id not in self.live_trials:
            return
        if not (self.batch and self._limits):
            self.live_trials.remove(trial_id)
            self.searcher.on_trial_complete(trial_id, result=result, error=error)
            return
        self.cached_results[trial_id] = (result, error)
        if len(self.cached_results) == len(self.live_trials):
            batch, self.cached_results, self.live_trials = self.cached_results, {}, set()
            for trial, (last, failed) in batch.items():
                self.searcher.on_trial_complete(trial, result=last, error=failed)

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: float,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        """Hand it on."""
        self.searcher.add_evaluated_point(parameters, value, error, pruned, intermediate_values)

    def on_pause(self, trial_id: str) -> None:
        """Hand it on, if the searcher wants to know (BOHB)."""
        self._hand_on("on_pause", trial_id)

    def on_unpause(self, trial_id: str) -> None:
        """Hand it on, if the searcher wants to know (BOHB)."""
        self._hand_on("on_unpause", trial_id)

    def _hand_on(self, method: str, trial_id: str) -> None:
        call = getattr(self.searcher, method, None)
        if call is not None:
            call(trial_id)

    def get_state(self) -> dict[str, Any]:
        """Return which trials are unfinished, and the results held back; not the searcher's own state."""
        held = {trial: list(outcome) for trial, outcome in self.cached_results.items()}
        return {"live_trials": sorted(self.live_trials), "cached_results": held}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_state` returned."""
        self.live_trials = set(state["live_trials"])
        self.cached_results = {trial: (result, error) for trial, (result, error) in state["cached_results"].items()}

    def save(self, checkpoint_path: str) -> None:
        """Save the searcher; see `get_state` for the rest."""
        self.searcher.save(checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """Restore the searcher."""
        self.searcher.restore(checkpoint_path)
