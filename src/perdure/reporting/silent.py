"""The display of `verbose=0`: nothing at all, but for what is wrong with loggers."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.core.events import AnyEvent
    from perdure.core.state import State
    from perdure.reporting.base import RunInfo

_log = logging.getLogger(__name__)


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

    def warn(self, text: str) -> None:
        """Log it: to be silent is to say nothing of what goes well."""
        _log.warning(text)

    def close(self, reason: str = "") -> None:
        """Do nothing."""
