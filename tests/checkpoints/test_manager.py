from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from perdure.checkpoints import digests, durability, manager, patience
from perdure.checkpoints.manager import Backlog, CheckpointManager, Done
from perdure.checkpoints.manifest import SMALL, verify_checkpoint
from perdure.checkpoints.transfer import Saver
from perdure.core.events import CheckpointInfo, Source
from perdure.errors import CheckpointCorruptError, CheckpointMissingError

from .conftest import Files, names

Folder = Callable[[Files], Path]
LARGE = {"large": os.urandom(SMALL + 1), "small": b"1"}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (patience, manager):
        monkeypatch.setattr(module, "DELAYS_S", (0.0, 0.0, 0.0))


@pytest.fixture
def woken() -> threading.Event:
    return threading.Event()


@pytest.fixture
def managed(trial: Path, woken: threading.Event) -> Iterator[CheckpointManager]:
    managed = CheckpointManager(trial.parent, wake=woken.set)
    yield managed
    managed.close()


@pytest.fixture
def committed(saver: Saver, folder: Folder) -> Callable[[Files], CheckpointInfo]:
    def commit(files: Files) -> CheckpointInfo:
        return saver.commit(folder(files), row={}, iteration=1, time_total_s=0.0)

    return commit


def source(number: int) -> Source:
    return Source(trial="t1", number=number)


def outcomes(managed: CheckpointManager) -> list[Done]:
    assert managed.drain(100)
    return managed.poll()


def test_a_checkpoint_becomes_durable_and_verifiable(
    managed: CheckpointManager, trial: Path, committed: Callable[[Files], CheckpointInfo], woken: threading.Event
) -> None:
    info = committed(LARGE)
    managed.make_durable(source(0), trial / info.directory, info.nbytes)
    assert woken.wait(100), "the loop is told without asking"
    assert [(done.kind, done.source) for done in managed.poll()] == [("durable", source(0))]
    assert managed.poll() == []
    verify_checkpoint(trial / info.directory, trusted=False)


def test_what_the_manifest_digests_needs_no_digests_file(
    managed: CheckpointManager, trial: Path, committed: Callable[[Files], CheckpointInfo]
) -> None:
    for known in (False, True):
        info = committed({"a": b"1"})
        managed.make_durable(source(info.number), trial / info.directory, info.nbytes, digested=known)
        assert [done.kind for done in outcomes(managed)] == ["durable"]
        assert names(trial / info.directory) == [".perdure.json", "a"]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="names descriptors through /proc")
def test_everything_up_to_the_experiment_is_synced_before_it_is_told(
    managed: CheckpointManager,
    trial: Path,
    committed: Callable[[Files], CheckpointInfo],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def recording(descriptor: int) -> None:
        assert managed.poll() == []
        synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recording)
    info = committed(LARGE)
    managed.make_durable(source(0), trial / info.directory, info.nbytes)
    assert [done.kind for done in outcomes(managed)] == ["durable"]
    assert sorted(synced[:4]) == [".perdure-digests.json", ".perdure.json", "large", "small"]
    assert synced[4:] == ["checkpoint_000000", "trial", "experiment"]


def test_many_small_ones_share_one_flush(
    managed: CheckpointManager,
    trial: Path,
    committed: Callable[[Files], CheckpointInfo],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flushes: list[os.stat_result] = []
    fsyncs: list[int] = []

    def flush(descriptor: int) -> bool:
        flushes.append(os.fstat(descriptor))
        return True

    monkeypatch.setattr(manager, "sync_filesystem", flush)
    monkeypatch.setattr(os, "fsync", fsyncs.append)
    monkeypatch.setattr(manager, "GATHER_S", 60.0)  # ended by the drain
    infos = [committed({"a": b"1"}) for _ in range(20)]
    for info in infos:
        managed.make_durable(source(info.number), trial / info.directory, info.nbytes, digested=info.digested)
    assert {done.source.number for done in outcomes(managed) if done.kind == "durable"} == set(range(20))
    assert [os.path.samestat(flushed, trial.parent.stat()) for flushed in flushes] == [True]
    assert fsyncs == []


def test_a_flush_that_fails_is_settled_one_by_one(
    managed: CheckpointManager,
    trial: Path,
    committed: Callable[[Files], CheckpointInfo],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flushes: list[int] = []

    def flush(descriptor: int) -> bool:
        flushes.append(descriptor)
        raise OSError(errno.EIO, "somebody's write failed")

    def sync(directory: str) -> None:
        if directory.endswith("2"):
            raise OSError(errno.EIO, "disk failed")

    monkeypatch.setattr(manager, "sync_filesystem", flush)
    monkeypatch.setattr(durability, "fsync_tree", sync)
    monkeypatch.setattr(manager, "GATHER_S", 60.0)
    for group in range(2):
        for _ in range(manager.GROUP):
            info = committed({"a": b"1"})
            managed.make_durable(source(info.number), trial / info.directory, info.nbytes)
        assert {done.source.number: done.kind for done in outcomes(managed)} == {
            number: "failed" if number % 10 == 2 else "durable"
            for number in range(group * manager.GROUP, (group + 1) * manager.GROUP)
        }
    assert len(flushes) == 1, "another would not tell of a later checkpoint whose write had failed by the first"


def test_a_trial_directory_that_cannot_be_synced_fails_its_checkpoints(
    managed: CheckpointManager,
    trial: Path,
    committed: Callable[[Files], CheckpointInfo],
    folder: Folder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = trial.parent / "trial-2"
    other.mkdir()
    elsewhere = Saver(other, trial="t2", attempt=0).commit(folder({"a": b"1"}), row={}, iteration=1, time_total_s=0.0)
    fsync_path = durability.fsync_path

    def sync(directory: str) -> None:
        if directory == str(trial):
            raise OSError(errno.EIO, "disk failed")
        fsync_path(directory)

    monkeypatch.setattr(durability, "fsync_path", sync)
    monkeypatch.setattr(manager, "GATHER_S", 60.0)
    info = committed({"a": b"1"})
    managed.make_durable(source(0), trial / info.directory, 1)
    managed.make_durable(Source(trial="t2", number=0), other / elsewhere.directory, 1)
    assert {done.source.trial: done.kind for done in outcomes(managed)} == {"t1": "failed", "t2": "durable"}


def test_a_failed_fsync_is_final(
    managed: CheckpointManager,
    trial: Path,
    committed: Callable[[Files], CheckpointInfo],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel may have dropped the pages, so that a second fsync would succeed without their being written."""

    def fail(_: str) -> None:
        raise OSError(errno.EIO, "disk failed")

    info = committed({"a": b"1"})
    with monkeypatch.context() as patch:
        patch.setattr(durability, "fsync_tree", fail)
        managed.make_durable(source(0), trial / info.directory, 1)
        (first,) = outcomes(managed)
    managed.make_durable(source(0), trial / info.directory, 1)
    (second,) = outcomes(managed)
    for done in (first, second):
        assert done.kind == "failed"
        assert (done.what, done.corrupt, str(done.error)) == ("made durable", False, "[Errno 5] disk failed")
    assert managed.backlog.count == 0


def test_a_passing_read_error_is_retried_and_a_lasting_one_told(
    managed: CheckpointManager,
    trial: Path,
    committed: Callable[[Files], CheckpointInfo],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = [3]
    digest_file = durability.digest_file

    def flaky(*arguments: object) -> str:
        if left[0] > 0:
            left[0] -= 1
            raise OSError(errno.EIO, "passing")
        return digest_file(*arguments)

    monkeypatch.setattr(durability, "digest_file", flaky)
    info = committed(LARGE)
    managed.make_durable(source(0), trial / info.directory, info.nbytes)
    assert [done.kind for done in outcomes(managed)] == ["durable"]
    left[0] = 1000
    info = committed(LARGE)
    managed.make_durable(source(1), trial / info.directory, info.nbytes)
    (done,) = outcomes(managed)
    assert (done.kind, done.corrupt) == ("failed", False)
    left[0] = 0
    managed.make_durable(source(1), trial / info.directory, info.nbytes)
    assert [done.kind for done in outcomes(managed)] == ["durable"], "asked again, it is tried again"


def test_a_checkpoint_that_is_not_what_was_committed_is_told(
    managed: CheckpointManager, trial: Path, committed: Callable[[Files], CheckpointInfo]
) -> None:
    cut, gone, emptied = (committed(LARGE) for _ in range(3))
    os.truncate(trial / cut.directory / "large", 7)
    (trial / gone.directory / ".perdure.json").unlink()
    (trial / emptied.directory / "small").unlink()
    for info in (cut, gone, emptied):
        managed.make_durable(source(info.number), trial / info.directory, info.nbytes)
    failed = {done.source.number: done for done in outcomes(managed)}
    assert {number: type(done.error) for number, done in failed.items()} == {
        0: CheckpointCorruptError,
        1: CheckpointMissingError,
        2: CheckpointMissingError,
    }
    assert all(done.corrupt for done in failed.values())
    assert "large has 7 bytes" in str(failed[0].error)


def test_deletion_leaves_nothing_and_gone_counts_as_deleted(
    managed: CheckpointManager, trial: Path, committed: Callable[[Files], CheckpointInfo]
) -> None:
    info = committed(LARGE)
    managed.delete(source(0), trial / info.directory)
    managed.delete(source(1), trial / "checkpoint_000001")
    assert [(done.kind, done.source.number) for done in outcomes(managed)] == [("deleted", 0), ("deleted", 1)]
    assert names(trial) == []


def test_deletion_is_retried_then_told(
    managed: CheckpointManager,
    trial: Path,
    committed: Callable[[Files], CheckpointInfo],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = [3]
    remove_tree = manager.remove_tree

    def flaky(folder: str) -> bool:
        if left[0] > 0:
            left[0] -= 1
            raise OSError(errno.EIO, "passing")
        return remove_tree(folder)

    monkeypatch.setattr(manager, "remove_tree", flaky)
    info = committed(LARGE)
    managed.delete(source(0), trial / info.directory)
    assert [done.kind for done in outcomes(managed)] == ["deleted"]
    left[0] = 1000
    info = committed(LARGE)
    managed.delete(source(1), trial / info.directory)
    (done,) = outcomes(managed)
    assert (done.kind, done.what, str(done.error)) == ("failed", "deleted", "[Errno 5] passing")


def test_what_is_deleted_need_not_become_durable(
    managed: CheckpointManager,
    trial: Path,
    committed: Callable[[Files], CheckpointInfo],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(manager, "GATHER_S", 60.0)
    info = committed({"a": b"1"})
    managed.make_durable(source(0), trial / info.directory, info.nbytes)
    managed.delete(source(0), trial / info.directory)
    assert managed.backlog.count == 0
    assert [done.kind for done in outcomes(managed)] == ["deleted"]


def test_a_deletion_stops_the_reading_of_what_it_deletes(
    managed: CheckpointManager,
    trial: Path,
    committed: Callable[[Files], CheckpointInfo],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, deleted = threading.Event(), threading.Event()
    monkeypatch.setattr(digests, "CHUNK", 64 << 10)

    def hold(_: object) -> None:
        reading.set()
        assert deleted.wait(100)

    monkeypatch.setattr(manager.Pace, "__call__", hold)
    info = committed(LARGE)
    managed.make_durable(source(0), trial / info.directory, info.nbytes)
    assert reading.wait(100)
    managed.delete(source(0), trial / info.directory)
    deleted.set()
    assert [done.kind for done in outcomes(managed)] == ["deleted"]
    assert names(trial) == []


def test_the_backlog_says_how_far_behind_the_disk_is(
    trial: Path, committed: Callable[[Files], CheckpointInfo], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(manager, "GATHER_S", 60.0)
    managed = CheckpointManager(trial.parent, wake=lambda: None, clock=lambda: now[0])
    assert managed.backlog == Backlog(0, 0, 0.0)
    one, two = committed({"a": b"12345"}), committed({"a": b"123"})
    managed.make_durable(source(0), trial / one.directory, one.nbytes)
    now[0] = 107.0
    managed.make_durable(source(1), trial / two.directory, two.nbytes)
    managed.make_durable(source(1), trial / two.directory, two.nbytes)
    assert managed.backlog == Backlog(2, 8, 7.0)
    assert [done.source.number for done in outcomes(managed)] == [0, 1]
    assert managed.backlog == Backlog(0, 0, 0.0)
    managed.close()


def test_it_is_idle_once_what_it_did_has_been_told(trial: Path, committed: Callable[[Files], CheckpointInfo]) -> None:
    """Not as soon as it is done: who ends in between does not know that a checkpoint is on the disk."""
    managed = CheckpointManager(trial.parent, wake=lambda: None)
    info = committed({"a": b"1"})
    managed.make_durable(source(0), trial / info.directory, info.nbytes)
    assert not managed.idle
    assert managed.drain(60)
    assert managed.backlog.count == 0
    assert not managed.idle
    assert managed.poll() == [manager.Durable(source(0))]
    assert managed.idle
    managed.close()


def test_drain_gives_up_when_its_time_is_over(
    managed: CheckpointManager,
    trial: Path,
    committed: Callable[[Files], CheckpointInfo],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release = threading.Event()
    monkeypatch.setattr(durability, "fsync_tree", lambda _: release.wait(100))
    info = committed({"a": b"1"})
    managed.make_durable(source(0), trial / info.directory, 1)
    assert not managed.drain(0.05)
    assert managed.backlog.count == 1
    release.set()
    assert managed.drain(100)


def test_closing_ends_the_threads_and_what_was_due_stays_due(
    trial: Path, committed: Callable[[Files], CheckpointInfo], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "GATHER_S", 60.0)
    monkeypatch.setattr(durability, "fsync_tree", lambda _: None)  # a thread that a disk holds up is left behind
    before = set(threading.enumerate())
    managed = CheckpointManager(trial.parent, wake=lambda: None)
    small, large = committed({"a": b"1"}), committed(LARGE)
    for info in (small, large):
        managed.make_durable(source(info.number), trial / info.directory, info.nbytes)
    managed.close()
    assert set(threading.enumerate()) <= before
    assert small.number not in [done.source.number for done in managed.poll()]
    for info in (small, large):
        verify_checkpoint(trial / info.directory, trusted=True)


def test_reading_rests_between_chunks_until_there_is_a_hurry() -> None:
    now, rests, times = [0.0], [], [3.0]
    pace = manager.Pace(
        rest_s=lambda worked_s: times[0] * worked_s, rest=rests.append, clock=lambda: now[0], stretch_s=0.5
    )
    for _ in range(5):  # rests after every second piece
        now[0] += 0.25
        pace()
    assert rests == [1.5, 1.5]
    times[0] = 0.0
    now[0] += 0.5
    pace()
    assert rests == [1.5, 1.5]


def test_large_ones_are_on_their_way_together_and_take_together_what_one_may_take(
    managed: CheckpointManager,
    trial: Path,
    committed: Callable[[Files], CheckpointInfo],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    all_read = threading.Barrier(manager.LARGE_AT_ONCE)
    all_told = threading.Barrier(manager.LARGE_AT_ONCE + 1)  # before the drain, with which nobody rests
    all_synced = threading.Barrier(manager.LARGE_AT_ONCE)
    digest_file, fsync_tree = durability.digest_file, durability.fsync_tree
    rests: list[float] = []

    def digest(path: str, each_chunk: Callable[[], None]) -> str:
        all_read.wait(100)
        rests.append(managed._rest_s(1.0))
        all_told.wait(100)
        return digest_file(path, each_chunk)

    def sync(folder: str) -> None:
        all_synced.wait(100)
        fsync_tree(folder)

    monkeypatch.setattr(durability, "digest_file", digest)
    monkeypatch.setattr(durability, "fsync_tree", sync)
    infos = [committed({"large": LARGE["large"]}) for _ in range(manager.LARGE_AT_ONCE)]
    for info in infos:
        managed.make_durable(source(info.number), trial / info.directory, info.nbytes)
    all_told.wait(100)
    assert [done.kind for done in outcomes(managed)] == ["durable"] * len(infos)
    one_quarter = len(infos) * manager.REST + len(infos) - 1  # each works for 1/(1 + rest) of the time
    assert rests == [one_quarter] * len(infos)


def test_the_disk_writes_large_ones_before_their_turn_to_be_read_has_come_but_none_that_was_replaced_soon(
    managed: CheckpointManager,
    trial: Path,
    committed: Callable[[Files], CheckpointInfo],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(manager, "WRITE_AFTER_S", 3600.0)
    written: list[str] = []
    all_written, may_read = threading.Event(), threading.Event()

    def start_writing(folder: str) -> None:
        written.append(os.path.basename(folder))
        if len(written) == 5:
            all_written.set()

    def digest(folder: str, each_chunk: object) -> None:
        assert may_read.wait(60)

    monkeypatch.setattr(manager, "start_writing_tree", start_writing)
    monkeypatch.setattr(manager, "complete_digests", digest)
    infos = [committed({"large": LARGE["large"]}) for _ in range(manager.LARGE_AT_ONCE + 2)]
    for info in infos:
        managed.make_durable(source(info.number), trial / info.directory, info.nbytes)
    managed.delete(source(infos[0].number), trial / infos[0].directory)
    assert written == []  # none is old enough
    managed.hasten()
    assert all_written.wait(60), "all that are left, while every thread that reads is busy"
    may_read.set()
    kinds = sorted(done.kind for done in outcomes(managed))
    assert kinds == ["deleted", *["durable"] * 5]
    assert written == [info.directory for info in infos[1:]]


@pytest.mark.parametrize("files", [{"small": b"1"}, LARGE])
def test_whatever_goes_wrong_the_next_checkpoint_becomes_durable(
    managed: CheckpointManager,
    trial: Path,
    committed: Callable[[Files], CheckpointInfo],
    monkeypatch: pytest.MonkeyPatch,
    files: Files,
) -> None:
    def stumble(folders: object) -> dict[str, OSError]:
        raise RuntimeError("nobody thought of this")

    with monkeypatch.context() as patched:
        patched.setattr(manager, "sync_checkpoints", stumble)
        info = committed(files)
        managed.make_durable(source(0), trial / info.directory, info.nbytes)
        (failed,) = outcomes(managed)
    assert isinstance(failed, manager.Failed)
    assert "nobody thought of this" in str(failed.error)
    info = committed(files)
    managed.make_durable(source(1), trial / info.directory, info.nbytes)
    assert outcomes(managed) == [manager.Durable(source(1))]


def test_only_what_a_predecessor_may_have_tried_to_sync_is_written_anew(
    managed: CheckpointManager, trial: Path, committed: Callable[[Files], CheckpointInfo]
) -> None:
    """Digests come before the sync: what has none was never tried. Bits and times of a file stay as they were."""
    for files, tried in (({"a": b"1"}, True), (LARGE, False), (LARGE, True)):
        info = committed(files)
        folder = trial / info.directory
        for name in files:
            (folder / name).chmod(0o640)
        if tried:
            durability.complete_digests(str(folder))
        before = {name: (folder / name).stat() for name in files}
        managed.make_durable(source(info.number), folder, info.nbytes, digested=info.digested, inherited=True)
        assert [done.kind for done in outcomes(managed)] == ["durable"]
        verify_checkpoint(folder)
        for name, then in before.items():
            now = (folder / name).stat()
            assert (now.st_ino != then.st_ino) is tried
            assert (now.st_mode, now.st_mtime_ns) == (then.st_mode, then.st_mtime_ns)
