"""`perdure unpin EXPERIMENT TRIAL[/CHECKPOINT]`: leave a pinned checkpoint to the retention policy again."""

from __future__ import annotations

import argparse

from perdure.cli.pin import configure, pin

__all__ = ["configure", "run"]


def run(arguments: argparse.Namespace) -> int:
    """Unpin."""
    return pin(arguments, pinned=False)
