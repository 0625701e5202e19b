"""What a crash left of a trial's checkpoints: finding what was committed, and sweeping what was not."""

from __future__ import annotations

import os
from collections.abc import Set as AbstractSet

from perdure.checkpoints.manifest import Manifest, read_manifest
from perdure.checkpoints.patience import patiently
from perdure.errors import CheckpointCorruptError, CheckpointMissingError
from perdure.storage.layout import MANIFEST, STAGING_PREFIX, TEMPORARY_PREFIX, checkpoint_number
from perdure.storage.removal import remove_file, remove_tree
from perdure.storage.temporaries import is_abandoned, remove_temporary


def find_committed(trial_path: str | os.PathLike[str], *, first: int = 0) -> list[Manifest]:
    """Return the manifests of the committed checkpoints in a trial's directory, by number.

    Those numbered below `first` are not looked at. Folders without a whole manifest of their own are passed over. Files
    are not looked at: see `verify_checkpoint`.

    Raises:
        CheckpointError: a newer version of perdure wrote one of them.
        StorageError: the directory cannot be read right now; nothing can be said about what is in it.
    """
    found: list[Manifest] = []
    for name in _names(trial_path):
        number = checkpoint_number(name)
        if number is None or number < first:
            continue
        try:
            manifest = read_manifest(os.path.join(trial_path, name))
        except (CheckpointMissingError, CheckpointCorruptError):
            continue
        if manifest.number == number:
            found.append(manifest)
    return sorted(found, key=lambda manifest: manifest.number)


def sweep(trial_path: str | os.PathLike[str], *, keep: AbstractSet[str]) -> list[str]:
    """Remove staging directories, and checkpoint folders that are not in `keep`; return the names removed.

    For a trial of which no process runs. A checkpoint is removed manifest first.

    Args:
        trial_path: The trial's directory.
        keep: Names of the checkpoint folders that the journal knows, or that were adopted.

    Raises:
        StorageError: the directory cannot be read, or something cannot be removed, right now.
    """
    removed: list[str] = []
    for name in _names(trial_path):
        path = os.path.join(trial_path, name)
        if name.startswith(TEMPORARY_PREFIX) and is_abandoned(path):
            remove_temporary(path)
        if name in keep or not (name.startswith(STAGING_PREFIX) or checkpoint_number(name) is not None):
            continue
        patiently(lambda path=path: _remove(path), f"{path}, left over from a crash, cannot be removed")  # type: ignore[misc]
        removed.append(name)
    return removed


def _names(trial_path: str | os.PathLike[str]) -> list[str]:
    try:
        return sorted(patiently(lambda: os.listdir(trial_path), f"The trial's directory {trial_path} cannot be read"))
    except FileNotFoundError:
        return []


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        remove_file(os.path.join(path, MANIFEST))
        remove_tree(path)
