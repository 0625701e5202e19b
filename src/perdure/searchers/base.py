"""The port to search algorithms, under Ray Tune's names: a subclass written for Ray works as it is."""

from __future__ import annotations

import glob
import os
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from perdure.config import check_mode
from perdure.errors import ConfigurationError
from perdure.journal.values import ADDRESS, encode_config, from_data
from perdure.rows import leaf

Result = dict[str, Any]
"""One reported row."""

OLDER = {
    "reward_attr": "Use metric and mode.",
    "max_concurrent": "Use TuneConfig(max_concurrent_trials=...), or ConcurrencyLimiter(searcher, max_concurrent=...).",
    "use_early_stopped_trials": "Leave it out: a trial that was stopped counts with its last result.",
}
"""What to write in place of arguments that searchers had in older releases of Ray."""
HINTS = {"metric": "OptunaSearch optimises several metrics."}
"""What to say to somebody whose argument is of another kind than a searcher takes."""


class Searcher:
    """Suggests configurations, and learns from how they did.

    A subclass overrides `suggest` and `on_trial_complete`; one that implements `__init__` calls this one's.

    Args:
        metric: The reported metric to optimise, or several of them.
        mode: "min" or "max", or as many as there are metrics ("obs": observed only).

    Raises:
        ConfigurationError: metric and mode do not go together.
    """

    FINISHED = "FINISHED"
    CKPT_FILE_TMPL = "searcher-state-{}.pkl"

    _metric: str | list[str] | None = None  # for a subclass that forgets to call __init__
    _mode: str | list[str] | None = None

    def __init__(self, metric: str | list[str] | None = None, mode: str | list[str] | None = None) -> None:
        self._metric = metric
        self._mode = mode
        if metric and mode:
            _check_objective(metric, mode)

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Take over the metric, the mode and the search space of the experiment.

        Args:
            metric: Of TuneConfig.
            mode: Of TuneConfig.
            config: The `param_space`.
            spec: Further facts of the experiment, `num_samples` among them.

        Returns:
            Whether it did; False where the searcher was made with its own.
        """
        return False

    def change_search_space(self, config: dict[str, Any]) -> bool:
        """Go on with other bounds, because a restore was given another `param_space` (beyond Ray Tune).

        Args:
            config: The new `param_space`.

        Returns:
            Whether it does; by default not, and then the restore is refused.
        """
        return False

    def check_points_to_evaluate(self, config: dict[str, Any]) -> None:
        """Refuse points to evaluate that cannot be suggested, before anything is written (beyond Ray Tune).

        By default nothing is looked at. It changes nothing: `set_search_properties` is still to come.

        Args:
            config: The `param_space`.

        Raises:
            ConfigurationError: a point has a name that the space has not, or a value outside its domain; or the space
                cannot be searched at all.
        """

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return a configuration for a new trial, None for "not now", or `Searcher.FINISHED` for "no more"."""
        raise NotImplementedError

    def on_trial_result(self, trial_id: str, result: Result) -> None:
        """A trial has reported a row and goes on. The row may lack the metric, or hold NaN."""

    def on_trial_complete(self, trial_id: str, result: Result | None = None, error: bool = False) -> None:
        """A trial is over.

        Args:
            trial_id: The one that `suggest` was called with.
            result: Its last row; None if there is none, or after an error.
            error: Whether it ended in ERROR.
        """
        raise NotImplementedError

    def replay_suggestion(self, trial_id: str, config: dict[str, Any]) -> bool:
        """Remember, after a restore, that `config` was suggested for `trial_id` before it (beyond Ray Tune).

        By default `suggest` is called again. What follows from what a searcher was asked and told so far, and from a
        seed, is then suggested again, and leaves it as it was. An answer that is another is told to have failed.

        Args:
            trial_id: The one that `suggest` was called with then.
            config: The trial's whole configuration, the constants of the space included. Numbers of NumPy's are plain
                ones in it, and instead of an object there is its repr.

        Returns:
            Whether it did. If so, the results and the end of that trial are told again, as they were then.
        """
        answer = self.suggest(trial_id)
        if not isinstance(answer, Mapping):
            return False
        if _is_part(from_data(encode_config(answer)[0]), config):
            return True
        self.on_trial_complete(trial_id, error=True)
        return False

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: float,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        """Learn from a configuration that was evaluated elsewhere."""
        raise NotImplementedError

    def add_evaluated_trials(self, trials_or_analysis: Any, metric: str) -> None:
        """Learn from finished trials.

        Args:
            trials_or_analysis: A trial, a `Result`, a list of them, a `ResultGrid` or an `ExperimentAnalysis`.
            metric: Which of their metrics; what lacks it is left out.

        Raises:
            NotImplementedError: this searcher has no `add_evaluated_point`.
        """
        if type(self).add_evaluated_point is Searcher.add_evaluated_point:
            raise NotImplementedError(f"{type(self).__name__} cannot learn from points evaluated elsewhere")
        for trial in _trials(trials_or_analysis):
            if hasattr(trial, "last_result"):
                row, failed = trial.last_result or {}, trial.status == "ERROR"
                pruned = trial.status == "TERMINATED" and not row.get("done", False)
            else:
                row, failed, pruned = trial.metrics or {}, trial.error is not None, False
            value = leaf(row, metric)
            if value is not None:
                self.add_evaluated_point(parameters=trial.config, value=value, error=failed, pruned=pruned)

    def save(self, checkpoint_path: str) -> None:
        """Write all that the searcher knows to the file `checkpoint_path`."""
        raise NotImplementedError

    def restore(self, checkpoint_path: str) -> None:
        """Take up all that `save` wrote to `checkpoint_path`."""
        raise NotImplementedError

    def get_state(self) -> dict[str, Any]:
        """Return what `set_state` takes up again. Used for searchers that wrap others."""
        raise NotImplementedError

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_state` returned."""
        raise NotImplementedError

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Save to a file in `checkpoint_dir` that `restore_from_dir` finds; it is whole or not there.

        Raises:
            NotImplementedError: the searcher has no `save`.
        """
        name = self.CKPT_FILE_TMPL.format(session_str)
        staged = os.path.join(checkpoint_dir, f".{uuid.uuid4().hex}-{name}")
        self.save(staged)
        if os.path.exists(staged):
            os.replace(staged, os.path.join(checkpoint_dir, name))

    def restore_from_dir(self, checkpoint_dir: str) -> None:
        """Restore from the newest file that `save_to_dir` left in `checkpoint_dir`.

        Raises:
            RuntimeError: there is none.
        """
        found = glob.glob(os.path.join(glob.escape(checkpoint_dir), self.CKPT_FILE_TMPL.format("*")))
        if not found:
            raise RuntimeError(f"No saved state of {type(self).__name__} in {checkpoint_dir}.")
        self.restore(max(found, key=os.path.getmtime))

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Limit how many trials are unfinished at a time; return whether this searcher sees to it by itself."""
        return False

    @property
    def metric(self) -> Any:
        """The metric that is optimised, or several."""
        return self._metric

    @property
    def mode(self) -> Any:
        """Whether it is minimised or maximised, or one mode for each metric."""
        return self._mode


def _is_part(suggested: object, config: object) -> bool:
    """Whether a configuration is what was suggested, and whatever the space adds to it."""
    if isinstance(suggested, dict) and isinstance(config, dict):
        return all(key in config and _is_part(value, config[key]) for key, value in suggested.items())
    same, other = (ADDRESS.sub("", repr(value)) for value in (suggested, config))  # NaN is NaN, and 1 not True
    return same == other


def _check_objective(metric: str | list[str], mode: str | list[str]) -> None:
    if isinstance(metric, str) and isinstance(mode, str):
        check_mode(mode)
        return
    if isinstance(metric, str) or isinstance(mode, str) or len(metric) != len(mode):
        raise ConfigurationError(f"metric={metric!r} and mode={mode!r}: give one mode for each metric.")
    for one in mode:
        if one != "obs":
            check_mode(one)


def _trials(trials_or_analysis: Any) -> Iterable[Any]:
    if hasattr(trials_or_analysis, "last_result") or hasattr(trials_or_analysis, "metrics_dataframe"):
        return [trials_or_analysis]
    return getattr(trials_or_analysis, "trials", trials_or_analysis)  # type: ignore[no-any-return]
