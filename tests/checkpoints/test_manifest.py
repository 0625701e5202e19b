from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from perdure.checkpoints import digests, manifest, patience, seal
from perdure.checkpoints.durability import complete_digests
from perdure.checkpoints.manifest import SMALL, read_manifest, verify_checkpoint
from perdure.checkpoints.transfer import Saver
from perdure.errors import CheckpointCorruptError, CheckpointError, CheckpointMissingError, StorageError

from .conftest import Files

FILES = {"small": b"1" * 1000, "nested/large": bytes(SMALL + 1)}


@pytest.fixture
def checkpoint(saver: Saver, trial: Path, folder: Callable[[Files], Path]) -> Path:
    """Committed, not yet digested."""
    return trial / saver.commit(folder(FILES), row={"loss": 1.0}, iteration=1, time_total_s=0.0).directory


@pytest.fixture
def digested(checkpoint: Path) -> Path:
    complete_digests(str(checkpoint))
    return checkpoint


def flip(path: Path, at: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_what_was_committed_verifies(checkpoint: Path) -> None:
    verify_checkpoint(checkpoint, trusted=True)
    complete_digests(str(checkpoint))
    verify_checkpoint(checkpoint)
    verify_checkpoint(checkpoint, deep=False)


def test_what_was_digested_verifies_after_it_was_moved(digested: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(digested, moved)
    verify_checkpoint(moved)


def test_undigested_in_another_boot_is_refused(checkpoint: Path) -> None:
    with pytest.raises(CheckpointCorruptError, match=r"no digest of nested/large .*reached the disk for certain"):
        verify_checkpoint(checkpoint, trusted=False)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_found_and_the_file_named(digested: Path, name: str) -> None:
    flip(digested / name)
    verify_checkpoint(digested, deep=False)
    with pytest.raises(CheckpointCorruptError, match=name):
        verify_checkpoint(digested, trusted=True)


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_found_without_reading(digested: Path, name: str, trusted: bool) -> None:
    os.truncate(digested / name, 5)
    with pytest.raises(CheckpointCorruptError, match=rf"{name} has 5 bytes"):
        verify_checkpoint(digested, trusted=trusted, deep=False)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_gone_is_named(digested: Path, name: str) -> None:
    (digested / name).unlink()
    with pytest.raises(CheckpointMissingError, match=f"{name} is gone"):
        verify_checkpoint(digested)


def test_a_folder_that_is_gone_or_was_never_committed_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointMissingError, match="does not exist"):
        verify_checkpoint(tmp_path / "checkpoint_000000")
    with pytest.raises(CheckpointMissingError, match="not a committed checkpoint"):
        verify_checkpoint(tmp_path)


def test_every_single_flipped_byte_of_a_manifest_is_found(digested: Path) -> None:
    path = digested / ".perdure.json"
    whole = path.read_bytes()
    for at in range(len(whole)):
        data = bytearray(whole)
        data[at] ^= 1
        path.write_bytes(data)
        with pytest.raises(CheckpointError):
            verify_checkpoint(digested, trusted=True, deep=False)


@pytest.mark.parametrize("name", [".perdure.json", ".perdure-digests.json"])
@pytest.mark.parametrize("length", [0, 1, 40, 100])
def test_a_torn_file_of_ours_is_found(digested: Path, name: str, length: int) -> None:
    os.truncate(digested / name, length)
    with pytest.raises(CheckpointCorruptError, match=name):
        verify_checkpoint(digested, trusted=True)


def test_another_checkpoints_digests_are_refused(digested: Path, saver: Saver, trial: Path) -> None:
    other = trial / saver.commit(digested, row={}, iteration=2, time_total_s=0.0).directory
    shutil.copy(digested / ".perdure-digests.json", other)
    with pytest.raises(CheckpointCorruptError, match="does not belong"):
        verify_checkpoint(other, trusted=True)


def test_digests_are_written_once(digested: Path) -> None:
    """A second pass must not bless bytes that rotted after the first."""
    before = (digested / ".perdure-digests.json").read_bytes()
    flip(digested / "nested/large")
    complete_digests(str(digested))
    assert (digested / ".perdure-digests.json").read_bytes() == before
    with pytest.raises(CheckpointCorruptError):
        verify_checkpoint(digested)


def test_a_checkpoint_cut_short_is_not_digested(checkpoint: Path) -> None:
    os.truncate(checkpoint / "nested/large", 1)
    with pytest.raises(CheckpointCorruptError, match="nested/large"):
        complete_digests(str(checkpoint))
    assert not (checkpoint / ".perdure-digests.json").exists()


def test_a_newer_version_is_refused_and_not_called_corrupt(checkpoint: Path) -> None:
    path = checkpoint / ".perdure.json"
    content = json.loads(path.read_text())
    del content["check"]
    content["version"] = 99
    content["files"] = "in a shape this version does not know"
    path.write_bytes(seal.seal(json.dumps(content).encode()))
    with pytest.raises(CheckpointError, match="newer version") as caught:
        read_manifest(checkpoint)
    assert not isinstance(caught.value, CheckpointCorruptError)


def test_fields_of_a_later_minor_change_are_passed_over(checkpoint: Path) -> None:
    path = checkpoint / ".perdure.json"
    content = json.loads(path.read_text())
    del content["check"]
    content["something_new"] = 1
    path.write_bytes(seal.seal(json.dumps(content).encode()))
    assert read_manifest(checkpoint).iteration == 1


# --- a storage that cannot be read right now --------------------------------------------------------------------------


class Flaky:
    """Fails the first so many calls."""

    def __init__(self, call: Callable[..., object], failures: int) -> None:
        self.call = call
        self.failures = failures

    def __call__(self, *arguments: object, **named: object) -> object:
        if self.failures > 0:
            self.failures -= 1
            raise OSError(errno.EIO, "Input/output error")
        return self.call(*arguments, **named)


@pytest.fixture(params=["manifest", "sizes", "digests", "bytes"])
def flaky(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    module, name = {
        "manifest": (seal, "_read_bytes"),
        "sizes": (manifest.os, "stat"),
        "digests": (seal, "_read_bytes"),
        "bytes": (manifest, "digest_file"),
    }[request.param]

    def install(failures: int) -> None:
        monkeypatch.setattr(module, name, Flaky(getattr(module, name), failures))

    monkeypatch.setattr(patience, "DELAYS_S", (0.0, 0.0, 0.0))
    return install


def test_a_passing_failure_is_retried(digested: Path, flaky: Callable[[int], None]) -> None:
    flaky(3)
    verify_checkpoint(str(digested))


def test_a_lasting_failure_condemns_no_checkpoint(digested: Path, flaky: Callable[[int], None]) -> None:
    flaky(1000)
    with pytest.raises(StorageError, match="after 4 tries: Input/output error") as caught:
        verify_checkpoint(str(digested))
    assert not isinstance(caught.value, CheckpointError)
    assert caught.value.errno == errno.EIO


def test_digest_of_bytes_and_of_a_file_agree(tmp_path: Path) -> None:
    for size in (0, 1, digests.CHUNK, digests.CHUNK + 1):
        data = os.urandom(size)
        (tmp_path / "file").write_bytes(data)
        assert digests.digest_file(str(tmp_path / "file")) == digests.digest_bytes(data)
