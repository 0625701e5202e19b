"""A disk of one's own: an ext4 file system in a file, whose power can be cut."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
_WITHOUT_FLUSHING_THE_LOG = 2


class Disk:
    """A mounted file system.

    Args:
        image: The file that it is in.
        path: Where it is mounted.
    """

    def __init__(self, image: Path, path: Path) -> None:
        self.path = path
        self._image = image

    def mount(self) -> None:
        """Attach it; its own journal is replayed, as after a crash of the machine."""
        run("mount", "-o", "loop", str(self._image), str(self.path))

    def cut_power(self) -> None:
        """Nothing more reaches the disk from now on, and what had not reached it is lost. Every access fails."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _WITHOUT_FLUSHING_THE_LOG))
        finally:
            os.close(descriptor)

    def unmount(self) -> None:
        """Detach it. Nobody may be using it."""
        run("umount", str(self.path))


def run(*command: str) -> None:
    """Run a command that has to succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


@contextlib.contextmanager
def disk(directory: Path, *, megabytes: int = 400) -> Iterator[Disk]:
    """Make a disk and mount it, or skip the test where that is not permitted."""
    made = Disk(directory / "image", directory / "disk")
    made.path.mkdir()
    with (directory / "image").open("wb") as image:
        image.truncate(megabytes << 20)
    try:
        run("mkfs.ext4", "-q", "-F", str(directory / "image"))
        made.mount()
    except OSError as error:
        pytest.skip(f"no file system can be made and mounted here (it takes root, mkfs.ext4 and loop devices): {error}")
    try:
        yield made
    finally:
        subprocess.run(["umount", "-l", str(made.path)], capture_output=True, check=False)


@contextlib.contextmanager
def small_memory_disk(path: Path, size: str) -> Iterator[Path]:
    """Mount a tmpfs of `size` at `path`, or skip the test where that is not permitted."""
    path.mkdir()
    try:
        run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path))
    except OSError as error:
        pytest.skip(f"no tmpfs can be mounted here (it takes root): {error}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], capture_output=True, check=False)


def resize(path: Path, size: str) -> None:
    """Give a `small_memory_disk` another size."""
    run("mount", "-o", f"remount,size={size}", str(path))
