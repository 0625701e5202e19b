"""What the product does on threads of its own, done in turns: the journal's syncs, and the checkpoint manager's work.

A turn comes when virtual time says so, and in between: at a step of the driver on the disk the background may have a
turn, and at a step of the background the driver may.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from perdure.checkpoints.manager import CheckpointManager
from perdure.core.events import Source
from perdure.journal.file import FileJournal

SYNC_INTERVAL_S = 1.0
_NEVER = float("inf")


class ScheduledManager(CheckpointManager):
    """The checkpoint manager, whose rounds are run at times that a slow disk allows."""

    def __init__(self, path: str, *, clock: Callable[[], float], slow_s: float) -> None:
        super().__init__(path, wake=lambda: None, clock=clock)
        self._now = clock
        self._slow_s = slow_s
        self._sync_at = self._delete_at = _NEVER

    def make_durable(
        self,
        source: Source,
        directory: str | os.PathLike[str],
        nbytes: int,
        *,
        digested: bool = False,
        trusted: bool = True,
        inherited: bool = False,
    ) -> None:
        super().make_durable(source, directory, nbytes, digested=digested, trusted=trusted, inherited=inherited)
        self._sync_at = min(self._sync_at, self._now() + self._slow_s)

    def delete(self, source: Source, directory: str | os.PathLike[str]) -> None:
        super().delete(source, directory)
        self._delete_at = min(self._delete_at, self._now() + self._slow_s)

    def work(self, now: float) -> None:
        """Run the rounds that are due."""
        if now >= self._sync_at:
            self._sync_at = _NEVER
            self.sync_round()
            self.large_round()
            if self.backlog.count:
                self._sync_at = now + self._slow_s
        if now >= self._delete_at:
            self._delete_at = _NEVER
            self.delete_round()


class Background:
    """The threads of one session.

    Args:
        drive: Gives the driver a turn, while a thread is in the middle of something.
    """

    def __init__(
        self, journal: FileJournal, manager: ScheduledManager, *, clock: Callable[[], float], drive: Callable[[], None]
    ) -> None:
        self._journal = journal
        self._manager = manager
        self._clock = clock
        self._drive = drive
        self._sync_at = clock() + SYNC_INTERVAL_S
        self._works = self._meddles = False

    def work(self) -> None:
        """Do what is due."""
        if self._works:
            return
        self._works = True
        try:
            now = self._clock()
            if now >= self._sync_at:
                self._sync_at = now + SYNC_INTERVAL_S
                self._journal.keep_up()
                now = self._clock()  # the driver may have had its turn meanwhile
            self._manager.work(now)
        finally:
            self._works = False

    def meddle(self) -> None:
        """In the middle of somebody's work, let the others go on."""
        if self._meddles:
            return
        self._meddles = True
        try:
            if self._works:
                self._drive()
            else:
                self.work()
        finally:
            self._meddles = False
