"""A sync of the journal that failed: what the next driver finds in the cache is not on the disk."""

from __future__ import annotations

import errno
import os
import random

import pytest

from perdure.errors import StorageError
from perdure.journal.file import FileJournal, FileJournalReader
from perdure.testing.journal import report
from perdure.testing.simulation.disk import Disk
from perdure.testing.simulation.machine import Machine

NEVER = 1 << 60


@pytest.mark.parametrize("seed", range(20))
def test_the_next_driver_brings_it_to_the_disk_before_it_promises_it(seed: int) -> None:
    """And so a power cut takes none of it."""

    def calm(operation: str, path: str) -> None:
        disk.until_trouble = NEVER

    def fail(operation: str, path: str) -> None:
        disk.until_trouble, disk.trouble = NEVER, calm
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    disk = Disk(calm)
    machine = Machine(disk)
    with machine.mounted():
        machine.pid = 1
        first = FileJournal("/disk/experiment")
        first.append([report(1)])
        first.sync()
        first.append([report(2)])
        disk.trouble, disk.until_trouble = fail, 1
        with pytest.raises(StorageError, match="The disk refused"):
            first.sync()

        machine.pid = 2  # the first driver is dead
        second = FileJournal("/disk/experiment")
        second.append([report(3)])
        second.sync()
        disk.cut_power(random.Random(seed))
        found = [event for _, event in FileJournalReader("/disk/experiment").read()]
    assert found == [report(1), report(2), report(3)]
