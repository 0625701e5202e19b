"""Giving a trainable more than its config: large objects (`with_parameters`) and resources (`with_resources`)."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Union

from perdure.arguments import a_kind
from perdure.errors import ResourceError, TrainableError
from perdure.trainable.base import Trainable, trainable_name
from perdure.trainable.parameters import Parameter

RESOURCES = "_perdure_resources"
"""Attribute of a trainable that holds what `with_resources` was given."""

_STANDARD = {"cpu": "CPU", "num_cpus": "CPU", "gpu": "GPU", "num_gpus": "GPU", "memory": "memory"}
_NESTED = ("resources", "custom_resources")
_STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")

ResourceRequest = Union[
    Mapping[str, float], "PlacementGroupFactory", Callable[[dict[str, Any]], Union[Mapping[str, float], Any]]
]


class PlacementGroupFactory:
    """What a trial needs, as a list of bundles: the first for the trial itself, the others for what it starts.

    Args:
        bundles: Amounts by resource name, a dict for each bundle.
        strategy: How bundles are placed on several machines; on one machine it makes no difference.

    Raises:
        ResourceError: there is no bundle, one is no dict, or an amount is no number of 0 or more.
    """

    def __init__(
        self, bundles: Sequence[Mapping[str, float]], strategy: str = "PACK", *args: object, **kwargs: object
    ) -> None:
        if not bundles:
            raise ResourceError("PlacementGroupFactory needs at least one bundle, for example [{'CPU': 1}].")
        if isinstance(bundles, Mapping) or not all(isinstance(bundle, Mapping) for bundle in bundles):
            raise ResourceError(f"PlacementGroupFactory({bundles!r}): use a list of dicts, for example [{{'CPU': 1}}].")
        if strategy not in _STRATEGIES:
            raise ResourceError(f"PlacementGroupFactory(strategy={strategy!r}): use one of {', '.join(_STRATEGIES)}.")
        self._bundles = tuple(_normalised(bundle) for bundle in bundles)
        self._strategy = strategy
        self._args = args
        self._kwargs = kwargs

    @property
    def bundles(self) -> list[dict[str, float]]:
        """The bundles, resources of amount 0 left out."""
        return [dict(bundle) for bundle in self._bundles]

    @property
    def strategy(self) -> str:
        """How bundles are placed on several machines."""
        return self._strategy

    @property
    def head_bundle_is_empty(self) -> bool:
        """Whether the trial itself needs nothing."""
        return not self._bundles[0]

    @property
    def head_cpus(self) -> float:
        """CPUs of the trial itself."""
        return self._bundles[0].get("CPU", 0.0)

    @property
    def required_resources(self) -> dict[str, float]:
        """The sum of all bundles."""
        total: dict[str, float] = {}
        for bundle in self._bundles:
            for name, amount in bundle.items():
                total[name] = total.get(name, 0.0) + amount
        return total

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlacementGroupFactory) and (self._bundles, self._strategy) == (
            other._bundles,
            other._strategy,
        )

    def __hash__(self) -> int:
        return hash((tuple(tuple(sorted(bundle.items())) for bundle in self._bundles), self._strategy))

    def __repr__(self) -> str:
        return f"PlacementGroupFactory({self.bundles!r}, strategy={self._strategy!r})"


def with_resources(trainable: Any, resources: ResourceRequest) -> Any:
    """Say what each trial of `trainable` needs, and return the trainable.

    A function gets an attribute and is returned itself; of a class a subclass is returned.

    Args:
        trainable: A function, or a class derived from Trainable.
        resources: `{"cpu": 2, "gpu": 0.5, "memory": bytes, "any name": amount}`; a PlacementGroupFactory; or a
            function of the config that returns one of these. Without a word about CPUs it is one CPU.

    Raises:
        ResourceError: an amount is no number of 0 or more, or `resources` is of no such kind.
    """
    if not callable(trainable):
        raise TrainableError(f"with_resources() takes a function or a Trainable class, not {trainable!r}.")
    if isinstance(resources, (Mapping, PlacementGroupFactory)):
        _amounts(resources, trainable)
    elif not callable(resources):
        raise ResourceError(
            f"with_resources(resources={resources!r}): expected a dict, a PlacementGroupFactory or a function of the "
            f"config, not {a_kind(resources)}."
        )
    if isinstance(trainable, type):
        return _subclass(trainable, {RESOURCES: _Constant(resources)})
    try:
        setattr(trainable, RESOURCES, resources)
    except AttributeError:  # a bound method or a builtin has no attributes of its own
        trainable = functools.partial(trainable)
        setattr(trainable, RESOURCES, resources)
    return trainable


def resources_of(trainable: Any, config: dict[str, Any]) -> dict[str, float]:
    """Return what a trial of `trainable` with `config` needs: amounts by name, "CPU", "GPU", "memory" and others.

    Without a request it is one CPU. Resources of amount 0 are left out.

    Raises:
        ResourceError: what was asked for cannot be understood.
    """
    request = _request_for(trainable, config)
    return {"CPU": 1.0} if request is None else _amounts(request, trainable)


def bundles_of(trainable: Any, config: dict[str, Any]) -> PlacementGroupFactory:
    """Return what a trial of `trainable` with `config` needs, bundle by bundle.

    Raises:
        ResourceError: what was asked for cannot be understood.
    """
    request = _request_for(trainable, config)
    if isinstance(request, PlacementGroupFactory):
        return request
    return PlacementGroupFactory([resources_of(trainable, config)])


def fixed_resources_of(trainable: Any) -> dict[str, float] | None:
    """Return what every trial of `trainable` needs, whatever its config; None if that depends on it.

    Raises:
        ResourceError: what was asked for cannot be understood.
    """
    return None if callable(_request_of(trainable)) else resources_of(trainable, {})


def _request_for(trainable: Any, config: dict[str, Any]) -> Any:
    """Return what was asked for with this config."""
    request = _request_of(trainable)
    if not callable(request):
        return request
    try:
        return request(config)
    except Exception as error:
        raise ResourceError(
            f"The function that gives the resources of {trainable_name(trainable)} raised {type(error).__name__} for "
            f"the config {config!r}: {error}"
        ) from error


def _request_of(trainable: Any) -> Any:
    """Return what was asked for: an amount, a function of the config, or None."""
    request = getattr(trainable, RESOURCES, None)
    if isinstance(request, _Constant):
        request = request.value
    if request is None and isinstance(trainable, type) and issubclass(trainable, Trainable):
        return trainable.default_resource_request
    return request


def with_parameters(trainable: Any, **parameters: object) -> Any:
    """Bind `parameters` to a trainable: a function is called with them, a class has them passed to `setup`.

    However large they are, they are stored once for the experiment and shared by its trials, not copied. (Where trials
    are spawned, not forked, arrays are still mapped, but each trial loads what is a plain Python object for itself.)

    Raises:
        TrainableError: the function, or `setup`, does not take an argument of that name.
    """
    if isinstance(trainable, type) and issubclass(trainable, Trainable):
        _check_names(trainable.setup, parameters, f"{trainable.__name__}.setup", skip=2)
        return _bind_class(trainable, tuple(Parameter(*item) for item in parameters.items()))
    if isinstance(trainable, type) or not callable(trainable):
        raise TrainableError(
            f"with_parameters() takes a function or a class derived from Trainable, not {trainable!r} "
            f"({a_kind(trainable)})."
        )
    _check_names(trainable, parameters, trainable_name(trainable), skip=1)
    return BoundFunction(trainable, tuple(Parameter(*item) for item in parameters.items()))


class BoundFunction:
    """A function trainable with objects bound to some of its arguments."""

    def __init__(self, function: Callable[..., object], parameters: tuple[Parameter, ...]) -> None:
        self.function = function
        self.parameters = parameters
        self.__name__ = trainable_name(function)
        self.__doc__ = function.__doc__
        request = getattr(function, RESOURCES, None)
        if request is not None:
            setattr(self, RESOURCES, request)

    def __call__(self, config: dict[str, Any], **others: object) -> object:
        """Call the function with `config`, the bound objects, and any others."""
        return self.function(config, **{parameter.name: parameter.value for parameter in self.parameters}, **others)

    @property
    def __signature__(self) -> inspect.Signature:
        signature = inspect.signature(self.function)
        bound = {parameter.name for parameter in self.parameters}
        left = [argument for name, argument in signature.parameters.items() if name not in bound]
        return signature.replace(parameters=left)

    def __repr__(self) -> str:
        return f"<{self.__name__} with {', '.join(parameter.name for parameter in self.parameters)}>"


def _bind_class(class_: type[Trainable], parameters: tuple[Parameter, ...]) -> type[Trainable]:
    def setup(self: Trainable, config: dict[str, Any]) -> None:
        class_.setup(self, config, **{parameter.name: parameter.value for parameter in parameters})

    return _subclass(class_, {"setup": setup})


def _subclass(class_: type[Any], members: dict[str, object]) -> type[Any]:
    """Return a subclass that goes by the name of its base.

    It is found nowhere by that name, so it is pickled by value, and its base as it would be without us.
    """
    names = {"__module__": class_.__module__, "__qualname__": class_.__qualname__, "__doc__": class_.__doc__}
    return type(class_.__name__, (class_,), {**names, **members})


class _Constant:
    """A resource request as an attribute of a class: a plain function there would become a method."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


def _check_names(function: Callable[..., object], parameters: Mapping[str, object], name: str, *, skip: int) -> None:
    """Refuse a parameter that `function` does not take; its first `skip` arguments (self, config) are not ours."""
    try:
        arguments = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return
    if any(argument.kind is argument.VAR_KEYWORD for argument in arguments):
        return
    offered = [a.name for a in arguments[skip:] if a.kind in (a.POSITIONAL_OR_KEYWORD, a.KEYWORD_ONLY)]
    for parameter in parameters:
        if parameter not in offered:
            raise TrainableError(
                f"with_parameters({parameter}=...): {name} takes no argument {parameter!r} beside the config "
                f"(it takes: {', '.join(offered) or 'none'})."
            )


def _amounts(request: object, trainable: object) -> dict[str, float]:
    if isinstance(request, PlacementGroupFactory):
        return request.required_resources
    if not isinstance(request, Mapping):
        raise ResourceError(
            f"The resources of {trainable_name(trainable)} are {request!r} ({a_kind(request)}); expected a "
            "dict such as {'cpu': 2, 'gpu': 1} or a PlacementGroupFactory."
        )
    return _normalised(request, cpus=1.0)


def _normalised(request: Mapping[str, object], cpus: float | None = None) -> dict[str, float]:
    """Return amounts under their usual names; `cpus` is what a request that does not mention CPUs means."""
    amounts: dict[str, float] = {} if cpus is None else {"CPU": cpus}
    for name, amount in request.items():
        if name in _NESTED and isinstance(amount, Mapping):
            amounts.update(_normalised(amount))
        else:
            amounts[_STANDARD.get(str(name).lower(), str(name))] = _amount(name, amount)
    return {name: amount for name, amount in amounts.items() if amount > 0}


def _amount(name: str, amount: object) -> float:
    if isinstance(amount, bool) or not isinstance(amount, (int, float)) or not math.isfinite(amount) or amount < 0:
        raise ResourceError(f"A trial cannot have {amount!r} of the resource {name!r}: use a number of 0 or more.")
    if name.lower() in ("gpu", "num_gpus") and amount > 1 and amount != int(amount):
        raise ResourceError(f"A trial cannot have {amount!r} GPUs: use a fraction below 1, or whole GPUs.")
    return float(amount)


__all__ = [
    "BoundFunction",
    "PlacementGroupFactory",
    "resources_of",
    "with_parameters",
    "with_resources",
]
