"""Small JSON files that carry a digest of themselves, so that a torn or altered one is told from a whole one."""

from __future__ import annotations

import os

import xxhash

from perdure.checkpoints.patience import patiently
from perdure.errors import CheckpointCorruptError

_SEAL = b',"check":"'
_SEAL_LENGTH = len(_SEAL) + 32 + 3


def seal(content: bytes) -> bytes:
    """Return the JSON object in `content`, which is not empty, with a digest of itself as its last member."""
    body = content[:-1]
    return b'%b%b%b"}\n' % (body, _SEAL, xxhash.xxh3_128_hexdigest(body).encode())


def unseal(data: bytes, path: str) -> bytes:
    """Return the JSON object that was sealed, or raise CheckpointCorruptError if it is not what was written."""
    body = data[:-_SEAL_LENGTH]
    if data != seal(body + b"}"):
        raise CheckpointCorruptError(f"{path} is torn or was altered: its own digest does not match.")
    return body + b"}"


def read_sealed(path: str) -> bytes | None:
    """Return the bytes of a sealed file, seal and all; None if there is no such file.

    Raises:
        StorageError: it cannot be read right now, after several tries.
    """
    try:
        return patiently(lambda: _read_bytes(path), f"{path} cannot be read")
    except (FileNotFoundError, NotADirectoryError):
        return None


def _read_bytes(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    with open(descriptor, "rb", buffering=0) as file:
        return file.read()
