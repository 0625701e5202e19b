"""ZOOpt: optimisation by classification (sequential RACOS).

Hu, Qian, Yu: "Sequential Classification-Based Optimization for Direct Policy Search" (AAAI 2017); Liu, Hu, Qian, Yu:
"ZOOpt: a toolbox for derivative-free optimization" (arXiv:1801.00329).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perdure.arguments import named_arguments
from perdure.errors import ConfigurationError
from perdure.search_space.parameters import Choice, Parameter, ParameterSpace
from perdure.searchers.base import HINTS, OLDER, Searcher
from perdure.searchers.library import Asked, LibrarySearcher, NativeSpace, Objectives, Raws, SearchedSpace

_WORST = 1e300
_PRECISION = 1e-10
_ATTEMPTS = 100
"""A draw that repeats an earlier one is drawn again so often before the search is over, as ZOOpt itself has it."""


@named_arguments(OLDER, HINTS)
class ZOOptSearch(LibrarySearcher):
    """Searches with ZOOpt's asynchronous sequential RACOS. A trial that fails counts as worse than all others.

    Args:
        algo: "asracos" is the only one that can be asked and told.
        budget: How many trials there will be; None takes the experiment's `num_samples`.
        dim_dict: A space in ZOOpt's own terms, `{"x": (ValueType.CONTINUOUS, [0, 1], 1e-3)}`, or of perdure's domains;
            None takes the Tuner's `param_space`.
        metric: What is optimised.
        mode: "min" or "max".
        points_to_evaluate: Configurations to try first.
        parallel_num: Most trials that are unfinished at a time, once the first ones, of which ZOOpt makes its model,
            are over.
        kwargs: Further arguments of `zoopt.Parameter`.

    Raises:
        ModuleNotFoundError: ZOOpt is not installed.
        ConfigurationError: another `algo`, or no budget.
    """

    modules = ("zoopt",)
    extra = "zoopt"

    def __init__(
        self,
        algo: str = "asracos",
        budget: int | None = None,
        dim_dict: Mapping[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        parallel_num: int = 1,
        **kwargs: Any,
    ) -> None:
        if algo.lower() not in ("asracos", "sracos"):
            raise ConfigurationError(f"ZOOptSearch(algo={algo!r}): there is asracos.")
        super().__init__(dim_dict, metric, mode, points_to_evaluate, None)
        self._budget = budget
        self._parallel = parallel_num
        self._arguments = kwargs

    def _own_space(self, space: Any) -> SearchedSpace:
        if isinstance(space, Mapping) and space and all(isinstance(one, tuple) for one in space.values()):
            return NativeSpace(list(space))
        return self._tree_space(space)

    def _begin(self) -> None:
        import zoopt
        from zoopt.algos.opt_algorithms.racos.sracos import SRacosTune

        budget = self._num_samples if self._budget is None else self._budget
        if budget is None or budget < 1:
            raise ConfigurationError("ZOOptSearch needs to know how many trials there will be: give it a budget.")
        if isinstance(self._space, NativeSpace):
            dimensions = list(self._given_space.values())
        else:
            dimensions = [_dimension(one, zoopt.ValueType) for one in self.parameters]
        self._memory = SRacosTune(
            dimension=zoopt.Dimension2(dimensions),
            parameter=zoopt.Parameter(algorithm="asracos", budget=budget, **self._arguments),
            parallel_num=self._parallel,
        )

    def _ask(self, trial_id: str) -> Asked | str | None:
        for _ in range(_ATTEMPTS):
            solution = self._memory.suggest()
            if solution is None:
                return None
            if not isinstance(solution, str):
                self._close_the_start()
                return Asked(raws=self._raws(solution.get_x()), handle=solution)
        return Searcher.FINISHED

    def _impose(self, trial_id: str, raws: Raws) -> Asked:
        from zoopt import Solution

        if isinstance(self._space, ParameterSpace):  # no conditions: what is not there has a value all the same
            coordinates = [one.to_coordinate(raws.get(one.name)) for one in self.parameters]
        else:
            coordinates = list(raws.values())
        self._memory.init_num += 1
        self._memory.live_num += 1
        self._close_the_start()
        return Asked(raws=dict(raws), handle=Solution(x=coordinates))

    def _close_the_start(self) -> None:
        """Have ZOOpt wait for its first configurations as soon as it has given them all.

        It does so by itself only when it is asked for one more; if all are over by then, it would wait for ever.
        """
        if self._memory.init_num == self._memory._parameter.get_train_size():  # noqa: SLF001 - there is no public way
            self._memory.suggest()

    def _tell(self, asked: Asked, objectives: Objectives | None) -> None:
        self._memory.complete(asked.handle, _WORST if objectives is None else self.loss(objectives))

    def _raws(self, coordinates: Sequence[Any]) -> Raws:
        if isinstance(self._space, NativeSpace):
            assert self._space.names is not None
            return dict(zip(self._space.names, coordinates, strict=True))
        return {one.name: one.from_coordinate(at) for one, at in zip(self.parameters, coordinates, strict=True)}


def _dimension(parameter: Parameter, types: Any) -> tuple[Any, ...]:
    kind = parameter.kind
    if isinstance(kind, Choice):
        return (types.DISCRETE, [0, kind.size - 1], False)
    if parameter.is_counted:
        return (types.DISCRETE, [kind.low, kind.high], True)
    return (types.CONTINUOUS, [0.0, 1.0], _PRECISION)
