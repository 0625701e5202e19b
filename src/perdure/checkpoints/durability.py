"""The steps from committed to durable: digests, then the disk. What they promise is in `manager`."""

from __future__ import annotations

import os

from perdure.checkpoints.digests import EachChunk, digest_file, write_digests
from perdure.checkpoints.manifest import check_sizes, decode_manifest, known_digests, read_manifest_bytes
from perdure.storage.faults import fault_point
from perdure.storage.layout import MANIFEST
from perdure.storage.sync import fsync_path, fsync_tree


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


def sync_checkpoint(folder: str) -> None:
    """Return when the checkpoint, and the way to it from the experiment's directory, have reached the disk.

    Raises:
        OSError: something may not have. It is not to be called again: the kernel may have dropped the pages that it
            could not write, and a second fsync would return as if it had written them.
    """
    fsync_tree(folder)
    trial = os.path.dirname(folder)
    fsync_path(trial)
    fsync_path(os.path.dirname(trial))
