"""HEBO: Bayesian optimisation that warps inputs and outputs, and asks several acquisition functions at once.

Cowen-Rivers et al.: "HEBO: Pushing The Limits of Sample-Efficient Hyper-parameter Optimisation" (JAIR 2022,
arXiv:2012.03826).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from perdure.arguments import named_arguments
from perdure.errors import ConfigurationError
from perdure.search_space.parameters import Choice, Parameter, ParameterSpace
from perdure.searchers.base import HINTS, OLDER
from perdure.searchers.library import Asked, LibrarySearcher, NativeSpace, Objectives, Raws, SearchedSpace

if TYPE_CHECKING:
    from hebo.design_space.design_space import DesignSpace


@named_arguments(OLDER, HINTS)
class HEBOSearch(LibrarySearcher):
    """Searches with HEBO. A trial that fails is passed over.

    The first trials are quasi-random, one more than there are parameters; after them a suggestion takes seconds.

    Args:
        space: A space of perdure's domains, or a `DesignSpace` of HEBO's; None takes the Tuner's `param_space`.
        metric: What is optimised.
        mode: "min" or "max".
        points_to_evaluate: Configurations to try first.
        evaluated_rewards: The metric of each of `points_to_evaluate`, which are then not tried but learnt from.
        random_state_seed: Makes the search reproducible; None follows `TuneConfig(seed=...)`.
        max_concurrent: Most trials that are unfinished at a time.
        kwargs: Further arguments of `hebo.optimizers.hebo.HEBO`.

    Raises:
        ModuleNotFoundError: HEBO is not installed; the message says on which Pythons it can be.
        ConfigurationError: arguments do not go together.
    """

    modules = ("hebo",)
    extra = "hebo"
    restriction = (
        "HEBO's last release (0.3.6) was tried on Python 3.10 to 3.13: it runs on 3.10 and 3.11, and does not install "
        "on 3.12 and 3.13, for it asks for NumPy below 1.25, which they do not have. For a Gaussian process there use "
        "OptunaSearch(sampler=optuna.samplers.GPSampler()) or AxSearch."
    )

    def __init__(
        self,
        space: Mapping[str, Any] | DesignSpace | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        evaluated_rewards: Sequence[Any] | None = None,
        random_state_seed: int | None = None,
        max_concurrent: int = 8,
        **kwargs: Any,
    ) -> None:
        super().__init__(space, metric, mode, points_to_evaluate, random_state_seed)
        self._learn_points(evaluated_rewards)
        self._arguments = kwargs
        self.set_max_concurrency(max_concurrent)

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Have at most so many unfinished trials."""
        if max_concurrent < 1:
            raise ConfigurationError(f"HEBOSearch(max_concurrent={max_concurrent!r}): use 1 or more.")
        self._max_concurrent = max_concurrent
        return True

    def _own_space(self, space: Any) -> SearchedSpace:
        return NativeSpace(space.para_names) if hasattr(space, "para_names") else self._tree_space(space)

    def _begin(self) -> None:
        from hebo.design_space.design_space import DesignSpace
        from hebo.optimizers.hebo import HEBO

        if isinstance(self._space, ParameterSpace):
            space = DesignSpace().parse([_describe(one) for one in self.parameters])
        else:
            space = self._given_space
        self._memory = HEBO(space, **{"scramble_seed": self.draw_seed, **self._arguments})

    def _ask(self, trial_id: str) -> Asked | None:
        if len(self._live) >= self._max_concurrent:
            return None
        (row,) = self._memory.suggest(n_suggestions=1).to_dict("records")
        return Asked(raws=self._raws(row), handle=row)

    def _impose(self, trial_id: str, raws: Raws) -> Asked:
        if isinstance(self._space, ParameterSpace):  # no conditions: what is not there has a value all the same
            row = {one.name: one.to_coordinate(raws.get(one.name)) for one in self.parameters}
            return Asked(raws=dict(raws), handle=row)
        return Asked(raws=dict(raws), handle=dict(raws))

    def _tell(self, asked: Asked, objectives: Objectives | None) -> None:
        if objectives is None:
            return
        import numpy
        import pandas

        row = pandas.DataFrame([asked.handle], columns=self._memory.space.para_names)
        self._memory.observe(row, numpy.array([[self.loss(objectives)]]))

    def _raws(self, row: Mapping[str, Any]) -> Raws:
        if isinstance(self._space, ParameterSpace):
            return {one.name: one.from_coordinate(row[one.name]) for one in self.parameters}
        return dict(row)


def _describe(parameter: Parameter) -> dict[str, Any]:
    kind, name = parameter.kind, parameter.name
    if isinstance(kind, Choice):
        return {"name": name, "type": "cat", "categories": list(range(kind.size))}
    if parameter.is_counted:
        return {"name": name, "type": "int", "lb": kind.low, "ub": kind.high}
    return {"name": name, "type": "num", "lb": 0.0, "ub": 1.0}
