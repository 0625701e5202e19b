"""What every test shares."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def own_storage(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that names no storage path writes into a directory of its own, never into the home directory."""
    monkeypatch.setenv("PERDURE_STORAGE_PATH", str(tmp_path_factory.mktemp("storage")))
    for name in [name for name in os.environ if name.startswith(("TUNE_", "RAY_"))]:
        monkeypatch.delenv(name)
