"""Removing files and directories, where being gone already is no error."""

from __future__ import annotations

import os


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
