"""Nevergrad's optimisers: evolution strategies, CMA-ES, differential evolution and many others.

Rapin, Teytaud: "Nevergrad: A gradient-free optimization platform" (2018, https://facebookresearch.github.io/nevergrad).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from perdure.arguments import named_arguments
from perdure.errors import ConfigurationError
from perdure.search_space.parameters import Choice, Parameter, Real
from perdure.searchers.base import HINTS, OLDER
from perdure.searchers.library import Asked, LibrarySearcher, NativeSpace, Objectives, Raws, SearchedSpace

if TYPE_CHECKING:
    import nevergrad


@named_arguments(OLDER, HINTS)
class NevergradSearch(LibrarySearcher):
    """Searches with an optimiser of Nevergrad's. A trial that fails counts as worse than all others.

    Args:
        optimizer: The optimiser: its class, a configured one, an instance (which then has its space and budget), or its
            name; None is NGOpt, which chooses for itself.
        optimizer_kwargs: Further arguments for it. `budget` is the experiment's `num_samples` if it is not given.
        space: A space of perdure's domains, or one of Nevergrad's parametrizations: a `Dict`, or a list of names for
            an optimiser whose parametrization is an array or a tuple. None takes the Tuner's `param_space`.
        metric: What is optimised.
        mode: "min" or "max".
        points_to_evaluate: Configurations to try first.

    Raises:
        ModuleNotFoundError: Nevergrad is not installed.
    """

    modules = ("nevergrad",)
    extra = "nevergrad"

    def __init__(
        self,
        optimizer: Any = None,
        optimizer_kwargs: Mapping[str, Any] | None = None,
        space: Mapping[str, Any] | nevergrad.p.Parameter | Sequence[str] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        self._optimizer = optimizer
        self._optimizer_kwargs = dict(optimizer_kwargs or {})
        if self._is_instance:
            if optimizer_kwargs:
                raise ConfigurationError("An optimizer that is made already takes no optimizer_kwargs: leave them out.")
            space = optimizer.parametrization if space is None else space
        super().__init__(space, metric, mode, points_to_evaluate, None)

    @property
    def _is_instance(self) -> bool:
        return hasattr(self._optimizer, "ask")

    def _own_space(self, space: Any) -> SearchedSpace:
        if type(space).__module__.startswith("nevergrad."):
            if not isinstance(space.value, dict):
                raise ConfigurationError(
                    f"NevergradSearch(space={space!r}): its values have no names. Use a Dict; or hand the optimizer "
                    "over as an instance, and a list of names as the space."
                )
            return _Parametrization(list(space.value), space)
        if isinstance(space, (list, tuple)) and space and all(isinstance(name, str) for name in space):
            return _Parametrization(list(space), self._optimizer.parametrization if self._is_instance else None)
        return self._tree_space(space)

    def _begin(self) -> None:
        import copy

        import nevergrad

        if self._is_instance:
            self._memory = copy.deepcopy(self._optimizer)
        else:
            make = nevergrad.optimizers.NGOpt if self._optimizer is None else self._optimizer
            if isinstance(make, str):
                make = nevergrad.optimizers.registry[make]
            budget = self._num_samples if self._num_samples not in (None, -1) else None
            self._memory = make(
                parametrization=self._parametrization(nevergrad.p), **{"budget": budget, **self._optimizer_kwargs}
            )
        self._memory.parametrization.random_state.seed(self.draw_seed)

    def _parametrization(self, p: Any) -> Any:
        if isinstance(self._space, NativeSpace):
            return self._given_space
        return p.Dict(**{one.name: _parameter(one, p) for one in self.parameters})

    def _ask(self, trial_id: str) -> Asked:
        candidate = self._memory.ask()
        return Asked(raws=self._raws(candidate.value), handle=candidate)

    def _impose(self, trial_id: str, raws: Raws) -> Asked:
        if isinstance(self._space, NativeSpace):
            new = _like(self._memory.parametrization.value, raws)
        else:
            # Parameters that come with another choice have a value in Nevergrad all the same.
            new = {**self._memory.parametrization.value, **raws}
        return Asked(raws=dict(raws), handle=self._memory.parametrization.spawn_child(new_value=new))

    def _tell(self, asked: Asked, objectives: Objectives | None) -> None:
        self._memory.tell(asked.handle, _WORST if objectives is None else self.loss(objectives))

    def _raws(self, value: Any) -> Raws:
        if not isinstance(self._space, NativeSpace):
            return {one.name: one.kind.clip(value[one.name]) for one in self.parameters}
        if isinstance(value, dict):
            return dict(value)
        assert self._space.names is not None
        return dict(zip(self._space.names, value, strict=True))


_WORST = 1e30  # an infinity makes Nevergrad warn, and take its place


def _parameter(parameter: Parameter, p: Any) -> Any:
    kind = parameter.kind
    if isinstance(kind, Choice):
        return p.Choice(list(range(kind.size)))
    if kind.low == kind.high:
        return p.Choice([kind.low])
    made = p.Log(lower=kind.low, upper=kind.high) if kind.log else p.Scalar(lower=kind.low, upper=kind.high)
    return made if isinstance(kind, Real) else made.set_integer_casting()


class _Parametrization(NativeSpace):
    """One of Nevergrad's own, which says by itself what it takes."""

    def __init__(self, names: Sequence[str], parametrization: Any) -> None:
        super().__init__(names)
        self._parametrization = parametrization

    def complete(self, raws: Mapping[str, Any], draw: Any) -> Raws:
        """Return `raws`, of which none may be missing, or be refused by Nevergrad."""
        import copy

        whole = super().complete(raws, draw)
        if self._parametrization is not None:
            try:
                copy.deepcopy(self._parametrization).spawn_child(new_value=_like(self._parametrization.value, whole))
            except Exception as error:
                raise ConfigurationError(f"Nevergrad does not take {whole!r}: {error}") from error
        return whole


def _like(value: Any, raws: Raws) -> Any:
    """Return the values in the kind of container that `value` is: a dict, a tuple, or an array."""
    if isinstance(value, dict):
        return dict(raws)
    if isinstance(value, tuple):
        return tuple(raws.values())
    import numpy

    return numpy.array(list(raws.values()))
