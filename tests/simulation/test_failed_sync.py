"""A sync that failed: what the next driver finds in the cache is not on the disk, and its own sync would succeed."""

from __future__ import annotations

import dataclasses
import errno
import os
import random

import pytest

from perdure.checkpoints.manager import Durable, Failed
from perdure.checkpoints.manifest import SMALL, verify_checkpoint
from perdure.checkpoints.transfer import Saver
from perdure.core.events import Source
from perdure.errors import StorageError
from perdure.journal.file import FileJournal, FileJournalReader
from perdure.testing.journal import report
from perdure.testing.simulation import Case, draw, simulate
from perdure.testing.simulation.background import ScheduledManager
from perdure.testing.simulation.disk import Disk
from perdure.testing.simulation.faults import ALL_BUT_SYNCS
from perdure.testing.simulation.machine import Machine
from perdure.testing.simulation.workload import OPENING

NEVER = 1 << 60
SOURCE = Source(trial="t", number=0)


def failing_syncs(seed: int) -> Case:
    """Return an experiment whose drivers die of syncs that fail, or soon after; at last the power is cut."""
    workload, faults = draw(seed)
    faults = dataclasses.replace(
        faults,
        crashes=(NEVER, random.Random(seed).randint(OPENING, workload.driver_steps)),
        power_cuts=(False, True),
        errors=0.03,
        spares=ALL_BUT_SYNCS,
        dies_of_errors=1.0,
        dies=0.0,
        fails=0.0,
        hangs=0.0,
        breaks=0.0,
        slow_disk_s=0.0,
        fills=0.0,
        lies=0.0,
    )
    return dataclasses.replace(workload, every=1, stop=None, strict=False), faults


class FailingDisk(Disk):
    """Fails at the syncs of whatever has a word in its path, as long as there is one."""

    def __init__(self) -> None:
        super().__init__(self._look)
        self.failing = ""

    def _look(self, operation: str, path: str) -> None:
        self.until_trouble = 1
        if operation == "sync" and self.failing and self.failing in path:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)


@pytest.mark.parametrize("seed", range(20))
def test_the_next_driver_brings_it_to_the_disk_before_it_promises_it(seed: int) -> None:
    """And so a power cut takes none of it."""
    disk = FailingDisk()
    machine = Machine(disk)
    with machine.mounted():
        machine.pid = 1
        first = FileJournal("/disk/experiment")
        first.append([report(1)])
        first.sync()
        first.append([report(2)])
        disk.failing = "journal"
        with pytest.raises(StorageError, match="The disk refused"):
            first.sync()
        disk.failing = ""

        machine.pid = 2  # the first driver is dead
        second = FileJournal("/disk/experiment")
        second.append([report(3)])
        second.sync()
        disk.cut_power(random.Random(seed))
        found = [event for _, event in FileJournalReader("/disk/experiment").read()]
    assert found == [report(1), report(2), report(3)]


@pytest.mark.parametrize("lost", ["model", ".perdure.json", ".perdure-digests.json"])
@pytest.mark.parametrize("size", [8, SMALL + 1])
def test_the_next_driver_brings_a_checkpoint_to_the_disk_before_it_promises_it(size: int, lost: str) -> None:
    """The first one dies before it can say that it failed."""
    if size <= SMALL and lost == ".perdure-digests.json":
        return  # there is none
    for seed in range(12):
        disk = FailingDisk()
        with Machine(disk).mounted():
            disk.makedirs("/disk/experiment/trial")
            saver = Saver("/disk/experiment/trial", trial="t", attempt=1)
            descriptor = disk.open(f"{(staging := saver.staging())}/model", os.O_WRONLY | os.O_CREAT)
            disk.write(descriptor, b"1" * size)
            info = saver.commit(staging, row={}, iteration=1, time_total_s=1.0)
            folder = f"/disk/experiment/trial/{info.directory}"
            for inherited in (False, True):
                disk.failing = "" if inherited else lost
                manager = ScheduledManager("/disk/experiment", clock=lambda: 0.0, slow_s=0.0)
                manager.make_durable(SOURCE, folder, size, digested=info.digested, inherited=inherited)
                manager.work(0.0)
                (done,) = manager.poll()
                assert type(done) is (Durable if inherited else Failed)
            disk.sync_all()  # the names above, which nobody doubts
            disk.cut_power(random.Random(seed))
            verify_checkpoint(folder)


@pytest.mark.parametrize("first", (0, 350))
def test_what_was_promised_holds_where_syncs_fail_and_drivers_die_of_it(first: int) -> None:
    for seed in range(first, first + 50):
        simulate(seed, case=failing_syncs(seed)).forget()
