"""What every store must do: inherit `StoreTests`, say how one is made, and pytest runs the rest."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from perdure.errors import ConfigurationError
from perdure.storage.base import Store


class StoreTests:
    """The conformance suite of `perdure.storage.base.Store`.

    A subclass whose name begins with `Test` defines `make_store`.
    """

    def make_store(self, tmp_path: Path) -> Store:
        """Return an empty store; each test gets its own."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        """The store under test."""
        return self.make_store(tmp_path)

    def test_what_is_written_is_read(self, store: Store) -> None:
        """Bytes come back as they were, whatever they are."""
        store.write("a/b/c.bin", bytes(range(256)))
        store.write("empty", b"")
        assert store.read("a/b/c.bin") == bytes(range(256))
        assert store.read("empty") == b""
        assert store.size("a/b/c.bin") == 256

    def test_writing_replaces(self, store: Store) -> None:
        """A second write leaves nothing of the first."""
        store.write("key", b"a long first value")
        store.write("key", b"short")
        assert store.read("key") == b"short"
        assert [entry.key for entry in store.list()] == ["key"]

    def test_a_missing_key_is_told(self, store: Store) -> None:
        """Reading what is not there raises FileNotFoundError."""
        with pytest.raises(FileNotFoundError):
            store.read("nothing")
        with pytest.raises(FileNotFoundError):
            store.size("nothing/here")

    def test_create_never_replaces(self, store: Store) -> None:
        """The first to create a key keeps it."""
        store.create("folder/key", b"first")
        with pytest.raises(FileExistsError):
            store.create("folder/key", b"second")
        store.write("other", b"written")
        with pytest.raises(FileExistsError):
            store.create("other", b"second")
        assert store.read("folder/key") == b"first"
        assert store.read("other") == b"written"

    def test_one_of_many_creators_wins(self, store: Store) -> None:
        """However many create a key at once, one succeeds, and its bytes are there."""
        won: list[bytes] = []
        lost: list[bytes] = []
        barrier = threading.Barrier(8)

        def create(value: bytes) -> None:
            barrier.wait()
            try:
                store.create("claim", value)
            except FileExistsError:
                lost.append(value)
            else:
                won.append(value)

        threads = [threading.Thread(target=create, args=(b"%d" % i * 1000,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert len(lost) == 7
        assert store.read("claim") == won[0]

    def test_a_reader_never_sees_a_mixture(self, store: Store) -> None:
        """While a key is written over and over, every read is one of the values."""
        values = {bytes([i]) * 50_000 for i in range(4)}
        store.write("key", next(iter(values)))
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                for value in values:
                    store.write("key", value)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            seen = {store.read("key") for _ in range(100)}
        finally:
            stop.set()
            writer.join()
        assert seen <= values

    def test_list_is_recursive_and_sorted(self, store: Store) -> None:
        """Every object at any depth is listed, by key, with its size."""
        for key in ("b", "a/z", "a/y/x", "ab/c"):
            store.write(key, key.encode())
        assert [tuple(entry) for entry in store.list()] == [("a/y/x", 5), ("a/z", 3), ("ab/c", 4), ("b", 1)]

    def test_a_folder_is_not_a_prefix(self, store: Store) -> None:
        """Listing `a` does not show `ab/...`, nor the object called `a`."""
        for key in ("a/1", "ab/2", "abc"):
            store.write(key, b"")
        assert [entry.key for entry in store.list("a")] == ["a/1"]
        assert list(store.list("abc")) == []
        assert list(store.list("nothing")) == []

    def test_delete(self, store: Store) -> None:
        """What is deleted is gone, and deleting it again is no error."""
        store.write("folder/a", b"1")
        store.write("folder/b", b"2")
        store.delete("folder/a")
        store.delete("folder/a")
        store.delete("never/there")
        assert [entry.key for entry in store.list()] == ["folder/b"]
        store.create("folder/a", b"again")
        assert store.read("folder/a") == b"again"

    def test_delete_tree(self, store: Store) -> None:
        """All below the folder goes, its neighbours stay, and doing it again is no error."""
        for key in ("run/a", "run/deep/b", "runner/c"):
            store.write(key, b"x")
        store.delete_tree("run")
        store.delete_tree("run")
        assert [entry.key for entry in store.list()] == ["runner/c"]

    def test_upload_and_download(self, store: Store, tmp_path: Path) -> None:
        """A directory comes back as it was, next to what its target held already."""
        source = tmp_path / "source"
        (source / "nested" / "deep").mkdir(parents=True)
        (source / "model.bin").write_bytes(bytes(range(256)) * 8192)
        (source / "nested" / "deep" / "empty").write_bytes(b"")
        store.upload(source, "trial/checkpoint")
        target = tmp_path / "target"
        target.mkdir()
        (target / "mine").write_text("stays")
        store.download("trial/checkpoint", target)
        found = {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}
        assert found == {
            "model.bin": bytes(range(256)) * 8192,
            "nested/deep/empty": b"",
            "mine": b"stays",
        }

    def test_downloading_nothing_is_told(self, store: Store, tmp_path: Path) -> None:
        """A folder without objects raises instead of giving an empty directory."""
        with pytest.raises(FileNotFoundError):
            store.download("nothing", tmp_path / "target")

    @pytest.mark.parametrize("key", ["", "/etc/passwd", "../up", "a/../../up", "a//b", "a/./b", "a/", "a\\b", "a\0b"])
    def test_keys_stay_inside(self, store: Store, key: str) -> None:
        """What is no key is refused, by each method that takes one."""
        with pytest.raises(ConfigurationError):
            store.write(key, b"")
        with pytest.raises(ConfigurationError):
            store.read(key)
        with pytest.raises(ConfigurationError):
            store.delete(key)

    def test_a_local_store_shows_its_files(self, store: Store) -> None:
        """With the flag `local`, objects are plain files that other programs can read."""
        store.write("a/b", b"data")
        if not store.local:
            pytest.skip("not a local store")
        assert store.local_path("a/b").read_bytes() == b"data"
