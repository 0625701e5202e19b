"""Files in the making: what they are called until they are renamed, and which of them nobody will ever finish.

A name tells who makes it: the process, and the machine, boot and pid namespace in which its id means anything.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import time

import xxhash

from perdure.storage import processes
from perdure.storage.layout import TEMPORARY_PREFIX
from perdure.storage.removal import remove_file, remove_tree

ABANDONED_S = 3600.0
"""What somebody on another machine began so long ago is taken for abandoned."""

_NAME = re.compile(re.escape(TEMPORARY_PREFIX) + r"([0-9a-f]{16})-(\d+)-\d+-[0-9a-f]+", re.ASCII)
_count = itertools.count()


def temporary_name() -> str:
    """Return a name for what is to be renamed; nobody else has it."""
    return f"{TEMPORARY_PREFIX}{_here()}-{os.getpid()}-{next(_count)}-{os.urandom(4).hex()}"


def temporary_beside(path: str) -> str:
    """Return a path for what is to be renamed to `path`."""
    return os.path.join(os.path.dirname(path), temporary_name())


def sweep_temporaries(directory: str | os.PathLike[str]) -> None:
    """Remove what nobody will ever finish right in a directory, which need not be there."""
    try:
        with os.scandir(directory) as entries:
            paths = [entry.path for entry in entries if entry.name.startswith(TEMPORARY_PREFIX)]
    except OSError:
        return
    for path in filter(is_abandoned, paths):
        remove_temporary(path)


def remove_temporary(path: str) -> None:
    """Remove a file or directory in the making, if it can be: it harms nobody."""
    with contextlib.suppress(OSError):
        if os.path.isdir(path):
            remove_tree(path)
        else:
            remove_file(path)


def is_abandoned(path: str) -> bool:
    """Whether nobody will ever finish it: its maker is dead, or has left it alone for an hour."""
    made = _NAME.fullmatch(os.path.basename(path))
    if made is not None and made[1] == _here() and not processes.is_alive(int(made[2])):
        return True
    try:
        return time.time() - os.stat(path).st_mtime_ns * 1e-9 > ABANDONED_S
    except OSError:
        return False


def _here() -> str:
    place = f"{processes.hostname()} {processes.boot_id()} {processes.pid_namespace()}"
    return xxhash.xxh3_64_hexdigest(place.encode())
