"""The manifest: what makes a folder a checkpoint, and what says whether it is still the one that was committed.

A manifest is one JSON object whose last member, `check`, is a digest of the bytes before it (see `seal`).
"""

from __future__ import annotations

import os

import msgspec

from perdure.checkpoints.digests import digest_bytes, digest_file, read_digests
from perdure.checkpoints.patience import patiently
from perdure.checkpoints.seal import read_sealed, seal, unseal
from perdure.core.events import CheckpointInfo, Data, Source
from perdure.errors import CheckpointCorruptError, CheckpointError, CheckpointMissingError
from perdure.storage.layout import DIGESTS, MANIFEST, checkpoint_name

VERSION = 1
SMALL = 1 << 20
"""Files of up to so many bytes are read whole while they are saved, and have their digest in the manifest."""


class FileRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One file of a checkpoint."""

    size: int
    digest: str = ""
    """xxh3_128, hexadecimal; empty where it is not known here."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was committed, by whom, and with which row."""

    version: int
    trial: str
    attempt: int
    segment: int = 0
    number: int
    iteration: int
    time_total_s: float = 0.0
    time_this_iter_s: float = 0.0
    time_since_restore_s: float = 0.0
    parent: Source | None = None
    boot_id: str = ""
    score: float | None = None
    row: Data
    files: dict[str, FileRecord]
    """By path relative to the folder, parts separated by "/"."""

    @property
    def nbytes(self) -> int:
        """Bytes of the user's files."""
        return sum(file.size for file in self.files.values())

    @property
    def digested(self) -> bool:
        """Every file's digest is in here."""
        return all(file.digest for file in self.files.values())

    def info(self) -> CheckpointInfo:
        """Return what the core is told of this checkpoint."""
        return CheckpointInfo(
            number=self.number,
            directory=checkpoint_name(self.number),
            attempt=self.attempt,
            segment=self.segment,
            iteration=self.iteration,
            time_total_s=self.time_total_s,
            nbytes=self.nbytes,
            boot_id=self.boot_id,
            score=self.score,
            digested=self.digested,
        )


class _Version(msgspec.Struct):
    version: int


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Manifest)


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the bytes of a manifest file.

    Raises:
        CheckpointError: the name of a file is not Unicode, so that JSON has no word for it.
    """
    try:
        return seal(_encoder.encode(manifest))
    except UnicodeEncodeError:
        named = [name for name in manifest.files if name != name.encode("utf-8", "replace").decode()]
        if not named:
            raise
        raise CheckpointError(
            f"The checkpoint has a file whose name is no valid UTF-8, {named[0]!r}, which a manifest cannot hold. "
            "Nothing was saved; give the file another name."
        ) from None


def decode_manifest(data: bytes, path: str) -> Manifest:
    """Return the manifest in `data`; `path` is named in errors.

    Raises:
        CheckpointCorruptError: it is torn or altered.
        CheckpointError: a newer version of perdure wrote it.
    """
    content = unseal(data, path)
    try:
        version = msgspec.json.decode(content, type=_Version).version
        if version > VERSION:
            raise CheckpointError(
                f"{path} was written by a newer version of perdure (format {version}; this one reads up to {VERSION}). "
                "Nothing was changed. Install that version to use this checkpoint."
            )
        return _decoder.decode(content)
    except msgspec.MsgspecError as error:
        raise CheckpointCorruptError(f"{path} is not a checkpoint manifest: {error}.") from error


def read_manifest(directory: str | os.PathLike[str]) -> Manifest:
    """Return the manifest of the checkpoint in `directory`.

    Raises:
        CheckpointMissingError: there is no such directory, or it has no manifest and so is no checkpoint.
        CheckpointCorruptError: the manifest is torn or altered.
        CheckpointError: a newer version of perdure wrote it.
        StorageError: it cannot be read right now (and none of the above).
    """
    folder = os.fspath(directory)
    path = os.path.join(folder, MANIFEST)
    return decode_manifest(read_manifest_bytes(folder), path)


def read_manifest_bytes(folder: str) -> bytes:
    """Return the bytes of the manifest in `folder`. Raises as `read_manifest` for one that is gone."""
    data = read_sealed(os.path.join(folder, MANIFEST))
    if data is None:
        raise missing(folder)
    return data


def missing(folder: str) -> CheckpointMissingError:
    """Return the error that says why there is no checkpoint in `folder`."""
    if not os.path.isdir(folder):
        return CheckpointMissingError(f"There is no checkpoint at {folder}: the directory does not exist.")
    return CheckpointMissingError(
        f"{folder} is not a committed checkpoint: it has no {MANIFEST}. It was never finished, or is being deleted."
    )


def known_digests(folder: str, manifest: Manifest, manifest_bytes: bytes) -> dict[str, str]:
    """Return the digests known of a checkpoint's files: from its manifest, and from its digests file if there is one.

    Raises:
        CheckpointCorruptError: the digests file is torn, altered, or another checkpoint's.
        StorageError: it cannot be read right now.
    """
    known = {name: file.digest for name, file in manifest.files.items() if file.digest}
    if len(known) == len(manifest.files):
        return known
    recorded = read_digests(folder)
    if recorded is None:
        return known
    if recorded.manifest != digest_bytes(manifest_bytes):
        raise CheckpointCorruptError(f"{os.path.join(folder, DIGESTS)} does not belong to the {MANIFEST} beside it.")
    return {**recorded.files, **known}


def check_sizes(directory: str, manifest: Manifest) -> None:
    """Raise CheckpointMissingError or CheckpointCorruptError, naming the file, unless every file has its size."""
    for name, file in manifest.files.items():
        path = os.path.join(directory, name)
        try:
            size = patiently(lambda path=path: os.stat(path).st_size, f"The checkpoint's file {path} cannot be read")  # type: ignore[misc]
        except (FileNotFoundError, NotADirectoryError):
            raise CheckpointMissingError(f"The checkpoint {directory} is not whole: {name} is gone.") from None
        if size != file.size:
            raise CheckpointCorruptError(
                f"The checkpoint {directory} is damaged: {name} has {size} bytes, {file.size} were committed."
            )


def verify_checkpoint(directory: str | os.PathLike[str], *, trusted: bool = False, deep: bool = True) -> None:
    """Return if the checkpoint in `directory` is what was committed.

    Args:
        directory: The checkpoint's folder.
        trusted: It was committed in this boot of this machine, so that it may be used before its digests are
            known: nothing has been lost between the kernel and the disk.
        deep: Compare digests, which reads every byte; otherwise sizes only.

    Raises:
        CheckpointMissingError: it is gone, or one of its files is.
        CheckpointCorruptError: it is damaged, or nobody can tell whether it ever reached the disk.
        CheckpointError: a newer version of perdure wrote it.
        StorageError: it cannot be read right now, after several tries; that says nothing about the checkpoint.
    """
    folder = os.fspath(directory)
    data = read_manifest_bytes(folder)
    manifest = decode_manifest(data, os.path.join(folder, MANIFEST))
    check_sizes(folder, manifest)
    known = known_digests(folder, manifest, data)
    if not trusted and len(known) < len(manifest.files):
        name = next(name for name in manifest.files if name not in known)
        raise CheckpointCorruptError(
            f"The checkpoint {folder} cannot be trusted: there is no digest of {name} to compare with. Either the "
            "machine that saved it went down (or it was copied) before it reached the disk for certain, or "
            f"{DIGESTS} is gone."
        )
    if deep:
        for name, digest in known.items():
            check_digest(folder, name, digest, _found_digest(folder, name))


def _found_digest(folder: str, name: str) -> str:
    path = os.path.join(folder, name)
    try:
        return patiently(lambda: digest_file(path), f"The checkpoint's file {path} cannot be read")
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointMissingError(f"The checkpoint {folder} is not whole: {name} is gone.") from None


def check_digest(folder: str, name: str, digest: str, found: str) -> None:
    """Raise CheckpointCorruptError, naming the file, unless the digest found of it is the one that is known."""
    if found != digest:
        raise CheckpointCorruptError(
            f"The checkpoint {folder} is damaged: the digest of {name} is {found}, {digest} was committed."
        )
