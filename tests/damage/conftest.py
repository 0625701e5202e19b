"""The experiments that are damaged: made once, and copied for each case."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from perdure.journal import epochs
from tests.damage.experiment import make


@pytest.fixture(autouse=True)
def _no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for to reach the disk, thousands of times in all: what matters here is what the files hold."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(epochs, "fdatasync", lambda _: None)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three epochs, the last of which came to the end."""
    return make(tmp_path_factory.mktemp("finished"), finished=True)


@pytest.fixture(scope="session")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three epochs, all of them killed, the last in the middle of the third trial."""
    return make(tmp_path_factory.mktemp("interrupted"), finished=False)


@pytest.fixture
def cut_short(interrupted: Path, tmp_path: Path) -> Path:
    """A copy of the interrupted experiment."""
    return Path(shutil.copytree(interrupted, tmp_path / "results" / interrupted.name))
