from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.storage.local import LocalStore, write_atomic, write_new
from perdure.testing.store import StoreTests


class TestLocalStore(StoreTests):
    def make_store(self, tmp_path: Path) -> LocalStore:
        return LocalStore(tmp_path / "store")


class TestSyncedLocalStore(StoreTests):
    def make_store(self, tmp_path: Path) -> LocalStore:
        return LocalStore(tmp_path / "store", sync=True)


def test_a_failed_replacement_leaves_the_old_bytes_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomic(str(path), b"old")

    def fail(*_: object) -> None:
        raise OSError(5, "broken")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="broken"):
        write_atomic(str(path), b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_create_only_works_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "no hard links here")

    monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "file"
    write_new(str(path), b"first")
    with pytest.raises(FileExistsError):
        write_new(str(path), b"second")
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["file"]


def test_what_a_killed_writer_left_is_not_listed(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from perdure.storage import local\n"
        "local.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "local.LocalStore(sys.argv[1]).write('key', b'data')\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    assert os.listdir(tmp_path), "the writer was killed too early to leave anything"
    assert list(LocalStore(tmp_path).list()) == []
