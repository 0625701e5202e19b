"""Optuna's samplers: TPE, CMA-ES, Gaussian processes, NSGA-II and the others, over several metrics too.

Akiba, Sano, Yanase, Ohta, Koyama: "Optuna: A Next-generation Hyperparameter Optimization Framework" (KDD 2019,
arXiv:1907.10902).
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from perdure.arguments import named_arguments
from perdure.errors import ConfigurationError
from perdure.search_space.domains import Categorical
from perdure.search_space.parameters import Choice, Parameter, ParameterSpace, Real
from perdure.searchers.base import OLDER, Result
from perdure.searchers.library import Asked, Evaluated, LibrarySearcher, NativeSpace, Objectives, Raws, SearchedSpace

if TYPE_CHECKING:
    import optuna

OWNER = "perdure:trial"
"""The user attribute under which a trial of Optuna's has the id of ours."""
_SCALARS = (type(None), bool, int, float, str)


@named_arguments(OLDER)
class OptunaSearch(LibrarySearcher):
    """Searches with a sampler of Optuna's.

    A trial that fails, or whose metric is not finite, is a failed one to Optuna. With one metric, each row is reported
    as an intermediate value. Parts of the space that come with one category of a `choice` are searched where they are
    there.

    Args:
        space: A space of perdure's domains; a dict of Optuna's distributions; or a function that is given an
            `optuna.Trial`, calls its `suggest_...` methods, and may return a dict of constants (define-by-run). Names
            like "model/lr" make nested dicts. None takes the Tuner's `param_space`.
        metric: One metric, or several.
        mode: "min" or "max"; as many as there are metrics ("obs": observed only).
        points_to_evaluate: Configurations to try first; what one leaves out is sampled.
        sampler: Optuna's sampler; None is `TPESampler`. One that was made without a seed gets the searcher's.
        study_name: Of the study.
        storage: Where the study is kept, as Optuna takes it; None is in memory, where perdure saves it. What is found
            in a study of that name is learnt from. After a restore the trials that are in it already are recognised.
        seed: Of the sampler; None follows `TuneConfig(seed=...)`.
        evaluated_rewards: The metric of each of `points_to_evaluate`, which are then not tried but learnt from.

    Raises:
        ModuleNotFoundError: Optuna is not installed.
        ConfigurationError: arguments do not go together.
    """

    modules = ("optuna",)
    extra = "optuna"

    def __init__(
        self,
        space: Mapping[str, Any] | Callable[[optuna.Trial], Mapping[str, Any] | None] | None = None,
        metric: str | list[str] | None = None,
        mode: str | list[str] | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        sampler: optuna.samplers.BaseSampler | None = None,
        study_name: str | None = None,
        storage: Any = None,
        seed: int | None = None,
        evaluated_rewards: Sequence[Any] | None = None,
    ) -> None:
        super().__init__(space, metric, mode, points_to_evaluate, seed)
        self._sampler = sampler
        self._study_name = study_name
        self._storage = storage
        self._learn_points(evaluated_rewards)
        self._known: dict[str, int] = {}

    def _own_space(self, space: Any) -> SearchedSpace:
        if callable(space):
            return NativeSpace(None)
        if (
            isinstance(space, Mapping)
            and space
            and all(type(one).__module__.startswith("optuna.") for one in space.values())
        ):
            return _Distributions(space)
        return self._tree_space(space)

    def _begin(self) -> None:
        import optuna

        sampler = copy.deepcopy(self._sampler) or optuna.samplers.TPESampler(seed=self.draw_seed)
        _seed_unseeded(sampler, self.draw_seed)
        with _quiet():
            self._memory = optuna.create_study(
                storage=self._storage,
                sampler=sampler,
                study_name=self._study_name,
                directions=["minimize" if mode == "min" else "maximize" for _, mode in self._objectives],
                load_if_exists=True,
            )
        for trial in self._memory.get_trials(deepcopy=False):
            if OWNER in trial.user_attrs:
                self._known[trial.user_attrs[OWNER]] = trial._trial_id  # noqa: SLF001 - there is no public way

    def _ask(self, trial_id: str) -> Asked:
        return self._fill(trial_id, None)

    def _impose(self, trial_id: str, raws: Raws) -> Asked:
        return self._fill(trial_id, raws)

    def _fill(self, trial_id: str, raws: Raws | None) -> Asked:
        """Have a trial of Optuna's suggest every parameter: freely, or what is in `raws`."""
        import optuna

        owner = hashlib.sha256(trial_id.encode()).hexdigest() if len(trial_id) > 100 else trial_id
        trial = self._resumed(owner)
        if trial is None:
            if raws is not None:
                self._memory.enqueue_trial(self._to_optuna(raws))
            trial = self._memory.ask()
            if self._is_external:
                trial.set_user_attr(OWNER, owner)
        if not isinstance(self._space, ParameterSpace):
            if callable(self._given_space):
                constants = self._given_space(trial) or {}
                return Asked(raws={**trial.params, **NativeSpace(None).read(dict(constants))}, handle=trial)
            for name, distribution in self._given_space.items():
                _suggest(trial, name, distribution)
            return Asked(raws=dict(trial.params), handle=trial)
        found: Raws = {}
        for parameter in self._space.active(found):
            distribution = _distribution(parameter, optuna.distributions)
            found[parameter.name] = _from_optuna(parameter, _suggest(trial, parameter.name, distribution))
        return Asked(raws=found, handle=trial)

    def _tell(self, asked: Asked, objectives: Objectives | None) -> None:
        import optuna

        failed = optuna.trial.TrialState.FAIL
        with _quiet():
            self._memory.tell(
                asked.handle.number,
                values=objectives,
                state=failed if objectives is None else None,
                skip_if_finished=True,
            )

    def _report(self, asked: Asked, result: Result) -> None:
        if len(self._objectives) > 1:
            return  # Optuna has none of several metrics
        values = self._values(result)
        step = result.get("training_iteration")
        if values is not None and step is not None and step not in _steps_of(asked.handle):
            asked.handle.report(values[0], step)

    def _observe(self, asked: Asked, evaluated: Evaluated, objectives: Objectives | None) -> None:
        import optuna

        if self._memory.get_trials(deepcopy=False)[asked.handle.number].state.is_finished():
            return  # it was in the storage already
        for step, value in enumerate(evaluated.steps):
            asked.handle.report(value, step)
        if evaluated.pruned and objectives is not None and len(objectives) == 1:
            if not evaluated.steps:
                asked.handle.report(objectives[0], 0)
            self._memory.tell(asked.handle.number, state=optuna.trial.TrialState.PRUNED)
        else:
            self._tell(asked, objectives)

    def save(self, checkpoint_path: str) -> None:
        """Pickle the study, unless it is kept elsewhere.

        Raises:
            NotImplementedError: it is: then it is found there after a restore.
        """
        if self._is_external:
            raise NotImplementedError("the study is kept in its own storage")
        super().save(checkpoint_path)

    @property
    def _is_external(self) -> bool:
        return self._storage is not None and type(self._storage).__name__ != "InMemoryStorage"

    def _resumed(self, owner: str) -> Any:
        """Return the trial that the storage has for `owner` from before a restore."""
        import optuna

        known = self._known.pop(owner, None)
        return None if known is None else optuna.trial.Trial(self._memory, known)

    def _to_optuna(self, raws: Raws) -> dict[str, Any]:
        if not isinstance(self._space, ParameterSpace):
            return dict(raws)
        return {parameter.name: _to_optuna(parameter, raws[parameter.name]) for parameter in self._space.active(raws)}


class _Distributions(NativeSpace):
    """Of Optuna's own: what a point leaves out is sampled; of a number out of bounds Optuna warns."""

    def __init__(self, distributions: Mapping[str, Any]) -> None:
        super().__init__(list(distributions))
        self._distributions = distributions

    def read(self, config: Any, like: Mapping[str, Any] | None = None, *, partial: bool = False) -> Raws:
        """Return the values by name."""
        raws = super().read(config, like, partial=partial)
        for name, value in raws.items():
            choices = getattr(self._distributions[name], "choices", None)
            if choices is not None and value not in choices:
                raise ConfigurationError(f"The value {value!r} of {name!r} is none of its choices {choices!r}.")
        return raws

    def complete(self, raws: Mapping[str, Any], draw: Any) -> Raws:
        """Return `raws` as they are."""
        return dict(raws)


def _suggest(trial: Any, name: str, distribution: Any) -> Any:
    if hasattr(distribution, "choices"):
        return trial.suggest_categorical(name, distribution.choices)
    suggest = trial.suggest_int if type(distribution).__name__.startswith("Int") else trial.suggest_float
    return suggest(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)


def _distribution(parameter: Parameter, distributions: Any) -> Any:
    kind = parameter.kind
    if isinstance(kind, Choice):
        return distributions.CategoricalDistribution(_choices(parameter))
    if isinstance(kind, Real):
        return distributions.FloatDistribution(kind.low, kind.high, log=kind.log)
    scale = _scale(parameter)
    low, high = kind.low * scale, kind.high * scale
    if isinstance(scale, int):
        return distributions.IntDistribution(low, high, log=kind.log, step=scale)
    return distributions.FloatDistribution(low, high, step=scale)


def _to_optuna(parameter: Parameter, raw: Any) -> Any:
    if isinstance(parameter.kind, Choice):
        return _choices(parameter)[raw]
    return raw if isinstance(parameter.kind, Real) else raw * _scale(parameter)


def _from_optuna(parameter: Parameter, value: Any) -> Any:
    if isinstance(parameter.kind, Choice):
        return next(number for number, one in enumerate(_choices(parameter)) if one is value or _same(one, value))
    return value if isinstance(parameter.kind, Real) else round(value / _scale(parameter))


def _scale(parameter: Parameter) -> float | int:
    """Return what Optuna's values are multiples of: it has no logarithmic domains with steps."""
    assert not isinstance(parameter.kind, (Choice, Real))
    return 1 if parameter.kind.log else parameter.step


def _choices(parameter: Parameter) -> Sequence[Any]:
    """Return the categories as Optuna can keep them: as they are if they are plain and differ, else their numbers."""
    assert isinstance(parameter.domain, Categorical)
    categories = parameter.domain.categories
    plain = all(type(one) in _SCALARS and one == one for one in categories)  # noqa: PLR0124 - NaN differs from itself
    if plain and len(set(categories)) == len(categories):  # 1, 1.0 and True are the same to Optuna
        return categories
    return range(len(categories))


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _steps_of(trial: Any) -> Any:
    return trial._cached_frozen_trial.intermediate_values  # noqa: SLF001 - `report` warns of a step told twice


def _seed_unseeded(sampler: Any, seed: int) -> None:
    """Seed the generators of a sampler, and of those inside of it, that were made without a seed."""
    for generator in _generators(sampler, set()):
        if vars(generator)["_rng"] is None:
            generator.rng.seed(seed)


def _generators(node: Any, seen: set[int]) -> Iterator[Any]:
    if id(node) in seen or not type(node).__module__.startswith("optuna."):
        return
    seen.add(id(node))
    if type(node).__name__ == "LazyRandomState":
        yield node
        return
    for child in getattr(node, "__dict__", {}).values():
        yield from _generators(child, seen)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna from telling on stderr of each study and trial: perdure's own table does."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(verbosity, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)
