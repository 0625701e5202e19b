"""Bayesian optimisation with a Gaussian process, of the library bayesian-optimization.

Snoek, Larochelle, Adams: "Practical Bayesian Optimization of Machine Learning Algorithms" (NeurIPS 2012,
arXiv:1206.2944).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from perdure.arguments import named_arguments
from perdure.errors import ConfigurationError
from perdure.search_space.functions import uniform
from perdure.search_space.parameters import Choice, Parameter, Real, Whole
from perdure.searchers.base import HINTS, OLDER, Searcher
from perdure.searchers.library import Asked, LibrarySearcher, Objectives, Raws, SearchedSpace

_KINDS = ("ucb", "ei", "poi")


@named_arguments(OLDER, HINTS)
class BayesOptSearch(LibrarySearcher):
    """Searches numbers with a Gaussian process over [0, 1] in each of them; logarithmic ones by their logarithm.

    What the library knows is the list of results, so the i-th suggestion is a function of these, the seed and i. Trials
    that run or have failed count as the worst result so far, so that they are not suggested again.

    Args:
        space: A space of perdure's domains, or bounds by name, `{"x": (0, 1)}`; None takes the Tuner's `param_space`.
        metric: What is optimised.
        mode: "min" or "max".
        points_to_evaluate: Configurations to try first.
        utility_kwargs: The acquisition function: `kind`, "ucb" (with `kappa`), "ei" or "poi" (with `xi`).
        random_state: Makes the search reproducible; None follows `TuneConfig(seed=...)`.
        random_search_steps: So many suggestions are drawn at random before the model is asked.
        verbose: Of the library; nothing is printed while it is only asked.
        patience: The search ends when so many suggestions in a row repeat an earlier one.
        skip_duplicate: Ask again where a suggestion repeats an earlier one; False ends the search at the first.
        analysis: Results to learn from first: an ExperimentAnalysis or a ResultGrid.
        repeat_float_precision: Numbers that agree in so many digits after the point count as the same.

    Raises:
        ModuleNotFoundError: the library is not installed.
        ConfigurationError: the space has a choice.
    """

    modules = ("bayes_opt",)
    extra = "bayesopt"

    def __init__(
        self,
        space: Mapping[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        utility_kwargs: Mapping[str, Any] | None = None,
        random_state: int | None = 42,
        random_search_steps: int = 10,
        verbose: int = 0,
        patience: int = 5,
        skip_duplicate: bool = True,
        analysis: Any = None,
        repeat_float_precision: int = 5,
    ) -> None:
        super().__init__(space, metric, mode, points_to_evaluate, random_state)
        self._utility = {"kind": "ucb", "kappa": 2.576, "xi": 0.0, **(utility_kwargs or {})}
        if self._utility["kind"] not in _KINDS:
            raise ConfigurationError(f"utility_kwargs={utility_kwargs!r}: kind must be one of {', '.join(_KINDS)}.")
        if patience < 1:
            raise ConfigurationError(f"BayesOptSearch(patience={patience!r}): use 1 or more.")
        self._random_search_steps = random_search_steps
        self._verbose = verbose
        self._attempts = patience if skip_duplicate else 1
        self._precision = repeat_float_precision
        self._analysis = analysis

    def _own_space(self, space: Any) -> SearchedSpace:
        return self._tree_space(_with_domains(space))

    def _tree_space(self, tree: Any) -> SearchedSpace:
        space = super()._tree_space(tree)
        for parameter in space.parameters:  # type: ignore[attr-defined]
            if isinstance(parameter.kind, Choice):
                raise ConfigurationError(
                    f"BayesOptSearch searches numbers, and {parameter.name!r} is a choice. Use OptunaSearch or "
                    "HyperOptSearch, or a number that your trainable makes a choice of."
                )
        return space

    def _begin(self) -> None:
        self._memory = _Memory()
        if self._analysis is not None:
            assert isinstance(self._metric, str)
            self.add_evaluated_trials(self._analysis, self._metric)

    def register_analysis(self, analysis: Any) -> None:
        """Learn from the finished trials of an ExperimentAnalysis or a ResultGrid."""
        if not isinstance(self._metric, str):
            raise ConfigurationError("BayesOptSearch.register_analysis needs BayesOptSearch(metric=...).")
        self.add_evaluated_trials(analysis, self._metric)

    def _ask(self, trial_id: str) -> Asked | str:
        for attempt in range(self._attempts):
            raws = self._suggest(self.draw_seed + attempt)
            if self._key(raws) not in self._memory.seen:
                return self._impose(trial_id, raws)
        return Searcher.FINISHED

    def _suggest(self, seed: int) -> Raws:
        optimizer = self._optimizer(seed)
        worst = min((target for _, target in self._memory.results if target is not None), default=None)
        if self._count >= self._random_search_steps + len(self._points) and worst is not None:
            for known, target in self._memory.results:
                optimizer.register(params=known, target=worst if target is None else target)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a Gaussian process that did not converge: it serves as well
            units = self._next(optimizer)
        return {one.name: _kind(one).from_unit(units[one.name]) for one in self.parameters}

    def _optimizer(self, seed: int) -> Any:
        import bayes_opt

        settings: dict[str, Any] = {
            "random_state": seed % 2**31,
            "verbose": self._verbose,
            "allow_duplicate_points": True,
        }
        if not hasattr(bayes_opt, "UtilityFunction"):  # from 2.0 on
            settings["acquisition_function"] = self._acquisition()
        return bayes_opt.BayesianOptimization(f=None, pbounds={one.name: (0, 1) for one in self.parameters}, **settings)

    def _acquisition(self) -> Any:
        from bayes_opt import acquisition

        kind, kappa, xi = self._utility["kind"], self._utility["kappa"], self._utility["xi"]
        if kind == "ucb":
            return acquisition.UpperConfidenceBound(kappa=kappa)
        return (acquisition.ExpectedImprovement if kind == "ei" else acquisition.ProbabilityOfImprovement)(xi=xi)

    def _next(self, optimizer: Any) -> Mapping[str, float]:
        import bayes_opt

        if not hasattr(bayes_opt, "UtilityFunction"):
            return optimizer.suggest()  # type: ignore[no-any-return]
        return optimizer.suggest(bayes_opt.UtilityFunction(**self._utility))  # type: ignore[no-any-return]

    def _impose(self, trial_id: str, raws: Raws) -> Asked:
        self._memory.seen.add(self._key(raws))
        units = {one.name: _kind(one).to_unit(raws[one.name]) for one in self.parameters}
        self._memory.results.append((units, None))
        return Asked(raws=raws, handle=len(self._memory.results) - 1)

    def _tell(self, asked: Asked, objectives: Objectives | None) -> None:
        if objectives is not None:
            units, _ = self._memory.results[asked.handle]
            self._memory.results[asked.handle] = (units, -self.loss(objectives))

    def _key(self, raws: Raws) -> tuple[float, ...]:
        return tuple(round(float(raws[one.name]), self._precision) for one in self.parameters)


class _Memory:
    """What the search depends on, besides the seed."""

    def __init__(self) -> None:
        self.results: list[tuple[dict[str, float], float | None]] = []
        self.seen: set[tuple[float, ...]] = set()


def _kind(parameter: Parameter) -> Real | Whole:
    assert not isinstance(parameter.kind, Choice)
    return parameter.kind


def _with_domains(space: Any) -> Any:
    """Return `space` with a domain in place of each pair of bounds."""
    if isinstance(space, tuple) and len(space) == 2 and all(isinstance(bound, (int, float)) for bound in space):
        return uniform(*space)
    return {key: _with_domains(value) for key, value in space.items()} if type(space) is dict else space
