"""Removing files and directories, where being gone already is no error."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


def remove_tree(directory: str) -> bool:
    """Remove `directory` and all in it; return False if it was not there.

    What somebody else removes meanwhile counts as removed. Symbolic links are removed, not followed.
    """
    try:
        entries = os.scandir(directory)
    except FileNotFoundError:
        return False
    with entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                remove_tree(entry.path)
            else:
                remove_file(entry.path)
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return False
    return True


def remove_file(path: str) -> bool:
    """Remove a file; return False if it was not there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


@contextlib.contextmanager
def held_open(directory: str) -> Iterator[None]:
    """Have the blocks of `directory`, should it be removed meanwhile, given back at the end of the `with` block.

    Without it `rmdir` gives them back, and makes everybody wait who wants to add or rename something beside it: 0.2
    ms and more on ext4 with `discard`, where the disk is told.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError:  # gone, or a platform that does not open directories: then there is nothing to hold
        descriptor = -1
    try:
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)
