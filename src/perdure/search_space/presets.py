"""Points that a user wants tried first: a space in which some parameters have their value already."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from perdure.arguments import a_kind
from perdure.errors import ConfigurationError
from perdure.search_space.domains import Domain, as_domain
from perdure.search_space.paths import Path, path_text
from perdure.search_space.space import Fixed

log = logging.getLogger(__name__)


@contextlib.contextmanager
def trying(number: int, whose: str) -> Iterator[None]:
    """Have what is wrong with a point to evaluate say which point it is."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"points_to_evaluate[{number}] of {whose} cannot be tried. {error}") from None


def nested(tree: Mapping[str, Any], point: Any, path: Path = (), *, known_only: bool = False) -> dict[str, Any]:
    """Return `point` in dicts as the space `tree` has them: "model/lr" stands for "lr" in "model".

    A place in a list has its number. What stands at a domain is taken as it is, and so is what is no dict where the
    space has one.

    Args:
        tree: The space, or a part of it.
        point: Values by name.
        path: Where the part stands in the space.
        known_only: Leave out what the space has not, instead of refusing it.

    Raises:
        ConfigurationError: `point` is no dict, or has a name that the space has not.
    """
    if not isinstance(point, Mapping):
        raise ConfigurationError(f"It must be a dict, not {point!r} ({a_kind(point)}).")
    found: dict[str, Any] = {}
    for key, value in point.items():
        place = (key,) if key in tree else _place(tree, key.split("/")) if isinstance(key, str) else None
        if place is None and known_only:
            continue
        if place is None:
            raise ConfigurationError(
                f"There is a value for {path_text((*path, key))!r}, which is not in param_space. "
                "Add it there, or take it out of the point."
            )
        _put(found, place, _nested_at(tree, place, value, path, known_only=known_only))
    return found


def _place(node: Any, names: list[str]) -> Path | None:
    """Return the keys that lead from `node` along `names`, of which several may make one key; None if none do."""
    if not names:
        return ()
    if as_domain(node) is not None:
        return tuple(names)  # in what is chosen there
    for end in range(len(names), 0, -1):
        key: Any = "/".join(names[:end])
        if isinstance(node, (list, tuple)):
            key = int(key) if key.isdecimal() and int(key) < len(node) else None
        elif not isinstance(node, dict) or key not in node:
            key = None
        rest = None if key is None else _place(node[key], names[end:])
        if rest is not None:
            return (key, *rest)
    return None


def _nested_at(tree: Any, place: Path, value: Any, path: Path, *, known_only: bool) -> Any:
    for key in place:
        if as_domain(tree) is not None:
            return value
        tree = tree[key]
    if isinstance(tree, (list, tuple)):
        tree = dict(enumerate(tree))
    inside = isinstance(tree, dict) and isinstance(value, Mapping) and as_domain(tree) is None
    return nested(tree, value, (*path, *place), known_only=known_only) if inside else value


def _put(found: dict[Any, Any], place: Path, value: Any) -> None:
    *parents, key = place
    for parent in parents:
        child = found.get(parent)
        found[parent] = {**child} if isinstance(child, dict) else {}  # a copy: it may be the user's own
        found = found[parent]
    both = isinstance(value, dict) and isinstance(found.get(key), dict)
    found[key] = {**found[key], **value} if both else value


def other_constants(tree: Any, point: Any, path: Path = ()) -> Iterator[tuple[str, Any, Any]]:
    """Yield each value of a `nested` point that is not the constant which the space has there.

    Yields:
        Its name, the constant, and the value.
    """
    if as_domain(tree) is not None:
        return
    if isinstance(tree, dict) and isinstance(point, Mapping):
        for key, value in point.items():
            yield from other_constants(tree[key], value, (*path, key))
    elif isinstance(tree, (list, tuple)) and isinstance(point, (list, tuple, Mapping)):
        parts = point.items() if isinstance(point, Mapping) else enumerate(point[: len(tree)])
        for index, value in parts:
            yield from other_constants(tree[index], value, (*path, index))
    elif not _same(tree, point):
        yield path_text(path), tree, point


def with_point(tree: Mapping[str, Any], point: Mapping[str, Any]) -> dict[str, Any]:
    """Return the space `tree` with the values of `point` in place of what would be searched there.

    A value outside its domain is used all the same, with a warning: the user may know better.

    Raises:
        ConfigurationError: `point` is no dict, or has a name that the space has not.
    """
    return _with_nested(tree, nested(tree, point), ())


def _with_nested(tree: Mapping[Any, Any], point: Mapping[Any, Any], path: Path) -> dict[Any, Any]:
    return {**tree, **{key: _overlay(tree[key], value, (*path, key)) for key, value in point.items()}}


def _overlay(node: Any, value: Any, path: Path) -> Any:
    domain = as_domain(node)
    if domain is not None:
        if not _is_valid(domain, value):
            log.warning("Point value %r is not in the domain %s of %r.", value, domain.domain_str, path_text(path))
        return Fixed(value)
    if isinstance(node, dict) and isinstance(value, Mapping):
        return _with_nested(node, value, path)
    if isinstance(node, (list, tuple)):
        if isinstance(value, (list, tuple)) and len(value) == len(node):
            value = dict(enumerate(value))
        if isinstance(value, Mapping):  # by place
            parts = list(_with_nested(dict(enumerate(node)), value, path).values())
            return parts if isinstance(node, list) else tuple(parts)
    if not _same(node, value):
        log.warning("Point value %r replaces the constant %r of %r.", value, node, path_text(path))
    return value


def _is_valid(domain: Domain, value: Any) -> bool:
    try:
        return bool(domain.is_valid(value))
    except (TypeError, ValueError):  # values that cannot be compared, arrays among them
        return False


def _same(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except (TypeError, ValueError):
        return one is other
