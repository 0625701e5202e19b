"""The user's own metadata of a checkpoint: a JSON object, with a digest of the file's bytes as its last member.

The file travels with the checkpoint's other files, so what guards it is in it. One without a digest, written by another
program or an older perdure, is taken as it is; a digest is known for one by its name and by how its value begins, so
that damage to either does not make it a member of the user's.
"""

from __future__ import annotations

import json
import os
from typing import Any

import xxhash

from perdure.checkpoints.seal import read_sealed
from perdure.errors import CheckpointCorruptError
from perdure.storage.layout import METADATA

CHECK = ".perdure-check"
"""The member that holds the digest; the user never sees it."""
_KIND = "perdure-xxh3_128:"
_NAME_MARK = f'"{CHECK}"'.encode()
_KIND_MARK = f'"{_KIND}'.encode()
_SEAL_LENGTH = len(f', "{CHECK}": "{_KIND}"}}') + 32


def encode_metadata(metadata: dict[str, Any]) -> bytes:
    """Return the bytes of a metadata file.

    Raises:
        TypeError, ValueError: it is not JSON data, or has a member of the digest's name.
    """
    if not isinstance(metadata, dict):
        raise TypeError("it is no dict")
    if CHECK in metadata:
        raise ValueError(f"{CHECK!r} is the name of a member of perdure's own")
    text = json.dumps(metadata).encode()
    return text if text == b"{}" else _seal(text[:-1])  # no flip makes another object of an empty one


def read_metadata(folder: str) -> dict[str, Any]:
    """Return the metadata stored in a checkpoint's folder; an empty dict if there is none.

    Raises:
        CheckpointCorruptError: the file is not what was written; the message names it.
        StorageError: it cannot be read right now, after several tries.
    """
    path = os.path.join(folder, METADATA)
    data = read_sealed(path)
    if data is None:
        return {}
    try:
        metadata = json.loads(data.decode())
    except ValueError as error:
        raise CheckpointCorruptError(f"{path} is not JSON: {error}. Store it anew with set_metadata.") from error
    if not isinstance(metadata, dict):
        raise CheckpointCorruptError(f"{path} does not hold a JSON object. Store it anew with set_metadata.")
    if _NAME_MARK in data or _KIND_MARK in data:
        if data != _seal(data[:-_SEAL_LENGTH]):
            raise CheckpointCorruptError(
                f"{path} is damaged: its own digest does not match. Store it anew with set_metadata. (A program that "
                f"changes the file has to leave {CHECK!r} out.)"
            )
        del metadata[CHECK]
    return metadata


def _seal(body: bytes) -> bytes:
    """Return a JSON object, given without its closing brace, with the digest as its last member."""
    digest = xxhash.xxh3_128_hexdigest(body)
    return body + f', "{CHECK}": "{_KIND}{digest}"}}'.encode()
