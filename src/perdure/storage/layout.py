"""Names of what perdure puts into a trial's directory and into a checkpoint."""

from __future__ import annotations

import re

MANIFEST = ".perdure.json"
"""Makes a folder a checkpoint."""
DIGESTS = ".perdure-digests.json"
"""Digests of files that have none in the manifest."""
METADATA = ".perdure-metadata.json"
"""The user's own metadata: goes along with the files, outside the digests."""
OWN_FILES = frozenset((MANIFEST, DIGESTS))
"""Left out when a checkpoint's folder is copied or saved again."""

TEMPORARY_PREFIX = ".perdure-tmp-"
"""Of files that are about to be renamed; garbage after a crash."""
STAGING_PREFIX = ".staging-"

_CHECKPOINT = re.compile(r"checkpoint_(\d{6,})", re.ASCII)


def checkpoint_name(number: int) -> str:
    """Return the name of the folder of checkpoint `number`."""
    return f"checkpoint_{number:06d}"


def checkpoint_number(name: str) -> int | None:
    """Return the number of the checkpoint folder called `name`, or None if no checkpoint has that name."""
    match = _CHECKPOINT.fullmatch(name)
    if match is None:
        return None
    number = int(match[1])
    return number if checkpoint_name(number) == name else None


def staging_name(attempt: int, number: int) -> str:
    """Return the name of a staging directory; no two attempts of a trial share one."""
    return f"{STAGING_PREFIX}{attempt}-{number}"
