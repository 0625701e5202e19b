from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.errors import ConfigurationError, StorageFullError
from perdure.storage import uri
from perdure.storage.uri import check_writable, parse_storage_path


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("/data/results", "/data/results"),
        ("/data/../results/", "/results"),
        ("file:///data/results", "/data/results"),
        ("file://localhost/data", "/data"),
        ("file:///with%20space", "/with space"),
        ("local:///data", "/data"),
        (Path("/data/results"), "/data/results"),
    ],
)
def test_paths_and_file_uris_name_a_directory(given: str, path: str) -> None:
    assert parse_storage_path(given) == Path(path)


def test_home_and_relative_paths_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.chdir(tmp_path)
    assert parse_storage_path("~/runs") == Path("/home/somebody/runs")
    assert parse_storage_path("runs") == Path(os.getcwd()) / "runs"


def test_the_default_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("PERDURE_STORAGE_PATH", "/elsewhere")
    assert parse_storage_path(None) == Path("/elsewhere")
    monkeypatch.delenv("PERDURE_STORAGE_PATH")
    assert parse_storage_path(None) == Path("/home/somebody/perdure_results")


@pytest.mark.parametrize("given", ["s3://bucket/runs", "gs://bucket", "abfs://c@a/x", "hdfs:///runs", "S3://b"])
def test_buckets_are_refused_by_name(given: str) -> None:
    with pytest.raises(ConfigurationError, match="not supported yet"):
        parse_storage_path(given)


@pytest.mark.parametrize("given", ["", "  ", "file://elsewhere/data"])
def test_what_names_no_directory_is_refused(given: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_storage_path(given)


def test_a_new_directory_is_made_and_left_clean(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    assert os.listdir(tmp_path / "a" / "b") == []


@pytest.mark.parametrize("below", ["", "runs", "runs/deeper"])
def test_a_file_in_the_way_is_named(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigurationError, match=r"Nothing was started.*file is a file"):
        check_writable(tmp_path / "file" / below)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_directory_without_permission_is_named(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    code = (
        "import os, sys\n"
        "from perdure.storage.uri import check_writable\n"
        "from perdure.errors import ConfigurationError\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try: check_writable(sys.argv[1])\n"
        "except ConfigurationError as error: print(error)\n"
    )
    os.chmod(tmp_path, 0o755)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.getuid() and len(parent.parts) > 2:
            os.chmod(parent, 0o755)
    done = subprocess.run([sys.executable, "-c", code, str(locked)], capture_output=True, text=True, check=False)
    assert "not writable" in done.stdout, done.stderr


@pytest.mark.parametrize("how", ["error", "short write"])
def test_a_full_disk_is_told_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    def write(_descriptor: int, data: bytes) -> int:
        if how == "error":
            raise OSError(errno.ENOSPC, "No space left on device")
        return len(data) // 2

    monkeypatch.setattr(uri.os, "write", write)
    with pytest.raises(StorageFullError, match="no space left") as caught:
        check_writable(tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(tmp_path) == []
