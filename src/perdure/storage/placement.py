"""Where a file system puts what is made in a directory, as far as it can be told."""

from __future__ import annotations

import array
import contextlib
import os
import sys

if sys.platform != "win32":
    import fcntl

BLOCK_DEVICES, EXT4_MOUNTS, JOURNALS = "/sys/dev/block", "/proc/fs/ext4", "/proc/fs/jbd2"
GET_FLAGS, SET_FLAGS = 0x80086601, 0x40086602
"""`FS_IOC_GETFLAGS` and `FS_IOC_SETFLAGS` of ioctl(2), where a long has 64 bits."""
TOP = 0x00020000
"""`FS_TOPDIR_FL`, `chattr +T`: directories made in this one have nothing to do with each other."""


def place_apart(directory: str | os.PathLike[str]) -> bool:
    """Have an ext4 without a journal place the directories made in `directory` apart. True if it will.

    Such a file system passes over each inode that was deleted within the last minutes when it makes one in the same
    block group, and by itself it puts a whole tree into one group. Whoever has deleted thousands of files near by makes
    every new file take 0.3 to 1.2 ms instead of 0.02 to 0.06. Others are left as they are: on a disk with a moving head
    it is better that what is made together lies together.
    """
    with contextlib.suppress(OSError):
        if _is_ext4_without_journal(os.stat(directory).st_dev):
            _add_flag(directory, TOP)
            return True
    return False


def _is_ext4_without_journal(device: int) -> bool:
    name = os.path.basename(os.readlink(f"{BLOCK_DEVICES}/{os.major(device)}:{os.minor(device)}"))
    if not os.path.isdir(os.path.join(EXT4_MOUNTS, name)):
        return False
    journals = os.listdir(JOURNALS) if os.path.isdir(JOURNALS) else []
    return not any(journal.startswith(f"{name}-") for journal in journals)


def _add_flag(directory: str | os.PathLike[str], flag: int) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        flags = array.array("i", [0])
        fcntl.ioctl(descriptor, GET_FLAGS, flags)
        if not flags[0] & flag:
            flags[0] |= flag
            fcntl.ioctl(descriptor, SET_FLAGS, flags)
    finally:
        os.close(descriptor)
