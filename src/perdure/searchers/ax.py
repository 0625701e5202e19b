"""Ax: Bayesian optimisation with BoTorch, after some quasi-random configurations.

Olson et al.: "Ax: A Platform for Adaptive Experimentation" (AutoML 2025, https://ax.dev).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from perdure.arguments import named_arguments
from perdure.search_space.parameters import Choice, Parameter, ParameterSpace, Real
from perdure.searchers.base import HINTS, OLDER, Searcher
from perdure.searchers.library import Asked, LibrarySearcher, NativeSpace, Objectives, Raws, SearchedSpace

if TYPE_CHECKING:
    from ax.service.ax_client import AxClient


@named_arguments(OLDER, HINTS)
class AxSearch(LibrarySearcher):
    """Searches with Ax. A trial that fails, or one of whose metrics is not finite, is a failed one to Ax.

    Args:
        space: A space of perdure's domains, or a list of parameters as `AxClient.create_experiment` takes it; None
            takes the Tuner's `param_space`.
        metric: What is optimised.
        mode: "min" or "max".
        points_to_evaluate: Configurations to try first.
        parameter_constraints: Of Ax: "x3 >= x4", "x3 + x4 <= 2".
        outcome_constraints: Of Ax: "latency <= 20"; every row must have that metric.
        ax_client: A client whose experiment is there already, instead of a space.
        ax_kwargs: Further arguments of AxClient, where none is given.

    Raises:
        ModuleNotFoundError: Ax is not installed.
    """

    modules = ("ax",)
    extra = "ax"

    def __init__(
        self,
        space: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        parameter_constraints: Sequence[str] | None = None,
        outcome_constraints: Sequence[str] | None = None,
        ax_client: AxClient | None = None,
        **ax_kwargs: Any,
    ) -> None:
        if ax_client is not None:
            space = [{"name": name} for name in ax_client.experiment.parameters] if space is None else space
            metric = metric or ax_client.objective_name
        super().__init__(space, metric, mode, points_to_evaluate, None)
        self._parameter_constraints = list(parameter_constraints or ())
        self._outcome_constraints = list(outcome_constraints or ())
        self._client = ax_client
        self._client_arguments = ax_kwargs

    def _own_space(self, space: Any) -> SearchedSpace:
        if (
            isinstance(space, (list, tuple))
            and space
            and all(isinstance(one, Mapping) and "name" in one for one in space)
        ):
            return NativeSpace([one["name"] for one in space])
        return self._tree_space(space)

    @property
    def _objectives(self) -> list[tuple[str, str]]:
        """What is optimised, and after it what is constrained."""
        names = [re.split(r"\s*[<>]=", constraint.strip())[0] for constraint in self._outcome_constraints]
        return [(str(self._metric), str(self._mode)), *((name, "min") for name in names)]

    def _begin(self) -> None:
        import copy

        if self._client is not None:
            self._memory = copy.deepcopy(self._client)
            return
        with _quiet():
            from ax.service.ax_client import AxClient, ObjectiveProperties

            arguments = {
                "random_seed": self.draw_seed,
                "verbose_logging": False,
                "enforce_sequential_optimization": False,
            }
            self._memory = AxClient(**{**arguments, **self._client_arguments})
            self._memory.create_experiment(
                name="perdure",
                parameters=self._described(),
                objectives={str(self._metric): ObjectiveProperties(minimize=self._mode == "min")},
                parameter_constraints=self._parameter_constraints,
                outcome_constraints=self._outcome_constraints,
            )

    def _described(self) -> list[dict[str, Any]]:
        if isinstance(self._space, NativeSpace):
            return [dict(one) for one in self._given_space]
        return [_describe(one) for one in self.parameters]

    def _ask(self, trial_id: str) -> Asked | str | None:
        from ax.exceptions.core import DataRequiredError, SearchSpaceExhausted
        from ax.exceptions.generation_strategy import MaxParallelismReachedException

        with _quiet():
            try:
                found, index = self._memory.get_next_trial()
            except (DataRequiredError, MaxParallelismReachedException):
                return None
            except SearchSpaceExhausted:
                return Searcher.FINISHED
        return Asked(raws=self._raws(found), handle=index)

    def _impose(self, trial_id: str, raws: Raws) -> Asked:
        whole = dict(raws)
        if isinstance(
            self._space, ParameterSpace
        ):  # Ax knows no conditions: what is not there has a value all the same
            whole = {one.name: raws.get(one.name, _first(one)) for one in self.parameters}
        with _quiet():
            _, index = self._memory.attach_trial(whole)
        return Asked(raws=dict(raws), handle=index)

    def _tell(self, asked: Asked, objectives: Objectives | None) -> None:
        with _quiet():
            if objectives is None:
                self._memory.log_trial_failure(asked.handle)
                return
            names = [name for name, _ in self._objectives]
            noisy = {name: (value, None) for name, value in zip(names, objectives, strict=True)}
            self._memory.complete_trial(asked.handle, raw_data=noisy)

    def _raws(self, found: Mapping[str, Any]) -> Raws:
        if isinstance(self._space, NativeSpace):
            return dict(found)
        return {one.name: one.kind.clip(found[one.name]) for one in self.parameters}


def _describe(parameter: Parameter) -> dict[str, Any]:
    kind, name = parameter.kind, parameter.name
    if isinstance(kind, Choice):
        if kind.size == 1:
            return {"name": name, "type": "fixed", "value": 0}
        numbers = list(range(kind.size))
        two = kind.size == 2  # which Ax takes to be in an order, whatever it is told, and wants sorted then
        ordered = {"is_ordered": two, "sort_values": two}
        return {"name": name, "type": "choice", "values": numbers, "value_type": "int", **ordered}
    if kind.low == kind.high:
        return {"name": name, "type": "fixed", "value": kind.low}
    value_type = "float" if isinstance(kind, Real) else "int"
    bounds = [kind.low, kind.high]
    return {"name": name, "type": "range", "bounds": bounds, "value_type": value_type, "log_scale": kind.log}


def _first(parameter: Parameter) -> float | int:
    return 0 if isinstance(parameter.kind, Choice) else parameter.kind.low


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Ax, BoTorch and GPyTorch from warning of fits that were tried again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
