"""The steps from committed to durable: digests, then the disk. What they promise is in `manager`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from perdure.checkpoints.digests import EachChunk, copy_file, digest_file, write_digests
from perdure.checkpoints.manifest import (
    check_digest,
    check_sizes,
    decode_manifest,
    known_digests,
    read_manifest_bytes,
)
from perdure.storage.faults import fault_point
from perdure.storage.layout import DIGESTS, MANIFEST
from perdure.storage.removal import remove_file
from perdure.storage.sync import fsync_path, fsync_tree
from perdure.storage.temporaries import sweep_temporaries, temporary_beside


def complete_digests(folder: str, each_chunk: EachChunk | None = None) -> None:
    """Make sure that every file of the checkpoint in `folder` has its digest on record.

    Sizes are compared first, so a checkpoint that was cut short is not blessed. Digests on record are never replaced.

    Args:
        folder: The checkpoint's directory.
        each_chunk: Called after each chunk that is read.

    Raises:
        CheckpointCorruptError, CheckpointMissingError: it is not what was committed.
        StorageError: it cannot be read right now.
        OSError: the digests cannot be taken or recorded right now.
    """
    data = read_manifest_bytes(folder)
    manifest = decode_manifest(data, os.path.join(folder, MANIFEST))
    check_sizes(folder, manifest)
    if manifest.digested or len(known_digests(folder, manifest, data)) == len(manifest.files):
        return
    files = {
        name: file.digest or digest_file(os.path.join(folder, name), each_chunk)
        for name, file in manifest.files.items()
    }
    fault_point("durable.digested")
    write_digests(folder, data, files)
    fault_point("durable.recorded")


def write_anew(folder: str, each_chunk: EachChunk | None = None) -> None:
    """Write the files of the checkpoint in `folder` anew, each into a file that takes the old one's place.

    For one that another process may have tried to sync. If its fsync failed, the kernel told that process alone, and
    takes the pages that it could not write for clean: a second fsync succeeds, and their bytes are nowhere but in
    memory. Pages of new files are dirty, so that the fsync which follows writes them, or fails itself.

    Digests come before the first fsync, so whoever has not recorded them has not tried.

    Args:
        folder: The checkpoint's directory. Whoever reads in it meanwhile finds each file, the old one or the new.
        each_chunk: Called after each chunk that is copied.

    Raises:
        As `complete_digests`.
    """
    data = read_manifest_bytes(folder)
    manifest = decode_manifest(data, os.path.join(folder, MANIFEST))
    check_sizes(folder, manifest)
    known = known_digests(folder, manifest, data)
    for directory in dict.fromkeys(["", *map(os.path.dirname, known)]):
        sweep_temporaries(os.path.join(folder, directory))  # of whoever died while doing this, or taking digests
    if len(known) < len(manifest.files):
        return
    for name, digest in known.items():
        check_digest(folder, name, digest, _rewrite(os.path.join(folder, name), each_chunk))
    for name in (DIGESTS, MANIFEST):
        if os.path.exists(path := os.path.join(folder, name)):
            _rewrite(path, each_chunk)


def _rewrite(path: str, each_chunk: EachChunk | None) -> str:
    """Replace a file by a copy that shares no block with it; return the digest of both."""
    temporary = temporary_beside(path)
    try:
        digest = copy_file(path, temporary, each_chunk)
        shutil.copystat(path, temporary)
        fault_point("durable.copied")
        os.replace(temporary, path)
        fault_point("durable.replaced")
    except BaseException:
        remove_file(temporary)
        raise
    return digest


def sync_checkpoints(folders: Sequence[str]) -> dict[str, OSError]:
    """Return when these checkpoints, and the way to them from the experiment's directory, have reached the disk.

    Returns:
        By folder, why one may not have. That one is not to be tried again: the kernel may have dropped the pages that
        it could not write, and a second fsync would return as if it had written them.
    """
    failed: dict[str, OSError] = {}
    for folder in folders:
        try:
            fsync_tree(folder)
        except OSError as error:
            failed[folder] = error
    trials = dict.fromkeys(os.path.dirname(folder) for folder in folders)
    for directory in [*trials, *dict.fromkeys(map(os.path.dirname, trials))]:
        try:
            fsync_path(directory)
        except OSError as error:
            above = os.path.join(directory, "")
            failed |= {folder: error for folder in folders if folder.startswith(above)}
    return failed
