"""Hyperparameter tuning whose trials outlast failure: `from perdure import train, tune`."""

from __future__ import annotations

__version__ = "0.1.0"
