"""The display of `verbose=0`: nothing at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.core.events import AnyEvent
    from perdure.core.state import State
    from perdure.reporting.base import RunInfo


class SilentDisplay:
    """Shows nothing."""

    wants_output = False
    wants_labels = False

    def start(self, info: RunInfo, history: Iterable[AnyEvent] = (), state: State | None = None) -> None:
        """Do nothing."""

    def observe(self, events: Sequence[AnyEvent]) -> None:
        """Do nothing."""

    def tick(self, now: float) -> None:
        """Do nothing."""

    def output(self, trial: str, line: str) -> None:
        """Do nothing."""

    def close(self, reason: str = "") -> None:
        """Do nothing."""
