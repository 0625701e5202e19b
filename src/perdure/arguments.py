"""Arguments by names that a function or class does not have: said with what to write instead.

Python's own TypeError names the argument. Scripts come here from many releases of Ray Tune, whose arguments were
renamed and moved about, so the answer is most often known: it is an argument of another class, or was replaced.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import numbers
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

from perdure.errors import ArgumentError, ConfigurationError

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound="type[object]")

_homes: dict[str, str] = {}
"""The configuration class, by each argument of it."""


def named(
    called: str, older: Mapping[str, str] | Callable[[Mapping[str, object]], str] | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function so that an argument it does not have raises ArgumentError, with what to write.

    Args:
        called: What its users call it, for example "tune.run".
        older: What to write in place of an argument of an older release, by its name; or a function of all unknown
            arguments that returns it.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        parameters = list(inspect.signature(function).parameters.values())
        if function.__name__ == "__init__":
            del parameters[0]
        known = frozenset(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))

        @functools.wraps(function)
        def checked(*args: P.args, **given: P.kwargs) -> R:
            if not known.issuperset(given):
                unknown = {name: value for name, value in given.items() if name not in known}
                advice = older(unknown) if callable(older) else _advice(next(iter(unknown)), known, older or {})
                names = ", ".join(f"{name}=..." for name in unknown)
                raise ArgumentError(f"{called}({names}): there is no such argument. {advice}")
            return function(*args, **given)

        return checked

    return decorate


def named_arguments(older: Mapping[str, str] | None = None) -> Callable[[C], C]:
    """Decorate a class as `named` does a function."""

    def decorate(class_: C) -> C:
        initialise = class_.__init__
        class_.__init__ = named(class_.__name__, older)(initialise)  # type: ignore[method-assign]
        return class_

    return decorate


def named_fields(older: Mapping[str, str] | None = None) -> Callable[[C], C]:
    """Decorate a configuration class as `named_arguments` does, and make its arguments known to the others."""

    def decorate(class_: C) -> C:
        for name in inspect.signature(class_).parameters:
            _homes.setdefault(name, class_.__name__)
        return named_arguments(older)(class_)

    return decorate


def _advice(name: str, known: frozenset[str], older: Mapping[str, str]) -> str:
    if name in older:
        return older[name]
    importlib.import_module("perdure.config")  # whose classes make their arguments known
    if name in _homes:
        return f"{name} is an argument of tune.{_homes[name]}."
    import difflib

    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"Did you mean {near[0]}?"
    public = sorted(name for name in known if not name.startswith("_"))
    return f"It has {', '.join(public)}." if public else "It takes none."


def check_numbers(called: str, **given: object) -> None:
    """Refuse arguments that are no numbers, a string from a command line for example, before they are compared.

    Raises:
        ConfigurationError: one is none; names it.
    """
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise ConfigurationError(f"{called}({name}={value!r}): use a number, not a {type(value).__name__}.")


def check_methods(plugin: object, port: type, *names: str) -> None:
    """Refuse a user's object that lacks methods which its base class leaves to it.

    Raises:
        ConfigurationError: it does; names them.
    """
    missing = [name for name in names if getattr(getattr(plugin, name), "__func__", None) is getattr(port, name)]
    if missing:
        kind, lacked = type(plugin).__name__, " and ".join(missing)
        raise ConfigurationError(
            f"{kind} does not define {lacked}, which each {port.__name__} has to. Nothing was started; add it to the "
            "class, as the documentation of its base says."
        )
