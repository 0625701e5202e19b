"""What lies in a directory that is to become a checkpoint, and whether it is still the same a moment later."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from perdure.errors import CheckpointError, CheckpointMissingError


class Found(NamedTuple):
    """One file, as it was when it was listed."""

    size: int
    modified_ns: int
    inode: int
    device: int
    mode: int
    shared: bool
    """Reached through a symbolic link, or known under a second name: its bytes are not this directory's alone."""


class Listing(NamedTuple):
    """The files and directories below a directory, by relative path with "/"."""

    files: dict[str, Found]
    directories: list[str]
    """Parents before children."""
    links: list[str]
    """Those of `directories` that are symbolic links."""


def list_directory(directory: str) -> Listing:
    """List what lies below `directory`, following symbolic links.

    Raises:
        CheckpointMissingError: it does not exist.
        CheckpointError: it is a file, or holds something that cannot be saved; the message names it.
    """
    listing = Listing({}, [], [])
    try:
        _list(directory, "", listing, ())
    except (FileNotFoundError, NotADirectoryError) as error:
        if error.filename != directory:
            raise changed(directory, f"{error.filename} disappeared") from error
        if os.path.lexists(directory):
            raise CheckpointError(f"{directory} is not a directory; a checkpoint is one. Nothing was saved.") from None
        raise CheckpointMissingError(
            f"Nothing was saved: there is no checkpoint directory {directory}. Report while it still exists (inside "
            "the `with tempfile.TemporaryDirectory()` that made it)."
        ) from None
    return listing


def check_unchanged(directory: str, before: Listing) -> None:
    """Raise CheckpointError, naming a file, if what lies below `directory` is not what was listed."""
    after = list_directory(directory)
    if after.files == before.files:
        return
    for name in before.files.keys() | after.files.keys():
        if before.files.get(name) != after.files.get(name):
            raise changed(directory, f"{name} was {_difference(name, before, after)}")


def changed(directory: str, what: str) -> CheckpointError:
    """Return the error that says that the source did not hold still."""
    return CheckpointError(
        f"{directory} changed while it was being saved as a checkpoint: {what}. Nothing was saved; report it once all "
        "writing to it has ended (close files, join threads that save)."
    )


def _list(directory: str, prefix: str, listing: Listing, above: tuple[tuple[int, int], ...]) -> None:
    with os.scandir(directory) as entries:
        for entry in entries:
            name = prefix + entry.name
            found = _stat(entry, directory)
            if stat.S_ISREG(found.st_mode):
                shared = found.st_nlink > 1 or entry.is_symlink()
                listing.files[name] = Found(
                    found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev, found.st_mode, shared
                )
            elif stat.S_ISDIR(found.st_mode):
                key = (found.st_dev, found.st_ino)
                if key in above:
                    raise CheckpointError(f"{entry.path} links to a directory above it. Nothing was saved; remove it.")
                listing.directories.append(name)
                if entry.is_symlink():
                    listing.links.append(name)
                _list(entry.path, name + "/", listing, (*above, key))
            else:
                raise CheckpointError(
                    f"{entry.path} is neither a file nor a directory and cannot be saved. Nothing was saved; remove it."
                )


def _stat(entry: os.DirEntry[str], directory: str) -> os.stat_result:
    try:
        return entry.stat()
    except FileNotFoundError:
        if entry.is_symlink():
            raise CheckpointError(
                f"{entry.path} is a symbolic link to {os.readlink(entry.path)}, which does not exist. Nothing was "
                "saved; remove it."
            ) from None
        raise changed(directory, f"{entry.name} disappeared") from None


def _difference(name: str, before: Listing, after: Listing) -> str:
    if name not in after.files:
        return "removed"
    if name not in before.files:
        return "added"
    if before.files[name].size != after.files[name].size:
        return f"{before.files[name].size} bytes long, then {after.files[name].size}"
    return "written to"
