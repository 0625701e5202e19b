from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from perdure.checkpoint import Checkpoint
from perdure.checkpoints import transfer
from perdure.checkpoints.manifest import SMALL, read_manifest, verify_checkpoint
from perdure.checkpoints.transfer import Saver
from perdure.core.events import CheckpointInfo, Source
from perdure.errors import CheckpointError, CheckpointMissingError, ConfigurationError, StorageError, StorageFullError
from perdure.storage import copying

from .conftest import Files, contents, fill, names

Folder = Callable[[Files], Path]
LARGE = os.urandom(SMALL + 1)
FILES = {"model.bin": b"weights", "nested/deep/state": b"", "large.bin": LARGE}
ROW = {"loss": 0.5, "nan": {"$float": "nan"}}


def commit(saver: Saver, source: Path | str, iteration: int = 1) -> CheckpointInfo:
    return saver.commit(source, row=ROW, iteration=iteration, time_total_s=2.5, score=0.5)


# --- what is committed ------------------------------------------------------------------------------------------------


def test_a_foreign_directory_is_copied_as_it_is(saver: Saver, trial: Path, folder: Folder) -> None:
    source = folder(FILES)
    (source / "empty").mkdir()
    info = commit(saver, source)
    assert contents(trial / "checkpoint_000000") == FILES
    assert (trial / "checkpoint_000000" / "empty").is_dir()
    assert contents(source) == FILES
    assert names(trial) == ["checkpoint_000000"]
    assert info == CheckpointInfo(
        number=0,
        directory="checkpoint_000000",
        attempt=2,
        segment=1,
        iteration=1,
        time_total_s=2.5,
        nbytes=7 + len(LARGE),
        boot_id="boot",
        score=0.5,
        digested=False,
    )


def test_our_own_directory_is_renamed_and_no_byte_copied(saver: Saver, trial: Path) -> None:
    staged = fill(saver.staging(), FILES)
    inodes = {name: (staged / name).stat().st_ino for name in FILES}
    info = commit(saver, staged)
    checkpoint = trial / info.directory
    assert contents(checkpoint) == FILES
    assert {name: (checkpoint / name).stat().st_ino for name in FILES} == inodes
    assert names(trial) == ["checkpoint_000000"]


def test_our_own_directory_is_known_by_another_name(saver: Saver, trial: Path, tmp_path: Path) -> None:
    staged = fill(saver.staging(), {"a": b"1"})
    inode = (staged / "a").stat().st_ino
    (tmp_path / "alias").symlink_to(trial)
    commit(saver, tmp_path / "alias" / staged.name)
    assert (trial / "checkpoint_000000" / "a").stat().st_ino == inode


def test_the_manifest_says_what_was_committed(saver: Saver, trial: Path, folder: Folder) -> None:
    commit(saver, folder({"a": b"1"}))
    commit(saver, folder({"a": b"12", "b/c": LARGE}), iteration=2)
    manifest = read_manifest(trial / "checkpoint_000001")
    assert (manifest.trial, manifest.attempt, manifest.segment, manifest.number) == ("t1", 2, 1, 1)
    assert (manifest.iteration, manifest.boot_id, manifest.row) == (2, "boot", ROW)
    assert manifest.parent == Source(trial="t1", number=0)
    assert {name: file.size for name, file in manifest.files.items()} == {"a": 2, "b/c": len(LARGE)}
    text = json.loads((trial / "checkpoint_000001" / ".perdure.json").read_text())
    assert text["row"]["loss"] == 0.5, "other tools can read it"


@pytest.mark.parametrize("staged", [False, True])
def test_small_checkpoints_have_their_digests_at_once(saver: Saver, trial: Path, folder: Folder, staged: bool) -> None:
    files = {"a": os.urandom(1000), "b": os.urandom(SMALL - 1000)}
    info = commit(saver, fill(saver.staging(), files) if staged else folder(files))
    assert info.digested
    verify_checkpoint(trial / info.directory, trusted=False)


def test_an_empty_directory_is_a_checkpoint(saver: Saver, trial: Path, folder: Folder) -> None:
    info = commit(saver, folder({}))
    assert info.digested
    assert info.nbytes == 0
    verify_checkpoint(trial / info.directory)


def test_numbers_and_stagings_go_on(trial: Path, folder: Folder) -> None:
    saver = Saver(trial, trial="t1", attempt=0, next_number=7, parent=Source(trial="donor", number=3))
    first, second = saver.staging(), saver.staging()
    assert first != second
    assert commit(saver, fill(second, {"a": b"2"})).number == 7
    assert commit(saver, fill(first, {"a": b"1"})).number == 8
    assert read_manifest(trial / "checkpoint_000007").parent == Source(trial="donor", number=3)
    assert contents(trial / "checkpoint_000008") == {"a": b"1"}


def test_a_symbolic_link_becomes_what_it_points_to(saver: Saver, trial: Path, folder: Folder) -> None:
    elsewhere = folder({"weights": b"shared", "deep/file": b"far"})
    for number, source in enumerate([folder({"a": b"1"}), fill(saver.staging(), {"a": b"1"})]):
        (source / "weights").symlink_to(elsewhere / "weights")
        (source / "best").symlink_to(source / "a")
        (source / "tree").symlink_to(elsewhere)
        commit(saver, source)
        checkpoint = trial / f"checkpoint_{number:06d}"
        expected = {"a": b"1", "best": b"1", "weights": b"shared", "tree/weights": b"shared", "tree/deep/file": b"far"}
        assert contents(checkpoint) == expected
        assert not any(path.is_symlink() for path in checkpoint.rglob("*"))
        verify_checkpoint(checkpoint)
    assert contents(elsewhere) == {"weights": b"shared", "deep/file": b"far"}


def test_a_hard_link_into_our_own_directory_does_not_stay_one(saver: Saver, trial: Path, folder: Folder) -> None:
    outside = folder({"weights": b"first"}) / "weights"
    staged = saver.staging()
    os.link(outside, staged / "weights")
    info = commit(saver, staged)
    outside.write_bytes(b"second epoch")
    assert contents(trial / info.directory) == {"weights": b"first"}
    verify_checkpoint(trial / info.directory)


def test_a_restored_folder_can_be_saved_again(saver: Saver, trial: Path, folder: Folder, tmp_path: Path) -> None:
    source = folder({"a": b"1"})
    Checkpoint(source).set_metadata({"epoch": 3})
    info = commit(saver, source)
    again = commit(saver, trial / info.directory, iteration=2)
    staged = saver.staging()
    for name in os.listdir(trial / info.directory):
        (staged / name).write_bytes((trial / info.directory / name).read_bytes())
    (staged / ".perdure-digests.json").write_text("of another checkpoint")
    third = commit(saver, staged, iteration=3)
    for number, checkpoint in ((1, again), (2, third)):
        manifest = read_manifest(trial / checkpoint.directory)
        assert (manifest.number, list(manifest.files)) == (number, ["a"])
        assert Checkpoint(trial / checkpoint.directory).get_metadata() == {"epoch": 3}
        verify_checkpoint(trial / checkpoint.directory)


def test_metadata_may_change_after_the_commit(saver: Saver, trial: Path, folder: Folder) -> None:
    info = commit(saver, folder({"a": b"1"}))
    Checkpoint(trial / info.directory).set_metadata({"later": True})
    verify_checkpoint(trial / info.directory)


# --- what is refused --------------------------------------------------------------------------------------------------


def nothing_was_saved(trial: Path) -> bool:
    return names(trial) == []


def test_a_missing_source_is_told(saver: Saver, trial: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointMissingError, match="gone"):
        commit(saver, tmp_path / "gone")
    assert nothing_was_saved(trial)


def test_a_file_as_source_is_told(saver: Saver, trial: Path, folder: Folder) -> None:
    with pytest.raises(CheckpointError, match="is not a directory"):
        commit(saver, folder({"model.pt": b"1"}) / "model.pt")
    assert nothing_was_saved(trial)


@pytest.mark.parametrize("what", ["fifo", "dangling", "loop"])
def test_what_cannot_be_saved_is_named(saver: Saver, trial: Path, folder: Folder, what: str) -> None:
    source = folder({"a": b"1"})
    if what == "fifo":
        os.mkfifo(source / "odd")
    elif what == "dangling":
        (source / "odd").symlink_to(source / "nothing")
    else:
        (source / "below").mkdir()
        (source / "below" / "odd").symlink_to(source / "below")
    with pytest.raises(CheckpointError, match="odd"):
        commit(saver, source)
    assert nothing_was_saved(trial)


def test_a_file_of_the_users_with_our_name_is_refused(saver: Saver, trial: Path, folder: Folder) -> None:
    with pytest.raises(CheckpointError, match="rename or remove"):
        commit(saver, folder({".perdure.json": b"{}"}))
    staged = fill(saver.staging(), {".perdure.json": b"my own"})
    with pytest.raises(CheckpointError, match="rename or remove"):
        commit(saver, staged)
    assert (staged / ".perdure.json").read_bytes() == b"my own"


def test_the_trials_own_directory_is_refused(saver: Saver, trial: Path) -> None:
    for source in (trial, trial.parent):
        with pytest.raises(CheckpointError, match="own directory"):
            commit(saver, source)
    assert nothing_was_saved(trial)


def test_an_unknown_durability_is_refused(trial: Path) -> None:
    with pytest.raises(ConfigurationError, match="sometimes"):
        Saver(trial, trial="t", attempt=0, durability="sometimes")


@pytest.mark.parametrize("held", ["checkpoint", "file"])
def test_a_number_that_is_taken_is_never_replaced(saver: Saver, trial: Path, folder: Folder, held: str) -> None:
    if held == "checkpoint":
        commit(Saver(trial, trial="t1", attempt=9), folder({"a": b"theirs"}))
    else:
        (trial / "checkpoint_000000").write_bytes(b"theirs")
    staged = fill(saver.staging(), {"a": b"ours"})
    for source in (folder({"a": b"ours"}), staged):
        with pytest.raises(CheckpointError, match="already there"):
            commit(saver, source)
    taken = trial / "checkpoint_000000"
    assert (contents(taken) if taken.is_dir() else taken.read_bytes()) in ({"a": b"theirs"}, b"theirs")
    saver.discard()
    assert names(trial) == ["checkpoint_000000"]


# --- a source that does not hold still --------------------------------------------------------------------------------


def during_the_copy(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object], *, at: str = "commit.file") -> None:
    def fault_point(name: str) -> None:
        if name == at:
            action()

    monkeypatch.setattr(transfer, "fault_point", fault_point)


@pytest.mark.parametrize("size", [10, SMALL + 1])
@pytest.mark.parametrize("change", ["grown", "rewritten", "added", "removed"])
def test_a_change_while_it_is_copied_is_told(
    saver: Saver, trial: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch, change: str, size: int
) -> None:
    source = folder({"a": bytes(size)})
    os.utime(source / "a", ns=(1, 1))
    actions = {
        "grown": lambda: (source / "a").write_bytes(bytes(size) + b"more"),
        "rewritten": lambda: (source / "a").write_bytes(b"x" * size),
        "added": lambda: (source / "b").write_bytes(b"x"),
        "removed": lambda: (source / "a").unlink(),
    }
    during_the_copy(monkeypatch, actions[change])
    with pytest.raises(CheckpointError, match=r"changed while it was being saved.*Nothing was saved"):
        commit(saver, source)
    assert nothing_was_saved(trial)


@pytest.mark.parametrize("change", ["grown", "removed"])
def test_a_change_before_the_file_is_reached_is_told(
    saver: Saver, trial: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    source = folder({"a": b"12345"})
    action = (lambda: (source / "a").write_bytes(b"123456789")) if change == "grown" else (source / "a").unlink
    during_the_copy(monkeypatch, action, at="commit.listed")
    with pytest.raises(CheckpointError, match="changed while it was being saved"):
        commit(saver, source)
    assert nothing_was_saved(trial)


# --- a storage that fails ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, StorageFullError), (errno.EDQUOT, StorageFullError), (errno.EIO, StorageError)]
)
@pytest.mark.parametrize("step", ["small", "large", "manifest", "rename"])
def test_a_storage_that_fails_leaves_no_trace_and_the_next_one_works(
    saver: Saver, trial: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch, number: int, kind: type, step: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    source = folder({"a": LARGE if step == "large" else b"1"})
    with monkeypatch.context() as patch:
        if step == "rename":
            patch.setattr(transfer.os, "rename", fail)
        elif step == "large":
            patch.setattr(transfer, "copy_file", fail)
        elif step == "small":
            patch.setattr(transfer, "write_all", fail)
        else:
            patch.setattr(transfer, "encode_manifest", fail)
        with pytest.raises(kind, match="Trial t1: checkpoint 0") as caught:
            commit(saver, source)
    assert type(caught.value) is kind
    assert caught.value.errno == number
    assert nothing_was_saved(trial)
    assert commit(saver, source).number == 0


def test_discard_removes_what_was_not_committed(saver: Saver, trial: Path) -> None:
    kept = fill(saver.staging(), {"a": b"1"})
    one, other, third = (fill(saver.staging(), {"a": b"1"}) for _ in range(3))
    commit(saver, kept)
    saver.discard(one)
    assert names(trial) == sorted([other.name, third.name, "checkpoint_000000"])
    saver.discard()
    saver.discard()
    assert names(trial) == ["checkpoint_000000"]


def test_a_staging_directory_made_ahead_is_the_next_one(saver: Saver, trial: Path, folder: Folder) -> None:
    saver.prepare()
    saver.prepare()
    (ahead,) = names(trial)
    assert saver.staging().name == ahead
    saver.prepare()
    commit(saver, folder({"a": b"1"}))
    assert names(trial) == [ahead, "checkpoint_000000"]
    saver.prepare()
    saver.discard()
    assert names(trial) == ["checkpoint_000000"]


def test_a_staging_directory_made_ahead_may_be_cleared_away(saver: Saver, trial: Path, folder: Folder) -> None:
    saver.prepare()
    for ahead in trial.iterdir():
        ahead.rmdir()
    info = commit(saver, folder({"a": b"1"}))
    assert names(trial) == [info.directory]
    verify_checkpoint(trial / info.directory)


def test_what_cannot_be_made_ahead_is_an_error_only_once_it_is_needed(
    saver: Saver, trial: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "mkdir", full)
        saver.prepare()
        with pytest.raises(StorageFullError, match="no staging directory could be made"):
            saver.staging()
    assert names(trial) == []
    assert saver.staging().is_dir()


# --- durability="strict" ----------------------------------------------------------------------------------------------


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is synced and renamed, in order."""
    steps: list[str] = []
    fsync, rename = os.fsync, os.rename

    def recording_fsync(descriptor: int) -> None:
        steps.append(f"fsync {os.path.basename(os.readlink(f'/proc/self/fd/{descriptor}'))}")
        fsync(descriptor)

    def recording_rename(source: str, target: str) -> None:
        steps.append(f"rename {os.path.basename(target)}")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(os, "rename", recording_rename)
    return steps


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="names descriptors through /proc")
@pytest.mark.parametrize("staged", [False, True])
def test_strict_syncs_everything_before_the_rename_and_the_rename_after(
    trial: Path, folder: Folder, recorded: list[str], staged: bool
) -> None:
    saver = Saver(trial, trial="t", attempt=0, durability="strict")
    files = {"a": b"1", "deep/b": LARGE}
    commit(saver, fill(saver.staging(), files) if staged else folder(files))
    at = recorded.index("rename checkpoint_000000")
    before, after = recorded[:at], recorded[at + 1 :]
    assert sorted(before[:-1]) == ["fsync .perdure.json", "fsync a", "fsync b", "fsync deep"]
    assert before.index("fsync b") < before.index("fsync deep")
    assert before[-1] == "fsync .staging-0-0", "the directory, after all that is in it"
    assert after[:2] == ["fsync trial", "fsync experiment"]


def test_by_default_nothing_waits_for_the_disk(saver: Saver, folder: Folder, recorded: list[str]) -> None:
    commit(saver, folder({"a": b"1", "b": LARGE}))
    assert recorded == ["rename checkpoint_000000"]


def test_a_failed_fsync_is_no_commit(trial: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "disk failed")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match="disk failed"):
        commit(Saver(trial, trial="t", attempt=0, durability="strict"), folder({"a": b"1"}))
    assert nothing_was_saved(trial)


def test_a_name_that_cannot_be_synced_is_no_commit(
    trial: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(directory: str) -> None:
        raise OSError(errno.EIO, "disk failed")

    saver = Saver(trial, trial="t", attempt=0, durability="strict")
    with monkeypatch.context() as patch:
        patch.setattr(transfer, "fsync_path", fail)
        with pytest.raises(StorageError, match="disk failed"):
            commit(saver, folder({"a": b"1"}))
    assert nothing_was_saved(trial)
    assert commit(saver, folder({"a": b"1"})).number == 0


def test_without_kernel_copying_large_files_arrive_too(
    saver: Saver, trial: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_methods", {})
    monkeypatch.setattr(copying, "_reflink", lambda *_: False)
    monkeypatch.setattr(copying, "_copy_range", lambda *_: False)
    commit(saver, folder({"large": LARGE}))
    assert contents(trial / "checkpoint_000000") == {"large": LARGE}


def test_a_number_that_an_earlier_attempt_took_without_being_heard_is_taken_back(trial: Path, folder: Folder) -> None:
    """The worker of a driver that lost the experiment was still saving when the next driver's worker had begun."""
    earlier, later = Saver(trial, trial="t1", attempt=1), Saver(trial, trial="t1", attempt=2)
    commit(earlier, folder({"a": b"theirs"}))
    commit(later, folder({"a": b"ours"}))
    assert contents(trial / "checkpoint_000000") == {"a": b"ours"}
    with pytest.raises(CheckpointError, match="already there"):
        commit(Saver(trial, trial="t1", attempt=1), folder({"a": b"theirs"}))
    assert contents(trial / "checkpoint_000000") == {"a": b"ours"}
