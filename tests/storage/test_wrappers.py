from __future__ import annotations

from pathlib import Path

import pytest

from perdure.storage.base import Store
from perdure.storage.local import LocalStore
from perdure.storage.wrappers import FaultyStore, LatencyStore, WrappedStore
from perdure.testing.store import StoreTests


class TestWrappedStore(StoreTests):
    def make_store(self, tmp_path: Path) -> Store:
        return WrappedStore(LocalStore(tmp_path / "store"))


class TestWrappersCompose(StoreTests):
    def make_store(self, tmp_path: Path) -> Store:
        return LatencyStore(FaultyStore(LocalStore(tmp_path / "store")), latency_s=0.001, sleep=lambda _: None)


def test_a_faulty_store_fails_as_told_and_does_nothing_then(tmp_path: Path) -> None:
    failing = {("write", "b")}
    store = FaultyStore(
        LocalStore(tmp_path), lambda operation, key: OSError(5, "broken") if (operation, key) in failing else None
    )
    store.write("a", b"1")
    with pytest.raises(OSError, match="broken"):
        store.write("b", b"2")
    assert [entry.key for entry in store.list()] == ["a"]
    failing.clear()
    store.write("b", b"2")
    assert store.read("b") == b"2"


def test_a_lost_answer_leaves_the_work_done(tmp_path: Path) -> None:
    store = FaultyStore(
        LocalStore(tmp_path), lost_answer=lambda operation, key: TimeoutError("no answer") if key == "claim" else None
    )
    with pytest.raises(TimeoutError):
        store.create("claim", b"me")
    assert LocalStore(tmp_path).read("claim") == b"me"


def test_latency_counts_operations_and_bytes(tmp_path: Path) -> None:
    waits: list[float] = []
    store = LatencyStore(LocalStore(tmp_path), latency_s=1.0, bytes_per_s=100.0, sleep=waits.append)
    store.write("key", bytes(50))
    store.read("key")
    assert waits == [1.5, 1.0, 0.5]
