"""Handing the experiment's metric, mode and space to a searcher, whatever its signature is."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perdure.searchers.base import Searcher


def set_properties(
    searcher: Searcher, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
) -> bool:
    """Call `searcher.set_search_properties`, without `spec` where an older subclass takes none."""
    parameters = inspect.signature(searcher.set_search_properties).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        spec = {}
    return bool(searcher.set_search_properties(metric, mode, config, **spec))
