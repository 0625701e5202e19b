"""What the tests of integrations share: each trains something small with the real library."""

from __future__ import annotations

import os

import pytest

from tests.end_to_end.conftest import storage, tuner  # noqa: F401 - fixtures


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Several libraries, each with its own pool of threads, would crawl on a small machine."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    os.environ.pop("WANDB_API_KEY", None)


def pytest_collection_modifyitems(items):
    """All of them are of the marker `library`, and what libraries warn of among themselves is theirs."""
    here = os.path.dirname(__file__)
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.library)
            item.add_marker(pytest.mark.filterwarnings("default"))
