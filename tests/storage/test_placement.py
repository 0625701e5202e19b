from __future__ import annotations

import array
import os
import sys
from pathlib import Path

import pytest

from perdure.storage import placement
from perdure.storage.placement import GET_FLAGS, TOP, place_apart


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The flags that directories are given, on a machine whose `/tmp` lies on a disk called sdx."""
    device = os.stat(tmp_path).st_dev
    for name in ("block", "ext4", "jbd2"):
        (tmp_path / name).mkdir()
    (tmp_path / "block" / f"{os.major(device)}:{os.minor(device)}").symlink_to("../../devices/virtual/block/sdx")
    flags: list[int] = []
    monkeypatch.setattr(placement, "BLOCK_DEVICES", str(tmp_path / "block"))
    monkeypatch.setattr(placement, "EXT4_MOUNTS", str(tmp_path / "ext4"))
    monkeypatch.setattr(placement, "JOURNALS", str(tmp_path / "jbd2"))
    monkeypatch.setattr(placement, "_add_flag", lambda _, flag: flags.append(flag))
    return flags


def test_an_ext4_without_a_journal_is_told(tmp_path: Path, told: list[int]) -> None:
    (tmp_path / "ext4" / "sdx").mkdir()
    (tmp_path / "jbd2" / "sdx1-8").mkdir()  # another disk's
    assert place_apart(tmp_path)
    (tmp_path / "jbd2" / "sdx1-8").rmdir()
    (tmp_path / "jbd2").rmdir()  # no file system has a journal
    assert place_apart(tmp_path)
    assert told == [TOP, TOP]


def test_other_file_systems_are_left_as_they_are(tmp_path: Path, told: list[int]) -> None:
    assert not place_apart(tmp_path), "no ext4"
    (tmp_path / "ext4" / "sdx").mkdir()
    (tmp_path / "jbd2" / "sdx-8").mkdir()
    assert not place_apart(tmp_path), "with a journal"
    assert not place_apart(tmp_path / "gone")
    for path in (tmp_path / "block").iterdir():
        path.unlink()
    assert not place_apart(tmp_path), "no disk that has a name"
    assert told == []


@pytest.mark.skipif(sys.platform != "linux", reason="flags of directories are Linux's")
def test_what_it_says_is_what_the_file_system_has(tmp_path: Path) -> None:
    import fcntl

    for _ in range(2):
        placed = place_apart(tmp_path)
        flags = array.array("i", [0])
        descriptor = os.open(tmp_path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, GET_FLAGS, flags)
        except OSError:
            flags[0] = 0  # a file system without such flags
        finally:
            os.close(descriptor)
        assert placed == bool(flags[0] & TOP)
