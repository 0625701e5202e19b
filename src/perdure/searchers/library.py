"""What all searchers have in common whose optimiser comes from another library.

An adapter says how the library is asked and told; everything else is here: the space, points to evaluate, metrics and
modes, NaN, errors, and going on after a restore. Every answer of a library must follow from the seed and from what it
was asked and told before, in that order. So a restore brings back exactly what was: the library's state as it was
saved, and then the same questions and answers again, as they stand in the journal
(docs/design/010-library-searchers.md).
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from perdure.arguments import a_kind
from perdure.config import check_mode
from perdure.errors import ConfigurationError
from perdure.rows import leaf
from perdure.search_space.domains import Domain
from perdure.search_space.parameters import Parameter, ParameterSpace
from perdure.search_space.paths import flatten
from perdure.search_space.presets import nested, other_constants, trying
from perdure.search_space.randomness import keyed_random, seeded_globals
from perdure.search_space.space import merged, unresolved
from perdure.searchers.base import Result, Searcher

log = logging.getLogger(__name__)

Raws = dict[str, Any]
"""What the library suggests for each parameter, by name."""
Objectives = tuple[float, ...]
"""The values of the metrics, as reported; all of them finite."""


THEIRS = Domain()
"""Stands for a domain in the library's own terms."""


class SearchedSpace(Protocol):
    """How the library's parameters make a configuration, and back."""

    @property
    def tree(self) -> Any:
        """What a point may name, with a domain where there is one; None where that is not known beforehand."""

    def build(self, raws: Mapping[str, Any]) -> dict[str, Any]:
        """Return the searched part of a configuration."""

    def read(self, config: Any, like: Mapping[str, Any] | None = None, *, partial: bool = False) -> Raws:
        """Return the parameters of a configuration; ConfigurationError where one is missing or out of bounds."""

    def complete(self, raws: Mapping[str, Any], draw: Any) -> Raws:
        """Return `raws` with a value for every parameter; ConfigurationError where that cannot be."""

    def signature(self) -> object:
        """Return what must be the same for the library's saved state to be of use."""


class NativeSpace:
    """A space in the library's own terms: the parameters are the values, under "/"-joined names.

    Args:
        names: All parameters; None where the library does not know them beforehand.
    """

    def __init__(self, names: Sequence[str] | None) -> None:
        self.names = names

    @property
    def tree(self) -> Any:
        """The names in nested dicts."""
        return None if self.names is None else self.build(dict.fromkeys(self.names, THEIRS))

    def build(self, raws: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values in nested dicts."""
        config: dict[str, Any] = {}
        for name, value in raws.items():
            *parents, key = name.split("/")
            node = config
            for parent in parents:
                node = node.setdefault(parent, {})
            node[key] = value
        return config

    def read(self, config: Any, like: Mapping[str, Any] | None = None, *, partial: bool = False) -> Raws:
        """Return the values by name."""
        flat = flatten(config)
        wanted = list(like or flat) if self.names is None else self.names
        raws = {name: flat[name] for name in wanted if name in flat}
        return raws if partial else self.complete(raws, None)

    def complete(self, raws: Mapping[str, Any], draw: Any) -> Raws:
        """Return `raws`, of which none may be missing."""
        missing = [name for name in self.names or () if name not in raws]
        if missing:
            raise ConfigurationError(f"There is no value for {', '.join(missing)}, which the searcher's space has.")
        return dict(raws)

    def signature(self) -> object:
        """Return the names."""
        return self.names


@dataclasses.dataclass(slots=True, kw_only=True)
class Asked:
    """A configuration that the library knows of, and has heard no result for."""

    raws: Raws
    handle: Any
    """What the library knows it by."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """A configuration that was evaluated elsewhere."""

    config: dict[str, Any]
    value: Any
    """Its metric, or one for each of several."""
    error: bool = False
    pruned: bool = False
    steps: Sequence[float] = ()


class LibrarySearcher(Searcher):
    """A searcher whose optimiser comes from a library.

    An adapter implements `_begin`, `_ask`, `_impose` and `_tell`, and keeps all that changes in `self._memory`, which
    is pickled.

    Args:
        space: The space, as for `Tuner(param_space=...)` or in the library's own terms; None takes the Tuner's.
        metric: What is optimised; None takes TuneConfig's.
        mode: "min" or "max"; None takes TuneConfig's.
        points_to_evaluate: Configurations to try first. What one leaves out is drawn at random.
        seed: Makes the search reproducible; None follows `TuneConfig(seed=...)`.

    Raises:
        ModuleNotFoundError: the library is not installed; the message says how to get it.
    """

    modules: ClassVar[tuple[str, ...]] = ()
    """What must be installed."""
    extra: ClassVar[str] = ""
    """perdure's extra that installs it."""
    restriction: ClassVar[str] = ""
    """On which Pythons it can be installed, and what to use elsewhere, if not on all."""

    def __init__(
        self,
        space: Any = None,
        metric: str | list[str] | None = None,
        mode: str | list[str] | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        seed: int | None = None,
    ) -> None:
        missing = [module for module in self.modules if importlib.util.find_spec(module) is None]
        if missing:
            raise ModuleNotFoundError(
                f"{type(self).__name__} needs {' and '.join(missing)}, which is not installed: "
                f"pip install 'perdure[{self.extra}]'. "
                f"{self.restriction or 'Random search (leave search_alg out) needs nothing.'}",
                name=missing[0],
            )
        super().__init__(metric=metric, mode=mode)
        if isinstance(mode, str):
            check_mode(mode)  # which may come without a metric
        self._given_space = space
        points = () if points_to_evaluate is None else points_to_evaluate  # an array is neither true nor false
        self._points = [_checked_point(point, number) for number, point in enumerate(points)]
        self._seed = seed
        self._num_samples: int | None = None
        self._evaluated: list[Evaluated] = []
        self._left_out: list[str] = []
        """Why, of each that is outside the space, until it is said."""
        self._space: SearchedSpace | None = None if space is None else self._own_space(space)
        self._memory: Any = None
        self._begun = False
        self._live: dict[str, Asked] = {}
        self._count = 0

    # --- what an adapter says ---------------------------------------------------------------------------------------

    def _own_space(self, space: Any) -> SearchedSpace:
        """Return the space that the searcher was made with, which may be in the library's own terms."""
        return self._tree_space(space)

    def _tree_space(self, tree: Any) -> SearchedSpace:
        """Return a space made of perdure's domains.

        Raises:
            ConfigurationError: nothing is searched in it.
        """
        space = _Tree(tree, type(self).__name__)
        if not space.parameters:
            raise ConfigurationError(
                f"{type(self).__name__} has nothing to search: {tree!r} holds no domain, such as uniform(0, 1). "
                "Put one in param_space, or give the searcher a space in a form that its documentation names."
            )
        return space

    def _begin(self) -> None:
        """Import the library, and make what is asked; `self._memory` above all."""
        raise NotImplementedError

    def _ask(self, trial_id: str) -> Asked | str | None:
        """Return a configuration, None for "not now", or `Searcher.FINISHED`."""
        raise NotImplementedError

    def _impose(self, trial_id: str, raws: Raws) -> Asked:
        """Make the library know that this configuration is being evaluated."""
        raise NotImplementedError

    def _tell(self, asked: Asked, objectives: Objectives | None) -> None:
        """Tell the library how a configuration did; None if it failed, or has no finite value."""
        raise NotImplementedError

    def _report(self, asked: Asked, result: Result) -> None:
        """Tell the library of a row of a trial that goes on."""

    def _observe(self, asked: Asked, evaluated: Evaluated, objectives: Objectives | None) -> None:
        """Tell the library of a configuration that was evaluated elsewhere."""
        self._tell(asked, objectives)

    # --- for adapters -----------------------------------------------------------------------------------------------

    @property
    def parameters(self) -> list[Parameter]:
        """The parameters, where the space is made of perdure's domains."""
        assert isinstance(self._space, ParameterSpace)
        return self._space.parameters

    @property
    def draw_seed(self) -> int:
        """A seed of 31 bits that follows from the searcher's and from the number of the suggestion."""
        return keyed_random(self._seed or 0, "draw", self._count).getrandbits(31)

    def loss(self, objectives: Objectives) -> float:
        """Return the only metric so that less is better."""
        return objectives[0] if self._mode == "min" else -objectives[0]

    @property
    def _objectives(self) -> list[tuple[str, str]]:
        """Metric and mode of what is optimised, not only observed."""
        several = isinstance(self._metric, (list, tuple))
        metrics: Any = self._metric if several else [self._metric]
        modes: Any = self._mode if several else [self._mode]
        return [(metric, mode) for metric, mode in zip(metrics, modes, strict=True) if mode != "obs"]

    # --- the port ---------------------------------------------------------------------------------------------------

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Take over what the searcher was not made with.

        Raises:
            ConfigurationError: the searcher is to optimise nothing, or one thing by itself and another by TuneConfig.
        """
        self._check_agreement(metric, mode)
        if self._metric is None:
            self._metric = metric
        if self._mode is None:
            self._mode = mode
        if self._metric is None or self._mode is None:
            raise ConfigurationError(
                f"{type(self).__name__} does not know what to optimise: set metric and mode in TuneConfig(...), or "
                "give them to the searcher."
            )
        if self._seed is None:
            self._seed = spec.get("seed")
        self._num_samples = spec.get("num_samples")
        if self._given_space is not None:
            return not any(True for _ in unresolved(config))
        self._space = self._tree_space(config)
        return True

    def _check_agreement(self, metric: str | None, mode: str | None) -> None:
        """One with a space of its own may optimise something else than what TuneConfig judges trials by, as in Ray."""
        if self._given_space is not None or isinstance(self._metric, (list, tuple)):
            return
        pairs = ((self._metric, metric), (self._mode, mode))
        if any(own is not None and asked is not None and own != asked for own, asked in pairs):
            raise ConfigurationError(
                f"TuneConfig(metric={metric!r}, mode={mode!r}) next to {type(self).__name__}(metric={self._metric!r}, "
                f"mode={self._mode!r}): which one is to be optimised? Leave them out in one of the two places."
            )

    def check_points_to_evaluate(self, config: dict[str, Any]) -> None:
        """Refuse names that neither the searcher's space nor `config` has, and values that are out of bounds.

        Where the library does not know its parameters beforehand (define-by-run), nothing can be said.
        """
        space = self._tree_space(config) if self._given_space is None or self._space is None else self._space
        names = space.tree
        if not isinstance(names, Mapping):
            return
        names = merged(config, names)
        for number, point in enumerate(self._points):
            with trying(number, type(self).__name__):
                given = nested(names, point)
                space.complete(space.read(given, partial=True), self._draw)
            for name, constant, value in other_constants(names, given):
                log.warning("Point value %r of %r is not used: param_space has the constant %r.", value, name, constant)

    def change_search_space(self, config: dict[str, Any]) -> bool:
        """Search `config` from now on, unless the searcher was made with a space of its own.

        The library is told all results again, for what it has saved belongs to the space before; those outside the new
        one are left out. So a searcher that has begun in another space than `config` cannot go on in it.
        """
        if self._given_space is not None:
            return False
        space = self._tree_space(config)
        if self._begun:
            return self._space is not None and self._space.signature() == space.signature()
        self._space = space
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Ask the library, after the points to evaluate."""
        self._begin_once()
        self._say_what_is_left_out()
        assert self._space is not None
        answer = self._answer(trial_id)
        if not isinstance(answer, Asked):
            return answer
        self._take(trial_id, answer)
        return self._space.build(answer.raws)

    def replay_suggestion(self, trial_id: str, config: dict[str, Any]) -> bool:
        """Ask the library again, as before the restore; make it take `config`, should it answer something else."""
        self._begin_once()
        assert self._space is not None
        try:
            wanted = self._space.read(config)
        except ConfigurationError:  # the space has become another
            if self._count < len(self._points):
                self._count += 1  # a point that was tried is not tried again for that
            return False
        answer = self._answer(trial_id)
        if isinstance(answer, Asked) and self._gives(answer, config):
            self._take(trial_id, answer)
            return True
        if isinstance(answer, Asked):
            with self._drawing("tell", trial_id):
                self._tell(answer, None)
        with self._drawing("impose", trial_id):
            self._take(trial_id, self._impose(trial_id, wanted))
        return True

    def on_trial_result(self, trial_id: str, result: Result) -> None:
        """Tell the library, if it learns from trials that go on."""
        asked = self._live.get(trial_id)
        if asked is not None:
            self._report(asked, result)

    def on_trial_complete(self, trial_id: str, result: Result | None = None, error: bool = False) -> None:
        """Tell the library. A trial that failed, or whose metric is missing or not finite, counts as failed."""
        asked = self._live.pop(trial_id, None)
        if asked is None:
            return
        objectives = None if error or not result else self._values(result)
        with self._drawing("tell", trial_id):
            self._tell(asked, objectives)

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: Any,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        """Learn from a configuration that was evaluated elsewhere; one outside the space is left out.

        What is left out is logged with the next suggestion.

        Args:
            parameters: The configuration; what is not searched does not matter.
            value: The metric that it reached, or a list with one for each of several.
            error: It failed; the value does not count.
            pruned: It was stopped early.
            intermediate_values: The metric after each step.
        """
        point = Evaluated(
            config=dict(parameters), value=value, error=error, pruned=pruned, steps=intermediate_values or ()
        )
        if self._begun:
            self._learn(point)
        else:  # there may be no space yet
            self._evaluated.append(point)

    def save(self, checkpoint_path: str) -> None:
        """Pickle what the library knows."""
        import cloudpickle

        state = (self._signature(), self._memory, self._live, self._count) if self._begun else None
        with open(checkpoint_path, "wb") as file:
            cloudpickle.dump(state, file)

    def restore(self, checkpoint_path: str) -> None:
        """Take up what was pickled.

        Raises:
            NotImplementedError: it is of no use, for the space or the library has changed since. The searcher is to be
                told all of it again.
        """
        import pickle

        with open(checkpoint_path, "rb") as file:
            content = file.read()
        self._begin_once()
        try:
            state = pickle.loads(content)
        except Exception as error:
            raise NotImplementedError(f"the state cannot be read by this version of the library: {error}") from error
        if state is None:
            return
        signature, memory, live, count = state
        if signature != self._signature():
            raise NotImplementedError("its space, metric or mode has changed")
        self._memory, self._live, self._count = memory, live, count

    # --- inside -----------------------------------------------------------------------------------------------------

    def _begin_once(self) -> None:
        if self._begun:
            return
        if self._space is None or self._metric is None or self._mode is None:
            raise ConfigurationError(
                f"{type(self).__name__} does not know its space, metric or mode. Hand it to "
                "Tuner(param_space=..., tune_config=TuneConfig(search_alg=..., metric=..., mode=...)), or make it "
                "with all three."
            )
        with self._drawing("begin"):
            self._begin()
        self._begun = True
        for evaluated in self._evaluated:
            self._learn(evaluated)

    def _answer(self, trial_id: str) -> Asked | str | None:
        assert self._space is not None
        with self._drawing("ask", self._count):
            if self._count < len(self._points):
                given = self._read_point(self._points[self._count])
                return self._impose(trial_id, self._space.complete(given, self._draw))
            return self._ask(trial_id)

    def _read_point(self, point: Mapping[str, Any], *, partial: bool = True) -> Raws:
        """Return the parameters of a point; names that the space has not, of constants say, are passed over."""
        assert self._space is not None
        names = self._space.tree
        known = nested(names, point, known_only=True) if isinstance(names, Mapping) else point
        return self._space.read(known, partial=partial)

    def _gives(self, asked: Asked, config: dict[str, Any]) -> bool:
        assert self._space is not None
        try:
            found = self._space.read(config, like=asked.raws)
        except ConfigurationError:
            return False
        return all(asked.raws.get(name) == raw for name, raw in found.items())

    def _take(self, trial_id: str, asked: Asked) -> None:
        self._live[trial_id] = asked
        self._count += 1

    def _draw(self, parameter: Parameter) -> Any:
        return parameter.domain.draw(keyed_random(self._seed or 0, self._count, parameter.name))

    def _learn_points(self, rewards: Sequence[Any] | None) -> None:
        """Learn from the points to evaluate instead of trying them, where their metrics are known."""
        if rewards is None:
            return
        if len(rewards) != len(self._points):
            raise ConfigurationError(
                f"evaluated_rewards has {len(rewards)} values for {len(self._points)} points_to_evaluate."
            )
        for point, reward in zip(self._points, rewards, strict=True):
            self.add_evaluated_point(point, reward)
        self._points = []

    def _learn(self, evaluated: Evaluated) -> None:
        assert self._space is not None
        try:
            raws = self._read_point(evaluated.config, partial=False)
        except ConfigurationError as error:
            self._left_out.append(str(error))
            return
        values = evaluated.value if isinstance(evaluated.value, (list, tuple)) else [evaluated.value]
        objectives = None if evaluated.error else _finite(values)
        key = f"evaluated {sorted(raws.items())} {values}"
        with self._drawing("learn", key):
            self._observe(self._impose(key, raws), evaluated, objectives)

    def _say_what_is_left_out(self) -> None:
        """Say it once: after a restore with narrower bounds that may be most of what there was."""
        if not self._left_out:
            return
        count, first = len(self._left_out), self._left_out[0]
        self._left_out.clear()
        log.warning(
            "%s leaves out %s outside its space. %s",
            type(self).__name__,
            "an evaluated configuration" if count == 1 else f"{count} evaluated configurations",
            first if count == 1 else f"The first: {first}",
        )

    def _values(self, result: Result) -> Objectives | None:
        return _finite([leaf(result, metric) for metric, _ in self._objectives])

    def _signature(self) -> object:
        assert self._space is not None
        return (type(self).__name__, self._space.signature(), self._metric, self._mode)

    @contextlib.contextmanager
    def _drawing(self, *occasion: object) -> Iterator[None]:
        """Seed what libraries draw from without being told to, for the time of one call."""
        with seeded_globals(keyed_random(self._seed or 0, *occasion).getrandbits(63)):
            yield


def _checked_point(point: Any, number: int) -> dict[str, Any]:
    if not isinstance(point, Mapping):
        raise ConfigurationError(f"points_to_evaluate[{number}] is {point!r}: use a dict, not {a_kind(point)}.")
    return dict(point)


class _Tree(ParameterSpace):
    """A space made of perdure's domains."""

    def signature(self) -> object:
        """Return names and bounds."""
        return [(parameter.name, parameter.kind, parameter.given, parameter.step) for parameter in self.parameters]


def _finite(values: Sequence[Any]) -> Objectives | None:
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        return None
    return numbers if all(map(math.isfinite, numbers)) else None
