"""Schedulers: which trials go on, which wait, which are stopped."""

from __future__ import annotations

from perdure.schedulers.registry import create_scheduler

__all__ = ["create_scheduler"]
