"""Search algorithms: what configuration is tried next."""

from __future__ import annotations

from perdure.searchers.registry import create_searcher

__all__ = ["create_searcher"]
