"""Points that a user wants tried first: a space in which some parameters have their value already."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from perdure.errors import ConfigurationError
from perdure.search_space.domains import Domain, as_domain
from perdure.search_space.paths import Path, path_text
from perdure.search_space.space import Fixed

log = logging.getLogger(__name__)


def with_point(tree: Mapping[str, Any], point: Mapping[str, Any], path: Path = ()) -> dict[str, Any]:
    """Return the space `tree` with the values of `point` in place of what would be searched there.

    A value outside its domain is used all the same, with a warning: the user may know better.

    Raises:
        ConfigurationError: `point` is no dict, or has a key that the space has not.
    """
    if not isinstance(point, Mapping):
        raise ConfigurationError(f"A point of points_to_evaluate must be a dict, not {point!r}.")
    preset = dict(tree)
    for key, value in point.items():
        if key not in preset:
            raise ConfigurationError(
                f"points_to_evaluate has a value for {path_text((*path, key))!r}, which is not in param_space. "
                "Add it there, or take it out of the point."
            )
        preset[key] = _overlay(preset[key], value, (*path, key))
    return preset


def _overlay(node: Any, value: Any, path: Path) -> Any:
    domain = as_domain(node)
    if domain is not None:
        if not _is_valid(domain, value):
            log.warning("Point value %r is not in the domain %s of %r.", value, domain.domain_str, path_text(path))
        return Fixed(value)
    if isinstance(node, dict) and isinstance(value, Mapping):
        return with_point(node, value, path)
    if isinstance(node, (list, tuple)) and isinstance(value, (list, tuple)) and len(node) == len(value):
        parts = [_overlay(part, new, (*path, index)) for index, (part, new) in enumerate(zip(node, value, strict=True))]
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
