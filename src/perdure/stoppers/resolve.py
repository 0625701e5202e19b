"""From what a user writes as `RunConfig(stop=...)` to a Stopper."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

from perdure.arguments import check_methods
from perdure.errors import ConfigurationError
from perdure.stoppers.base import Stopper
from perdure.stoppers.combined import CombinedStopper
from perdure.stoppers.function import FunctionStopper
from perdure.stoppers.noop import NoopStopper
from perdure.stoppers.thresholds import DictStopper


def resolve_stopper(stop: object) -> Stopper:
    """Return the stopper that `stop` means.

    Args:
        stop: None, a dict of thresholds, a function(trial_id, result) -> bool, a Stopper, or a list of Stoppers.

    Raises:
        ConfigurationError: it is none of these, or a Stopper that lacks a method.
    """
    if stop is None:
        return NoopStopper()
    if isinstance(stop, Stopper):
        check_methods(stop, Stopper, "__call__", "stop_all")
        return stop
    if isinstance(stop, Mapping):
        return DictStopper(stop)
    if isinstance(stop, list):
        combined = CombinedStopper(*stop)
        for one in stop:
            check_methods(one, Stopper, "__call__", "stop_all")
        return combined
    if inspect.isclass(stop) and issubclass(stop, Stopper):
        raise ConfigurationError(f"stop={stop.__name__}: pass an instance, {stop.__name__}(...), not the class.")
    if callable(stop) and FunctionStopper.is_valid_function(stop) and _takes_two(stop):
        return FunctionStopper(stop)
    raise ConfigurationError(
        f"stop={stop!r} of type {type(stop).__name__}: use a dict of thresholds, a function(trial_id, result) -> bool, "
        "a Stopper, or a list of Stoppers."
    )


def _takes_two(function: Callable[..., object]) -> bool:
    try:
        inspect.signature(function).bind("trial id", {})
    except TypeError:
        return False
    except ValueError:  # a builtin that does not tell
        return True
    return True
