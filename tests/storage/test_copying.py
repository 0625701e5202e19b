from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.storage import copying
from perdure.storage.copying import Method, copy_path, copy_tree

DATA = os.urandom(3 << 20) + b"tail"


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "_methods", {})


def copied(tmp_path: Path, data: bytes = DATA) -> bytes:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(data)
    copy_path(str(source), str(target))
    return target.read_bytes()


def refusing(number: int):
    def call(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize("data", [b"", b"x", DATA])
def test_bytes_arrive_whatever_the_file_system_offers(tmp_path: Path, data: bytes) -> None:
    assert copied(tmp_path, data) == data


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_each_way_falls_back_to_the_next_and_that_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(copying.fcntl, "ioctl", refusing(number))
    monkeypatch.setattr(os, "copy_file_range", refusing(number))
    assert copied(tmp_path) == DATA
    assert list(copying._methods.values()) == [Method.PLAIN]
    assert copied(tmp_path) == DATA


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_real_failure_is_not_taken_for_a_lack_of_support(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(copying.fcntl, "ioctl", refusing(number))
    with pytest.raises(OSError, match=os.strerror(number)):
        copied(tmp_path)


def test_a_file_whose_size_the_kernel_does_not_know_is_read(tmp_path: Path) -> None:
    if not os.path.exists("/proc/self/status"):
        pytest.skip("no /proc")
    target = tmp_path / "target"
    copy_path("/proc/version", str(target))
    assert target.read_text() == Path("/proc/version").read_text()


def test_a_tree_is_copied_over_what_is_there(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep" / "empty").mkdir(parents=True)
    (source / "deep" / "file").write_text("new")
    (source / "left out").write_text("x")
    (source / "deep" / "left out").write_text("kept below the top")
    (source / "link").symlink_to(source / "deep" / "file")
    (source / "run.sh").write_text("#!/bin/sh\n")
    os.chmod(source / "run.sh", 0o755)
    target = tmp_path / "target"
    (target / "deep").mkdir(parents=True)
    (target / "deep" / "file").write_text("a longer old text")
    (target / "mine").write_text("stays")
    copy_tree(str(source), str(target), leave_out=frozenset({"left out"}))
    assert (target / "deep" / "file").read_text() == "new"
    assert (target / "mine").read_text() == "stays"
    assert not (target / "left out").exists()
    assert (target / "deep" / "left out").exists()
    assert (target / "deep" / "empty").is_dir()
    assert not (target / "link").is_symlink()
    assert (target / "link").read_text() == "new"
    assert os.access(target / "run.sh", os.X_OK)


@pytest.fixture
def reflinking(tmp_path: Path) -> Iterator[Path]:
    """A directory on a file system that can reflink, mounted for the test."""
    if shutil.which("mkfs.xfs") is None:
        pytest.skip("REFLINK NOT TESTED: mkfs.xfs is not installed (package xfsprogs)")
    image, mounted = tmp_path / "disk.img", tmp_path / "disk"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(400 << 20)
    for command in (["mkfs.xfs", "-q", str(image)], ["mount", "-o", "loop", str(image), str(mounted)]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"REFLINK NOT TESTED: {' '.join(command)}: {done.stderr.strip()}")
    try:
        yield mounted
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


def test_a_reflink_shares_the_bytes_and_survives_a_later_write(reflinking: Path) -> None:
    source, target = reflinking / "source", reflinking / "target"
    data = os.urandom(64 << 20)
    source.write_bytes(data)
    os.sync()
    before = os.statvfs(reflinking).f_bavail
    copy_path(str(source), str(target))
    os.sync()
    assert list(copying._methods.values()) in ([], [Method.REFLINK])
    assert (before - os.statvfs(reflinking).f_bavail) * os.statvfs(reflinking).f_frsize < len(data) // 2
    source.write_bytes(b"changed")
    assert target.read_bytes() == data
