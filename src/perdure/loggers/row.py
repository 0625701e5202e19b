"""A row on its way to the loggers: the dictionary they know, and what is worth working out only once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.rows import flatten


class LoggedRow(dict[str, Any]):
    """A row with the columns Ray Tune fills in, as loggers are given it.

    Args:
        row: The row.
        plain: JSON can hold its metrics as they are: nothing in them is NaN, infinite, a tuple or bytes.
    """

    __slots__ = ("_flat", "plain")

    def __init__(self, row: dict[str, Any], *, plain: bool = False) -> None:
        super().__init__(row)
        self.plain = plain
        self._flat: dict[str, Any] | None = None

    def flat(self) -> dict[str, Any]:
        """Return the row without its configuration, nested metrics joined by "/"."""
        flat = self._flat
        if flat is None:
            flat = self._flat = flat_of(self)
        return flat


def flat_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row without its configuration, nested metrics joined by "/"."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if type(value) is dict:
            if name != "config":
                flat.update(flatten(value, f"{name}/"))
        else:
            flat[name] = value
    return flat
