"""The disk in memory forgets what it may forget, and nothing else."""

from __future__ import annotations

import os
import random

import pytest

from perdure.testing.simulation.disk import Disk, File

NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL


def _disk() -> Disk:
    disk = Disk(lambda operation, path: setattr(disk, "until_trouble", 1 << 60))
    return disk


def _write(disk: Disk, path: str, data: bytes, *, sync: bool) -> None:
    descriptor = disk.open(path, NEW)
    disk.write(descriptor, data)
    if sync:
        disk.fsync(descriptor)
    disk.close(descriptor)


def _sync(disk: Disk, path: str) -> None:
    descriptor = disk.open(path, os.O_RDONLY)
    disk.fsync(descriptor)
    disk.close(descriptor)


def _after_cuts(make: object, path: str) -> set[bytes | None]:
    found = set()
    for seed in range(60):
        disk = _disk()
        make(disk)  # type: ignore[operator]
        disk.cut_power(random.Random(seed))
        found.add(disk.peek(path))
    return found


def test_what_was_synced_with_its_name_is_there() -> None:
    def make(disk: Disk) -> None:
        _write(disk, "/disk/a", b"kept", sync=True)
        _sync(disk, "/disk")

    assert _after_cuts(make, "/disk/a") == {b"kept"}


def test_a_synced_file_whose_name_was_not_may_be_gone() -> None:
    assert _after_cuts(lambda disk: _write(disk, "/disk/a", b"kept", sync=True), "/disk/a") == {b"kept", None}


def test_a_file_that_was_not_synced_may_be_torn_or_zeros() -> None:
    def make(disk: Disk) -> None:
        _write(disk, "/disk/a", b"abc", sync=False)
        _sync(disk, "/disk")

    assert {b"", b"abc", b"a", b"a\0\0", b"ab\0"} <= _after_cuts(make, "/disk/a")


def test_what_was_appended_since_a_sync_costs_nothing_before_it() -> None:
    def make(disk: Disk) -> None:
        _write(disk, "/disk/a", b"old", sync=True)
        _sync(disk, "/disk")
        descriptor = disk.open("/disk/a", os.O_WRONLY | os.O_APPEND)
        disk.write(descriptor, b"new")

    found = _after_cuts(make, "/disk/a")
    assert all(data is not None and data.startswith(b"old") for data in found)
    assert len(found) > 2


def test_a_rename_that_was_not_synced_happened_or_did_not() -> None:
    def make(disk: Disk) -> None:
        _write(disk, "/disk/a", b"one", sync=True)
        _write(disk, "/disk/b", b"two", sync=True)
        _sync(disk, "/disk")
        disk.rename("/disk/b", "/disk/a")

    assert _after_cuts(make, "/disk/a") == {b"one", b"two"}


def test_a_folder_takes_its_files_along() -> None:
    disk = _disk()
    disk.mkdir("/disk/staging")
    _write(disk, "/disk/staging/state", b"1", sync=False)
    disk.rename("/disk/staging", "/disk/final")
    assert disk.peek("/disk/final/state") == b"1"
    assert disk.peek("/disk/staging/state") is None
    with pytest.raises(OSError, match="not empty"):
        disk.rmdir("/disk/final")


def test_a_sync_that_failed_once_never_writes_what_it_lost() -> None:
    disk = _disk()
    _write(disk, "/disk/a", b"lost", sync=False)
    _sync(disk, "/disk")

    def fails(operation: str, path: str) -> None:
        disk.until_trouble = 1 << 60
        raise OSError(5, operation, path)

    descriptor = disk.open("/disk/a", os.O_RDONLY)
    disk.trouble, disk.until_trouble = fails, 1
    with pytest.raises(OSError, match="sync"):
        disk.fsync(descriptor)
    disk.fsync(descriptor)
    file = disk.nodes["/disk/a"]
    assert isinstance(file, File)
    assert file.synced == b""


def test_a_full_disk_takes_half_and_then_refuses() -> None:
    disk = _disk()
    descriptor = disk.open("/disk/a", NEW)
    disk.full = True
    assert disk.write(descriptor, b"12345678") == 4
    with pytest.raises(OSError, match="No space"):
        disk.write(descriptor, b"1")
    with pytest.raises(OSError, match="No space"):
        disk.mkdir("/disk/b")
