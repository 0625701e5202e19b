"""Any Searcher behind the driver's face: called, checked, and brought back after a restore."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from perdure.arguments import a_kind
from perdure.errors import ConfigurationError, PerdureError, PluginError
from perdure.rows import leaf
from perdure.search_space.paths import flatten, path_text
from perdure.search_space.space import merged, plain_copy, unresolved
from perdure.searchers.base import Searcher
from perdure.searchers.properties import set_properties
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

log = logging.getLogger(__name__)

STATE_FILE = "search.json"
WRAPPERS_FILE = "search-wrappers.pkl"
SESSION = "perdure"


class SearcherSource(Source):
    """A Searcher: called, checked, and brought back from its own file."""

    def __init__(
        self,
        searcher: Searcher,
        space: Mapping[str, Any],
        num_samples: int,
        metric: str | None,
        mode: str | None,
        seed: int | None = None,
    ) -> None:
        if not isinstance(space, Mapping):
            raise ConfigurationError(f"param_space must be a dict, not {a_kind(space)}: {space!r}.")
        self._searcher = searcher
        self._name = type(searcher).__name__
        self._space = dict(space)
        self.total = None if num_samples == -1 else num_samples
        self._count = 0
        self._told = 0
        self._finished = False
        self._strangers: dict[str, dict[str, Any]] = {}
        """Configurations of unfinished trials that the searcher has forgotten over a restore, or whose end it has heard
        already: it must not hear of these as of its own."""
        self._continued: set[str] = set()
        """Those of them whose end it has heard: it misses nothing of these."""
        self._lost = 0
        self._hand_over(metric, mode, num_samples=num_samples, seed=seed)

    @property
    def metrics(self) -> tuple[str, ...]:
        metric = self._searcher.metric
        if not metric:
            return ()
        return (metric,) if isinstance(metric, str) else tuple(metric)

    def next(self, trial_id: str) -> Suggestion | NoSuggestion:
        if self._finished or (self.total is not None and self._count >= self.total):
            return FINISHED
        answer = self._call("suggest", lambda: self._searcher.suggest(trial_id))
        if answer is None:
            return WAIT
        if isinstance(answer, str) and answer == Searcher.FINISHED:
            self._finished = True
            return FINISHED
        if not isinstance(answer, Mapping):
            raise PluginError(
                f"{self._name}.suggest({trial_id!r}) returned {answer!r} of type {type(answer).__name__}. "
                "It must return a dict, None (not now) or Searcher.FINISHED."
            )
        suggestion = self._complete(dict(answer))
        self._count += 1
        self._told += 1
        return suggestion

    def tell(self, past: Past) -> None:
        trial = past.trial
        if isinstance(past, PastMove):  # not counted: no state of the searcher's is lost or taken twice by it
            self._tell_of_move(past)
            return
        self._told += 1
        if isinstance(past, PastContinuation):
            self._strangers[trial] = past.config
            self._continued.add(trial)
        elif trial in self._strangers:
            if isinstance(past, PastCompletion):
                heard = self._add_point(self._strangers.pop(trial), past) or trial in self._continued
                self._continued.discard(trial)
                self._lost += not heard
        elif isinstance(past, PastResult):
            row = past.result
            self._call("on_trial_result", lambda: self._searcher.on_trial_result(trial, row))
        elif isinstance(past, PastCompletion):
            last, error = past.result, past.error
            self._call("on_trial_complete", lambda: self._searcher.on_trial_complete(trial, result=last, error=error))

    def _tell_of_move(self, past: PastMove) -> None:
        method = "on_pause" if past.paused else "on_unpause"
        call = getattr(self._searcher, method, None)
        if call is not None and past.trial not in self._strangers:
            self._call(method, lambda: call(past.trial))

    # --- suggestions ------------------------------------------------------------------------------------------------

    def _hand_over(self, metric: str | None, mode: str | None, **spec: Any) -> None:
        if self._call(
            "set_search_properties",
            lambda: set_properties(self._searcher, metric, mode, _plain_dict(self._space), **spec),
        ):
            return
        searched = [path_text(path) for path, _ in unresolved(self._space)]
        if searched:
            raise ConfigurationError(
                f"{self._name} did not take the search space of Tuner(param_space=...), because it was made with a "
                f"space of its own or cannot take one; but param_space leaves open: {', '.join(searched)}. "
                "Put these into the searcher's own space, or make the searcher without one."
            )

    def _complete(self, suggested: dict[str, Any]) -> Suggestion:
        """Merge the constants in; whatever the space leaves open must be in the suggestion."""
        config = merged(self._space, suggested)
        open_paths = list(unresolved(config))
        if open_paths:
            raise ConfigurationError(self._what_is_open(open_paths))
        return Suggestion(config=_plain_dict(config), searched=_plain_dict(flatten(suggested)))

    def _what_is_open(self, open_paths: list[Any]) -> str:
        names = ", ".join(repr(path_text(path)) for path, _ in open_paths)
        special = [domain for _, domain in open_paths if domain.is_grid() or domain.is_function()]
        why = (
            "grid_search and sample_from are for random and grid search (BasicVariantGenerator); with a searcher, use "
            "choice() and the like, or compute the value in the trainable."
            if special
            else "It must suggest a value for everything that param_space leaves open."
        )
        return f"{self._name} suggested no value for {names}. {why}"

    def _call(self, method: str, call: Any) -> Any:
        try:
            return call()
        except PerdureError:
            raise
        except Exception as error:
            raise PluginError(
                f"{self._name}.{method} raised {type(error).__name__}: {error}. The search cannot go on without it; "
                "what was reported so far is kept, and the experiment can be restored."
            ) from error

    def change_space(self) -> bool:
        *_, base = layers(self._searcher)
        return bool(self._call("change_search_space", lambda: base.change_search_space(_plain_dict(self._space))))

    # --- over a restore ---------------------------------------------------------------------------------------------

    def replay_suggested(self, count: int, live: Iterable[str]) -> None:
        self._count = count

    def save(self, directory: str) -> bool:
        *wrappers, base = layers(self._searcher)
        try:
            self._call_save(base, directory)
            states = [wrapper.get_state() for wrapper in wrappers]
        except NotImplementedError:
            return False
        if states:
            import cloudpickle

            with open(os.path.join(directory, WRAPPERS_FILE), "wb") as file:
                cloudpickle.dump(states, file)
        state = {
            "suggested": self._count,
            "told": self._told,
            "finished": self._finished,
            "strangers": list(self._strangers),
            "continued": list(self._continued),
        }
        with open(os.path.join(directory, STATE_FILE), "w", encoding="utf-8") as file:
            json.dump(state, file)
        return True

    def _call_save(self, base: Searcher, directory: str) -> None:
        try:
            base.save_to_dir(directory, session_str=SESSION)
        except (NotImplementedError, OSError, PerdureError):
            raise
        except Exception as error:
            raise PluginError(f"{type(base).__name__}.save raised {type(error).__name__}: {error}.") from error

    def restore(self, directory: str) -> bool:
        try:
            with open(os.path.join(directory, STATE_FILE), encoding="utf-8") as file:
                state = json.load(file)
        except FileNotFoundError:
            return False
        *wrappers, base = layers(self._searcher)
        try:
            self._call("restore_from_dir", lambda: base.restore_from_dir(directory))
        except PluginError as error:
            if not isinstance(error.__cause__, NotImplementedError):
                raise
            log.warning("%s is told all trials again: %s.", type(base).__name__, error.__cause__)
            return False
        if wrappers:
            import pickle

            with open(os.path.join(directory, WRAPPERS_FILE), "rb") as file:
                states = pickle.load(file)
            for wrapper, wrapped in zip(wrappers, states, strict=True):
                wrapper.set_state(wrapped)
        self._count, self._told, self._finished = state["suggested"], state["told"], state["finished"]
        self._strangers = {trial: {} for trial in state["strangers"]}
        self._continued = set(state.get("continued", ()))
        return True

    def replay(self, past: Iterable[Past], since: int) -> str | None:
        known, self._told, self._count = self._told, 0, 0
        *_, base = layers(self._searcher)
        asks_again = type(base).replay_suggestion is Searcher.replay_suggestion
        others = since if asks_again else 0  # a library takes those of others, too
        for one in past:
            is_known = self._told < known
            if isinstance(one, PastMove) and is_known:
                continue
            if isinstance(one, PastSuggestion):
                self._count += 1
                self._told += 1
                foreign = one.trial in self._strangers or (self._count <= others and not is_known)
                if foreign or not (is_known or self._remind(one)):
                    self._strangers[one.trial] = one.config
            elif is_known:
                self._told += 1
                if isinstance(one, PastContinuation) and one.trial in self._strangers:
                    self._strangers[one.trial] = one.config
            else:
                self.tell(one)
        return self._what_is_lost(self._lost + len(self._strangers.keys() - self._continued))

    def _remind(self, past: PastSuggestion) -> bool:
        def remind() -> bool:
            return bool(self._searcher.replay_suggestion(past.trial, plain_copy(past.config)))

        return bool(self._call("replay_suggestion", remind))

    def _add_point(self, config: dict[str, Any], past: PastCompletion) -> bool:
        """Tell of a finished trial as of a point that somebody else evaluated, if the searcher can hear of these."""
        *_, base = layers(self._searcher)
        metric = base.metric
        value = leaf(past.result or {}, metric) if isinstance(metric, str) else None
        if value is None or type(base).add_evaluated_point is Searcher.add_evaluated_point:
            return False
        self._call("add_evaluated_point", lambda: base.add_evaluated_point(plain_copy(config), value))
        return True

    def _what_is_lost(self, count: int) -> str | None:
        if not count:
            return None
        return (
            f"{self._name} does not know of {count} trials from before this restore: they are another searcher's, or, "
            "asked for them again, it suggested something else, because that does not follow from a seed and from what "
            "it was told. It goes on without them; their results are kept."
        )


def layers(searcher: Searcher) -> Iterator[Searcher]:
    """Yield a searcher that wraps others (ConcurrencyLimiter, Repeater), then the one it wraps, and so on."""
    while True:
        yield searcher
        inner = getattr(searcher, "searcher", None)
        if not isinstance(inner, Searcher):
            return
        searcher = inner


def _plain_dict(config: Mapping[str, Any]) -> dict[str, Any]:
    copied = plain_copy(dict(config))
    assert isinstance(copied, dict)
    return copied
