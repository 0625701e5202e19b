from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from perdure.checkpoints.transfer import Saver

Files = dict[str, bytes]


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    path = tmp_path / "experiment" / "trial"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def saver(trial: Path) -> Saver:
    return Saver(trial, trial="t1", attempt=2, segment=1, boot_id="boot")


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[Files], Path]:
    """Makes directories of files, as a user does."""
    made: list[Path] = []

    def make(files: Files) -> Path:
        path = tmp_path / f"source-{len(made)}"
        made.append(path)
        return fill(path, files)

    return make


def fill(path: Path, files: Files) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def contents(path: Path) -> Files:
    """The user's files in a directory: everything but what perdure put there."""
    return {
        file.relative_to(path).as_posix(): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and not file.name.startswith(".perdure")
    }


def names(path: Path) -> list[str]:
    return sorted(os.listdir(path))
