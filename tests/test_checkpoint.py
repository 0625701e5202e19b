from __future__ import annotations

import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

from perdure.checkpoint import Checkpoint
from perdure.errors import CheckpointCorruptError, CheckpointError, CheckpointMissingError, ConfigurationError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "saved"
    (path / "nested").mkdir(parents=True)
    (path / "model.pt").write_bytes(b"weights")
    (path / "nested" / "state").write_bytes(b"state")
    return path


def files(path: str | Path) -> dict[str, bytes]:
    return {it.relative_to(path).as_posix(): it.read_bytes() for it in Path(path).rglob("*") if it.is_file()}


def test_a_handle_is_an_absolute_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("HOME", str(folder.parent))
    for given in (folder, str(folder), f"{folder}/", "saved", "~/saved", f"file://{folder}"):
        assert Checkpoint(given).path == str(folder)
        assert Checkpoint.from_directory(given) == Checkpoint(folder)
    assert repr(Checkpoint(folder)) == f"Checkpoint(filesystem=local, path={folder})"


def test_handles_compare_by_path_and_travel(folder: Path) -> None:
    checkpoint = Checkpoint.from_directory(folder)
    assert pickle.loads(pickle.dumps(checkpoint)) == checkpoint
    assert {checkpoint, Checkpoint(folder)} == {checkpoint}
    assert checkpoint != Checkpoint(folder.parent)
    assert checkpoint != str(folder)


def test_other_storages_are_refused(folder: Path) -> None:
    class S3:
        type_name = "s3"

    with pytest.raises(ConfigurationError, match="not supported yet"):
        Checkpoint("s3://bucket/key")
    with pytest.raises(ConfigurationError, match="local file systems"):
        Checkpoint("bucket/key", filesystem=S3())
    with pytest.raises(ConfigurationError):
        Checkpoint("")


def test_as_directory_gives_the_directory_itself(folder: Path) -> None:
    with Checkpoint(folder).as_directory() as path:
        assert path == str(folder)
    assert files(folder) == {"model.pt": b"weights", "nested/state": b"state"}


def test_to_directory_copies_into_a_new_directory_each_time(folder: Path) -> None:
    first, second = Checkpoint(folder).to_directory(), Checkpoint(folder).to_directory()
    assert len({first, second, str(folder)}) == 3
    assert files(first) == files(second) == files(folder)


def test_to_directory_adds_to_what_is_there(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "mine").write_bytes(b"stays")
    (target / "model.pt").write_bytes(b"an older and longer one")
    assert Checkpoint(folder).to_directory(target) == str(target)
    assert files(target) == {**files(folder), "mine": b"stays"}
    assert Checkpoint(folder).to_directory(tmp_path / "deep" / "new") == str(tmp_path / "deep" / "new")


def test_to_directory_takes_the_metadata_along_and_leaves_the_manifest(folder: Path) -> None:
    checkpoint = Checkpoint(folder)
    checkpoint.set_metadata({"epoch": 3})
    (folder / ".perdure.json").write_text("{}")
    (folder / ".perdure-digests.json").write_text("{}")
    copy = checkpoint.to_directory()
    assert sorted(os.listdir(copy)) == [".perdure-metadata.json", "model.pt", "nested"]
    assert Checkpoint(copy).get_metadata() == {"epoch": 3}


def test_to_directory_onto_itself_or_into_itself(folder: Path) -> None:
    before = files(folder)
    assert Checkpoint(folder).to_directory(folder) == str(folder)
    with pytest.raises(CheckpointError, match="inside the checkpoint"):
        Checkpoint(folder).to_directory(folder / "copy")
    assert files(folder) == before


def test_using_one_that_does_not_exist_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "gone", tmp_path / "file"):
        checkpoint = Checkpoint(path)
        for use in (
            checkpoint.to_directory,
            checkpoint.get_metadata,
            lambda: checkpoint.set_metadata({}),
            lambda: checkpoint.update_metadata({}),
            lambda: checkpoint.as_directory().__enter__(),
        ):
            with pytest.raises(CheckpointMissingError, match=path.name):
                use()


def test_metadata_is_set_updated_and_read(folder: Path) -> None:
    checkpoint = Checkpoint(folder)
    assert checkpoint.get_metadata() == {}
    checkpoint.set_metadata({"a": 1, "nested": {"b": [1, None]}})
    checkpoint.update_metadata({"a": 2, "c": 3})
    assert Checkpoint(folder).get_metadata() == {"a": 2, "nested": {"b": [1, None]}, "c": 3}
    checkpoint.set_metadata({"only": "this"})
    assert checkpoint.get_metadata() == {"only": "this"}
    file = json.loads((folder / ".perdure-metadata.json").read_text())
    assert file.pop(".perdure-check")
    assert file == {"only": "this"}
    checkpoint.set_metadata({})
    assert checkpoint.get_metadata() == {}


def test_metadata_that_is_not_data_leaves_the_old(folder: Path) -> None:
    checkpoint = Checkpoint(folder)
    checkpoint.set_metadata({"a": 1})
    with pytest.raises(ConfigurationError, match="object"):
        checkpoint.set_metadata({"a": object()})
    assert checkpoint.get_metadata() == {"a": 1}


@pytest.mark.parametrize("text", ["{", "[1]", "\xff"])
def test_damaged_metadata_is_told(folder: Path, text: str) -> None:
    (folder / ".perdure-metadata.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointCorruptError, match="metadata"):
        Checkpoint(folder).get_metadata()


@pytest.mark.parametrize("metadata", [{"loss": 0.25, "run": "é", "n": {"a": [1, None]}}, {"": ""}, {}])
def test_no_flipped_bit_and_no_cut_of_the_metadata_goes_unseen(folder: Path, metadata: dict[str, Any]) -> None:
    checkpoint, file = Checkpoint(folder), folder / ".perdure-metadata.json"
    checkpoint.set_metadata(metadata)
    whole = file.read_bytes()
    flipped = [
        whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :] for at in range(len(whole)) for bit in range(8)
    ]
    for damaged in (*flipped, *(whole[:at] for at in range(len(whole)))):
        file.write_bytes(damaged)
        with pytest.raises(CheckpointCorruptError, match=r"\.perdure-metadata\.json"):
            checkpoint.get_metadata()
        with pytest.raises(CheckpointCorruptError):
            checkpoint.update_metadata({"more": 1})
    assert file.read_bytes() == whole[:-1], "an update of what is damaged leaves it alone"
    checkpoint.set_metadata({"new": 1})
    assert checkpoint.get_metadata() == {"new": 1}


def test_metadata_that_another_program_wrote_is_read(folder: Path) -> None:
    """So is that of an older perdure: it has no digest."""
    (folder / ".perdure-metadata.json").write_text('{\n  "check": "d41d8cd98f00b204e9800998ecf8427e"\n}\n')
    checkpoint = Checkpoint(folder)
    assert checkpoint.get_metadata() == {"check": "d41d8cd98f00b204e9800998ecf8427e"}
    checkpoint.update_metadata({"a": 1})
    assert checkpoint.get_metadata() == {"check": "d41d8cd98f00b204e9800998ecf8427e", "a": 1}


@pytest.mark.parametrize("metadata", [{".perdure-check": 1}, [1]])
def test_what_cannot_be_metadata_is_refused(folder: Path, metadata: Any) -> None:
    with pytest.raises(ConfigurationError, match="Nothing was stored"):
        Checkpoint(folder).set_metadata(metadata)
    assert Checkpoint(folder).get_metadata() == {}


@pytest.mark.parametrize("name", ["from_dict", "to_dict", "uri", "get_preprocessor"])
def test_what_checkpoints_once_had_says_what_to_use(folder: Path, name: str) -> None:
    for owner in (Checkpoint, Checkpoint(folder)):
        with pytest.raises(AttributeError, match="use "):
            getattr(owner, name)
    assert not hasattr(Checkpoint(folder), "something_else")


def test_it_is_no_path(folder: Path) -> None:
    with pytest.raises(TypeError, match="as_directory"):
        os.fspath(Checkpoint(folder))


def test_the_file_system_is_pyarrows_where_there_is_one(folder: Path) -> None:
    pyarrow_fs = pytest.importorskip("pyarrow.fs")
    assert isinstance(Checkpoint(folder).filesystem, pyarrow_fs.LocalFileSystem)
    assert Checkpoint(folder, filesystem=pyarrow_fs.LocalFileSystem()).path == str(folder)


def test_without_pyarrow_there_is_no_file_system(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.fs", None)
    assert Checkpoint(folder).filesystem is None
