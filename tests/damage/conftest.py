"""The experiments that are damaged: made once, and copied for each case."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.damage.experiment import make


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
