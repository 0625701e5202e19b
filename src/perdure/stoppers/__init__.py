"""Stop rules: when a trial, or the whole experiment, ends."""

from __future__ import annotations

from perdure.stoppers.resolve import resolve_stopper

__all__ = ["resolve_stopper"]
