"""Arguments by names that a function or class does not have, or of another kind than it takes: said with what to write.

Python's own TypeError names the argument. Scripts come here from many releases of Ray Tune, whose arguments were
renamed and moved about, so the answer is most often known: it is an argument of another class, or was replaced. And
what comes from a command line or a file is a string where a number is meant: said here, and not once trials run.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import math
import numbers
import os
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

    One that hands further arguments on, as `**kwargs`, is left as it is.

    Args:
        called: What its users call it, for example "tune.run".
        older: What to write in place of an argument of an older release, by its name; or a function of all unknown
            arguments that returns it.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        parameters = list(inspect.signature(function).parameters.values())
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            return function
        if parameters and parameters[0].name in ("self", "cls"):
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


def named_arguments(older: Mapping[str, str] | None = None, hints: Mapping[str, str] | None = None) -> Callable[[C], C]:
    """Decorate a class as `named` does a function; its arguments are also refused if they are of another kind.

    What kind one is says its annotation, where that is made of those in `_KINDS`.

    Args:
        older: See `named`.
        hints: What to add, by the name of an argument that is of another kind.
    """

    def decorate(class_: C) -> C:
        initialise = of_their_kinds(class_.__name__, hints or {})(class_.__init__)
        class_.__init__ = named(class_.__name__, older)(initialise)  # type: ignore[method-assign]
        return class_

    return decorate


def named_fields(older: Mapping[str, str] | None = None) -> Callable[[C], C]:
    """Decorate a configuration class, which checks itself, as `named` does; make its arguments known to the others."""

    def decorate(class_: C) -> C:
        for name in inspect.signature(class_).parameters:
            _homes.setdefault(name, class_.__name__)
        class_.__init__ = named(class_.__name__, older)(class_.__init__)  # type: ignore[method-assign]
        return class_

    return decorate


def of_their_kinds(called: str, hints: Mapping[str, str]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function so that an argument of another kind than its annotation raises ConfigurationError."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        parameters = inspect.signature(function).parameters.values()
        order = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        expected = {p.name: kinds for p in parameters if (kinds := _kinds(p.annotation))}

        @functools.wraps(function)
        def checked(*args: P.args, **given: P.kwargs) -> R:
            for name, value in (*zip(order, args, strict=False), *given.items()):
                kinds = expected.get(name)
                if kinds and not any(_KINDS[kind][0](value) for kind in kinds):
                    use = " or ".join(_KINDS[kind][1] for kind in kinds)
                    hint = f" {hints[name]}" if name in hints else ""
                    raise ConfigurationError(f"{called}({name}={value!r:.80}): use {use}, not {a_kind(value)}.{hint}")
            return function(*args, **given)

        return checked

    return decorate


def _kinds(annotation: object) -> list[str]:
    """Return the kinds that an annotation is made of; none if it has others, too."""
    if not isinstance(annotation, str):  # there is none, or the module does not keep them as text
        return []
    kinds = [one.partition("[")[0] for one in annotation.split(" | ")]
    return kinds if all(kind in _KINDS for kind in kinds) else []


def is_number(value: object) -> bool:
    """Whether `value` is a number, which True and False are not here."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    """Whether `value` is a whole number, 3.0 and infinity among them, which serve as well."""
    return is_number(value) and (isinstance(value, numbers.Integral) or value in (math.inf, value // 1))  # type: ignore[operator]


def _is_flag(value: object) -> bool:
    """Whether `value` is True or False, or NumPy's, or 1 or 0."""
    return type(value).__name__ in ("bool", "bool_") or (isinstance(value, numbers.Integral) and value in (0, 1))


def _is_sequence(value: object) -> bool:
    """Whether `value` is a row of things, arrays among them; a string is one thing."""
    return hasattr(value, "__iter__") and not isinstance(value, (str, bytes, Mapping))


_KINDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "int": (_is_whole, "a whole number"),
    "float": (is_number, "a number"),
    "bool": (_is_flag, "True or False"),
    "str": (lambda value: isinstance(value, str), "a string"),
    "os.PathLike": (lambda value: isinstance(value, os.PathLike), "a path"),
    "dict": (lambda value: isinstance(value, Mapping), "a dict"),
    "Mapping": (lambda value: isinstance(value, Mapping), "a dict"),
    "list": (_is_sequence, "a list"),
    "Sequence": (_is_sequence, "a list"),
    "tuple": (_is_sequence, "a tuple"),
    "Callable": (callable, "a function"),
    "None": (lambda value: value is None, "None"),
}
"""How what an annotation names is recognised, and what people call it."""


def a_kind(value: object) -> str:
    """Return what kind of thing `value` is, with its article: "an int"."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeio' else 'a'} {name}"


def _advice(name: str, known: frozenset[str], older: Mapping[str, str]) -> str:
    if name in older:
        return older[name]
    importlib.import_module("perdure.config")  # whose classes make their arguments known
    if name in _homes:
        return f"{name} is an argument of tune.{_homes[name]}."
    import difflib

    public = sorted(name for name in known if not name.startswith("_"))
    near = difflib.get_close_matches(name, public, n=1)
    if near:
        return f"Did you mean {near[0]}?"
    return f"It has {', '.join(public)}." if public else "It takes none."


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
