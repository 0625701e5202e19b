from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from perdure.checkpoints import patience, recovery
from perdure.checkpoints.recovery import find_committed, sweep
from perdure.checkpoints.transfer import Saver
from perdure.errors import CheckpointError, StorageError

from .conftest import Files, fill, names


@pytest.fixture
def populated(saver: Saver, trial: Path, folder: Callable[[Files], Path]) -> Path:
    source = folder({"a": b"1"})
    for iteration in range(4):
        saver.commit(source, row={"i": iteration}, iteration=iteration, time_total_s=0.0)
    fill(trial / ".staging-3-9", {"half": b"1"})
    fill(trial / "checkpoint_000004", {"half": b"1"})  # being deleted, or made by hand
    os.truncate(trial / "checkpoint_000002" / ".perdure.json", 30)
    fill(trial, {"result.json": b"{}", "checkpoint_best/a": b"1", "checkpoint_0000010/a": b"1", ".staging": b""})
    return trial


def test_committed_checkpoints_are_found_in_order(populated: Path) -> None:
    assert [(manifest.number, manifest.row) for manifest in find_committed(populated)] == [
        (0, {"i": 0}),
        (1, {"i": 1}),
        (3, {"i": 3}),
    ]


def test_a_renamed_checkpoint_is_not_taken_for_another(populated: Path) -> None:
    (populated / "checkpoint_000003").rename(populated / "checkpoint_000007")
    assert [manifest.number for manifest in find_committed(populated)] == [0, 1]


def test_sweeping_removes_what_nobody_knows_and_nothing_else(populated: Path) -> None:
    removed = sweep(populated, keep={"checkpoint_000001", "checkpoint_000003"})
    assert removed == [".staging-3-9", "checkpoint_000000", "checkpoint_000002", "checkpoint_000004"]
    assert names(populated) == [
        ".staging",
        "checkpoint_000001",
        "checkpoint_0000010",
        "checkpoint_000003",
        "checkpoint_best",
        "result.json",
    ]
    assert sweep(populated, keep={"checkpoint_000001", "checkpoint_000003"}) == []


def test_a_trial_that_never_had_a_directory_has_nothing(tmp_path: Path) -> None:
    assert find_committed(tmp_path / "never") == []
    assert sweep(tmp_path / "never", keep=set()) == []


def test_a_storage_that_cannot_be_read_is_not_an_empty_one(populated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> list[str]:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(patience, "DELAYS_S", (0.0,))
    monkeypatch.setattr(recovery.os, "listdir", fail)
    for call in (lambda: find_committed(populated), lambda: sweep(populated, keep=set())):
        with pytest.raises(StorageError) as caught:
            call()
        assert not isinstance(caught.value, CheckpointError)
