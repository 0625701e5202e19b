"""Where a value stands in a nested configuration."""

from __future__ import annotations

from typing import Any

Path = tuple[Any, ...]
"""Keys and list indices from the root."""


class _Inside:
    """Stands in a path for "the value that was chosen here", where that is a domain itself."""

    def __repr__(self) -> str:
        return "~"


INSIDE = _Inside()


def path_text(path: Path) -> str:
    """Return `path` as people and tables know it: joined by "/"."""
    return "/".join(str(key) for key in path if key is not INSIDE)


def sort_key(path: Path) -> tuple[tuple[str, Any], ...]:
    """Order paths as Python orders their keys, and keys of different types by type."""
    return tuple((type(key).__name__, key if isinstance(key, (int, float, str)) else repr(key)) for key in path)


def flatten(config: Any, path: Path = ()) -> dict[str, Any]:
    """Return the leaves of nested dicts under "/"-joined keys; an empty dict is a leaf."""
    if not isinstance(config, dict) or (not config and path):
        return {path_text(path): config}
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat.update(flatten(value, (*path, key)))
    return flat
