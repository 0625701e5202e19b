"""What every test shares."""

from __future__ import annotations

import os
import signal

import hypothesis
import pytest

# A busy machine must not fail a test: what is too slow is what exceeds pytest's own timeout. Neither must chance: the
# examples are the same each time, but with PERDURE_EXPLORE=1.
hypothesis.settings.register_profile(
    "perdure",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize="PERDURE_EXPLORE" not in os.environ,
)
hypothesis.settings.load_profile("perdure")

# Tests that are run in the background of a shell inherit an ignored SIGINT, and send it to drivers all the same.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def own_storage(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that names no storage path writes into a directory of its own, never into the home directory."""
    monkeypatch.setenv("PERDURE_STORAGE_PATH", str(tmp_path_factory.mktemp("storage")))
    for name in [name for name in os.environ if name.startswith(("TUNE_", "RAY_"))]:
        monkeypatch.delenv(name)
