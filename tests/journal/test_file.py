from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from perdure.core.events import AnyEvent, DriverStopped
from perdure.errors import (
    ClaimLostError,
    ConfigurationError,
    ExperimentLockedError,
    JournalCorruptError,
    JournalVersionError,
    StorageError,
    StorageFullError,
)
from perdure.journal import codec, epochs
from perdure.journal.base import START, JournalReader, JournalWriter, Position
from perdure.journal.claim import read_claim
from perdure.journal.file import FileJournal, FileJournalReader, repair_journal, verify_journal
from perdure.testing.journal import JournalTests, Place, report

FIRST, SECOND, THIRD = (f"journal-{epoch:06d}.jsonl" for epoch in (1, 2, 3))


def numbers(directory: Path, after: Position = START) -> list[int]:
    """Return the iterations of the reports that a new reader reads."""
    return [event.iteration for _, event in FileJournalReader(directory).read(after)]  # type: ignore[union-attr]


def written_by(directory: Path, *iterations: int, **options: float) -> None:
    with FileJournal(directory, **options) as journal:  # type: ignore[arg-type]
        for iteration in iterations:
            journal.append([report(iteration)])


def change(path: Path, offset: int, byte: int | None = None) -> None:
    content = bytearray(path.read_bytes())
    content[offset] = content[offset] ^ 1 if byte is None else byte
    path.write_bytes(content)


def add(path: Path, tail: bytes) -> None:
    with path.open("ab") as file:
        file.write(tail)


def opened_quietly(directory: Path) -> FileJournal:
    """Return a journal whose background thread has had its first turn and will not have another in this test."""
    journal = FileJournal(directory, sync_interval_s=3600, lease_s=6 * 3600)
    for _ in range(2000):
        if epochs.read_head(directory) is not None:
            return journal
        time.sleep(0.01)
    pytest.fail("the head was never written")


class TestFileJournal(JournalTests):
    @pytest.fixture(autouse=True)
    def _dead(self, make_dead: Callable[[Path], None]) -> None:
        self.make_dead = make_dead

    def make_place(self, tmp_path: Path) -> Place:
        return tmp_path / "experiment"

    def open_writer(self, place: Place) -> JournalWriter:
        assert isinstance(place, Path)
        return FileJournal(place)

    def open_reader(self, place: Place) -> JournalReader:
        assert isinstance(place, Path)
        return FileJournalReader(place)

    def die(self, place: Place, writer: JournalWriter) -> None:
        assert isinstance(place, Path)
        self.make_dead(place)


# --- the file itself


def test_other_tools_can_read_it(experiment: Path) -> None:
    header, *records = [json.loads(line) for line in (experiment / SECOND).read_text().splitlines()]
    assert header["h"]["after"]["epoch"] == 1
    assert header["h"]["after"]["length"] == (experiment / FIRST).stat().st_size
    assert [(record["e"], record["q"], record["d"]["iteration"]) for record in records] == [
        (2, 6, 6),
        (2, 7, 7),
        (2, 8, 8),
    ]


def test_strict_and_default_write_the_same(tmp_path: Path) -> None:
    for strict in (False, True):
        with FileJournal(tmp_path / str(strict), strict=strict) as journal:
            journal.append([report(1), report(2)])
    strict_file, default_file = (tmp_path / name / FIRST for name in ("True", "False"))
    assert strict_file.read_bytes().split(b"\n")[1:] == default_file.read_bytes().split(b"\n")[1:]


def test_the_head_follows_within_the_interval(tmp_path: Path) -> None:
    with FileJournal(tmp_path, sync_interval_s=0.01) as journal:
        journal.append([report(1), report(2)])
        for _ in range(2000):
            head = epochs.read_head(tmp_path)
            if head is not None and head.sequence == 2:
                break
            time.sleep(0.01)
        assert head == epochs.Head(
            1, 2, journal.position.offset, epochs.hash_file(tmp_path / FIRST, journal.position.offset)[0]
        )


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot be opened"):
        FileJournal(tmp_path / "file")


@pytest.mark.parametrize("options", [{"sync_interval_s": 0}, {"lease_s": -1}])
def test_times_must_be_positive(tmp_path: Path, options: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        FileJournal(tmp_path, **options)  # type: ignore[arg-type]


def test_a_moved_or_copied_directory_opens(experiment: Path, tmp_path: Path) -> None:
    shutil.copytree(experiment, tmp_path / "copy")
    experiment.rename(tmp_path / "moved")
    for name in ("copy", "moved"):
        written_by(tmp_path / name, 9)
        assert numbers(tmp_path / name) == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_the_copy_of_a_running_experiment_opens(tmp_path: Path) -> None:
    with opened_quietly(tmp_path / "original") as journal:
        journal.append([report(1)])
        shutil.copytree(tmp_path / "original", tmp_path / "copy")
        written_by(tmp_path / "copy", 2)
        journal.append([report(3)])
    assert numbers(tmp_path / "original") == [1, 3]
    assert numbers(tmp_path / "copy") == [1, 2]


def test_leftover_temporary_files_are_swept(experiment: Path) -> None:
    leftovers = [".journal-000003.jsonl.0011aabb.tmp", ".journal.head.0011aabb.tmp"]
    for name in leftovers:
        (experiment / name).write_text("half")
    written_by(experiment, 9)
    assert not [name for name in leftovers if (experiment / name).exists()]
    assert numbers(experiment)[-1] == 9


# --- torn tails


def test_a_record_torn_at_any_byte_is_cut_and_reported(
    tmp_path: Path, make_dead: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # it would be a thousand times
    monkeypatch.setattr(epochs, "fdatasync", lambda _: None)
    original = tmp_path / "original"
    journal = opened_quietly(original)
    journal.append([report(1), report(2)])
    journal.sync()
    synced = journal.position.offset
    journal.append([report(3)])
    end = journal.position.offset
    for size in range(synced, end):
        torn = tmp_path / str(size)
        shutil.copytree(original, torn)
        os.truncate(torn / FIRST, size)
        make_dead(torn)
        reader = FileJournalReader(torn)
        assert [event.iteration for _, event in reader.read()] == [1, 2]  # type: ignore[union-attr]
        with FileJournal(torn, sync_interval_s=3600, lease_s=6 * 3600) as second:
            if size == synced:
                assert second.cut is None
            else:
                assert second.cut is not None
                assert (second.cut.file, second.cut.line, second.cut.offset) == (FIRST, 4, synced)
                assert second.cut.nbytes == size - synced
            second.append([report(4)])
        assert numbers(torn) == [1, 2, 4]
        assert (torn / FIRST).stat().st_size == size, "a predecessor is never truncated"
        assert verify_journal(torn) == []
        shutil.rmtree(torn)
    journal.close()


def test_a_record_damaged_after_the_head_is_cut_with_all_that_follows(
    tmp_path: Path, make_dead: Callable[[Path], None]
) -> None:
    journal = opened_quietly(tmp_path / "e")
    journal.append([report(1)])
    journal.sync()
    synced = journal.position.offset
    journal.append([report(2), report(3)])
    shutil.copytree(tmp_path / "e", tmp_path / "crashed")
    journal.close()
    make_dead(tmp_path / "crashed")
    change(tmp_path / "crashed" / FIRST, synced + 5)
    with FileJournal(tmp_path / "crashed") as second:
        assert second.cut is not None
        assert second.cut.offset == synced
        assert "checksum" in second.cut.what
    assert numbers(tmp_path / "crashed") == [1]


def test_a_torn_tail_is_read_once_it_is_whole(tmp_path: Path) -> None:
    with opened_quietly(tmp_path) as journal:
        journal.append([report(1)])
        line = codec.encode_event(report(2), 1, 2)
        reader = FileJournalReader(tmp_path)
        ((position, _),) = reader.read()
        for cut in (1, len(line) // 2, len(line) - 1):
            with (tmp_path / FIRST).open("r+b") as file:
                file.truncate(position.offset)
            add(tmp_path / FIRST, line[:cut])
            assert list(reader.read(position)) == []
        add(tmp_path / FIRST, line[cut:])
        assert [event for _, event in reader.read(position)] == [report(2)]
        os.truncate(tmp_path / FIRST, position.offset)


def test_an_epoch_whose_driver_died_before_its_header_was_whole_is_void(experiment: Path) -> None:
    header = (experiment / SECOND).read_bytes().split(b"\n")[0]
    for size in (0, 1, len(header)):
        (experiment / THIRD).write_bytes(header[:size])
        assert numbers(experiment) == [1, 2, 3, 4, 5, 6, 7, 8]
        assert verify_journal(experiment) == []
    with FileJournal(experiment) as journal:
        assert journal.epoch == 4
        journal.append([report(9)])
    assert numbers(experiment) == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_without_hard_links_the_epoch_is_still_created_exclusively(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "no links here")

    monkeypatch.setattr(os, "link", no_links)
    written_by(tmp_path, 1, 2)
    written_by(tmp_path, 3)
    assert numbers(tmp_path) == [1, 2, 3]
    header = epochs.Header(created_at=0.0, host="h", pid=1)
    with pytest.raises(ExperimentLockedError, match="created journal-000002.jsonl first"):
        epochs.create_epoch(tmp_path, 2, header, 0)
    assert numbers(tmp_path) == [1, 2, 3]


def test_of_two_drivers_that_race_for_an_epoch_one_loses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written_by(tmp_path, 1)
    create = epochs.create_epoch

    def overtaken(directory: Path, epoch: int, header: epochs.Header, sequence: int) -> tuple[int, bytes]:
        os.close(create(directory, epoch, header, sequence)[0])  # a driver on another host is faster
        return create(directory, epoch, header, sequence)

    monkeypatch.setattr(epochs, "create_epoch", overtaken)
    with pytest.raises(ExperimentLockedError, match="created journal-000002.jsonl first"):
        FileJournal(tmp_path)
    monkeypatch.undo()
    written_by(tmp_path, 2)
    assert numbers(tmp_path) == [1, 2]


# --- damage


def copy_of(experiment: Path, name: str) -> Path:
    shutil.rmtree(experiment.parent / name, ignore_errors=True)
    return Path(shutil.copytree(experiment, experiment.parent / name))


@pytest.mark.parametrize("name", [FIRST, SECOND])
def test_a_flipped_byte_anywhere_is_refused(experiment: Path, name: str) -> None:
    """Both epochs ended in good order, so every byte of them is before the head or a successor's header."""
    size = (experiment / name).stat().st_size
    before = sorted(os.listdir(experiment))
    for offset in range(size):
        change(experiment / name, offset)
        with pytest.raises(JournalCorruptError, match=rf"{name}, line \d+, byte \d+"):
            FileJournal(experiment)
        with pytest.raises(JournalCorruptError, match=rf"{name}, line \d+, byte \d+"):
            list(FileJournalReader(experiment).read())
        (first, *_) = verify_journal(experiment)
        assert (first.file, first.refused) == (name, True)
        assert first.offset <= offset <= first.offset + first.nbytes
        change(experiment / name, offset)
    assert sorted(os.listdir(experiment)) == before
    assert numbers(experiment) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_damage_is_named_by_line_and_byte(experiment: Path) -> None:
    lines = (experiment / FIRST).read_bytes().split(b"\n")
    offset = sum(len(line) + 1 for line in lines[:3])
    change(experiment / FIRST, offset + 40)
    with pytest.raises(JournalCorruptError, match=rf"{FIRST}, line 4, byte {offset}: its checksum"):
        FileJournal(experiment)
    assert [(damage.line, damage.offset, damage.refused) for damage in verify_journal(experiment)] == [
        (4, offset, True)
    ]


@pytest.mark.parametrize("name", [FIRST, SECOND])
@pytest.mark.parametrize("lost", [1, 60, 400])
def test_a_truncated_epoch_is_refused(experiment: Path, name: str, lost: int) -> None:
    os.truncate(experiment / name, (experiment / name).stat().st_size - lost)
    with pytest.raises(JournalCorruptError, match=name):
        FileJournal(experiment)
    with pytest.raises(JournalCorruptError, match=name):
        list(FileJournalReader(experiment).read())
    assert any(damage.refused for damage in verify_journal(experiment))


@pytest.mark.parametrize("name", [FIRST, SECOND])
def test_truncation_between_records_is_refused(experiment: Path, name: str) -> None:
    content = (experiment / name).read_bytes()
    os.truncate(experiment / name, content[:-1].rindex(b"\n") + 1)
    with pytest.raises(JournalCorruptError, match=name):
        FileJournal(experiment)
    with pytest.raises(JournalCorruptError, match=name):
        list(FileJournalReader(experiment).read())


@pytest.mark.parametrize("name", [FIRST, SECOND])
def test_an_emptied_epoch_is_called_so(experiment: Path, name: str) -> None:
    (experiment / name).write_bytes(b"")
    with pytest.raises(JournalCorruptError, match=f"{name}, line 1, byte 0: the file is empty"):
        FileJournal(experiment)
    assert [damage.what for damage in verify_journal(experiment)] == ["the file is empty, and had at least a header"]


@pytest.mark.parametrize("changed", [[FIRST], [SECOND], [FIRST, SECOND, epochs.HEAD_NAME]])
def test_changed_line_ends_are_called_so_and_can_be_changed_back(experiment: Path, changed: list[str]) -> None:
    """All files of a directory, if Git did it."""
    for name in changed:
        (experiment / name).write_bytes((experiment / name).read_bytes().replace(b"\n", b"\r\n"))
    with pytest.raises(JournalCorruptError, match=r"line 1, byte 0: its lines end in CR and LF: .* a single LF"):
        FileJournal(experiment)
    for name in changed:
        (experiment / name).write_bytes((experiment / name).read_bytes().replace(b"\r\n", b"\n"))
    assert list(verify_journal(experiment)) == []
    assert numbers(experiment) == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("name", [FIRST, SECOND])
def test_a_missing_epoch_is_refused(experiment: Path, name: str) -> None:
    (experiment / name).unlink()
    with pytest.raises(JournalCorruptError, match=f"{name}.*missing"):
        FileJournal(experiment)
    with pytest.raises(JournalCorruptError, match=f"{name}.*missing"):
        list(FileJournalReader(experiment).read())


def test_records_that_are_whole_but_not_those_that_were_synced_are_refused(experiment: Path) -> None:
    lines = (experiment / SECOND).read_bytes().splitlines(keepends=True)
    lines[-1] = codec.encode_event(report(9), 2, 8)  # as long as the one it replaces
    (experiment / SECOND).write_bytes(b"".join(lines))
    with pytest.raises(JournalCorruptError, match="not the ones that had reached the disk"):
        FileJournal(experiment)


@pytest.mark.parametrize(("number", "what"), [(2, "is 2 where 3"), (4, "is 4 where 3")])
def test_a_gap_or_a_repeat_of_sequence_numbers_is_damage(
    tmp_path: Path, number: int, what: str, make_dead: Callable[[Path], None]
) -> None:
    journal = opened_quietly(tmp_path / "e")
    journal.append([report(1), report(2)])
    shutil.copytree(tmp_path / "e", tmp_path / "f")
    journal.close()
    make_dead(tmp_path / "f")
    add(tmp_path / "f" / FIRST, codec.encode_event(report(3), 1, number))
    assert numbers(tmp_path / "f") == [1, 2]
    with FileJournal(tmp_path / "f") as second:
        assert second.cut is not None
        assert what in second.cut.what


# --- the head


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b'{"epoch":1,"sequence":0,"offset":5,"hash":"","c":"00000000"}\n']
)
def test_a_bad_head_is_ignored_with_a_note(experiment: Path, content: bytes) -> None:
    (experiment / epochs.HEAD_NAME).write_bytes(content)
    assert numbers(experiment) == [1, 2, 3, 4, 5, 6, 7, 8]
    with FileJournal(experiment) as journal:
        assert any("journal.head is damaged" in note for note in journal.notes)
    with FileJournal(experiment) as journal:
        assert journal.notes == ()


def test_a_missing_head_is_ignored_with_a_note(experiment: Path) -> None:
    (experiment / epochs.HEAD_NAME).unlink()
    assert numbers(experiment) == [1, 2, 3, 4, 5, 6, 7, 8]
    with FileJournal(experiment) as journal:
        assert any("journal.head is missing" in note for note in journal.notes)
        assert journal.cut is None


def test_without_a_head_damage_that_valid_records_follow_is_refused(experiment: Path) -> None:
    (experiment / epochs.HEAD_NAME).unlink()
    change(experiment / SECOND, (experiment / SECOND).read_bytes().index(b'"q":7'))
    with pytest.raises(JournalCorruptError, match=f"{SECOND}, line 3"):
        FileJournal(experiment)
    with pytest.raises(JournalCorruptError, match=f"{SECOND}, line 3"):
        list(FileJournalReader(experiment).read())


def test_without_a_head_a_finished_experiment_is_refused_where_it_is_damaged(tmp_path: Path) -> None:
    with FileJournal(tmp_path) as journal:
        journal.append([report(1), report(2)])
        journal.append([DriverStopped(at=1.0, finished=True)])
    (tmp_path / epochs.HEAD_NAME).unlink()
    closing = (tmp_path / FIRST).read_bytes().splitlines(keepends=True)[-1]
    size = (tmp_path / FIRST).stat().st_size
    for offset in range(0, size - len(closing), 11):
        change(tmp_path / FIRST, offset)
        with pytest.raises(JournalCorruptError):
            FileJournal(tmp_path)
        change(tmp_path / FIRST, offset)


def test_without_a_head_a_bad_tail_is_cut(experiment: Path) -> None:
    (experiment / epochs.HEAD_NAME).unlink()
    change(experiment / SECOND, (experiment / SECOND).read_bytes().index(b'"q":8'))
    assert numbers(experiment) == [1, 2, 3, 4, 5, 6, 7]
    with FileJournal(experiment) as journal:
        assert journal.cut is not None
        assert journal.cut.file == SECOND


# --- repair


def test_repair_without_cut_changes_nothing(experiment: Path) -> None:
    change(experiment / FIRST, 300)
    before = sorted(os.listdir(experiment))
    assert repair_journal(experiment, cut=False)
    assert sorted(os.listdir(experiment)) == before
    with pytest.raises(JournalCorruptError):
        FileJournal(experiment)


def test_repair_of_a_whole_journal_does_nothing(experiment: Path) -> None:
    before = sorted(os.listdir(experiment))
    assert repair_journal(experiment, cut=True) == []
    assert sorted(os.listdir(experiment)) == before


@pytest.mark.parametrize(
    ("name", "needle", "kept"),
    [
        (FIRST, b'"q":3', [1, 2]),  # in a closed epoch: what later epochs wrote is given up too
        (SECOND, b'"q":7', [1, 2, 3, 4, 5, 6]),
        (SECOND, b'"h":', [1, 2, 3, 4, 5]),  # its header
        (FIRST, b'"q":1,', []),
    ],
)
def test_repair_keeps_all_before_the_damage_and_no_byte_is_lost(
    experiment: Path, name: str, needle: bytes, kept: list[int]
) -> None:
    change(experiment / name, (experiment / name).read_bytes().index(needle))
    before = {path.name: path.read_bytes() for path in experiment.glob("journal-*.jsonl")}
    assert repair_journal(experiment, cut=True)[0].file == name
    assert numbers(experiment) == kept
    written_by(experiment, 9)
    assert numbers(experiment) == [*kept, 9]
    assert verify_journal(experiment) == []
    assert {file: (experiment / file).read_bytes() for file in before} == before


def test_repair_after_the_newest_epoch_is_gone(experiment: Path) -> None:
    (experiment / SECOND).unlink()
    (damage,) = repair_journal(experiment, cut=True)
    assert damage.file == SECOND
    assert numbers(experiment) == [1, 2, 3, 4, 5]


def test_repair_with_nothing_to_keep_is_refused(experiment: Path) -> None:
    (experiment / FIRST).unlink()
    (experiment / SECOND).unlink()
    (experiment / THIRD).write_bytes(b"")
    with pytest.raises(JournalCorruptError, match="no record is before"):
        repair_journal(experiment, cut=True)


def test_repair_while_a_driver_runs_is_refused(tmp_path: Path) -> None:
    with FileJournal(tmp_path), pytest.raises(ExperimentLockedError):
        repair_journal(tmp_path, cut=True)


def test_a_position_that_was_repaired_away_is_refused(experiment: Path) -> None:
    reader = FileJournalReader(experiment)
    *_, (position, _) = reader.read()
    change(experiment / FIRST, (experiment / FIRST).read_bytes().index(b'"q":3'))
    repair_journal(experiment, cut=True)
    with pytest.raises(StorageError, match="no longer part of the journal"):
        list(reader.read(position))


def test_verify_while_a_driver_writes_finds_nothing(tmp_path: Path) -> None:
    stop = threading.Event()
    found: list[object] = []

    def verify() -> None:
        while not stop.is_set():
            found.extend(verify_journal(tmp_path))

    with FileJournal(tmp_path, sync_interval_s=0.001) as journal:
        thread = threading.Thread(target=verify)
        thread.start()
        for number in range(1, 2000):
            journal.append([report(number)])
        stop.set()
        thread.join()
    assert found == []


# --- versions


def at_version(experiment: Path, version: int) -> None:
    """Rewrite the journal as a perdure of another schema version would have written it."""
    epoch = max(experiment.glob("journal-*.jsonl"))
    old = f'"v":{codec.VERSION},'.encode()
    lines = [line.replace(old, f'"v":{version},'.encode(), 1) for line in epoch.read_bytes().splitlines()]
    epoch.write_bytes(b"".join(codec.seal(line[: line.rindex(b',"c"')]) for line in lines))
    (experiment / epochs.HEAD_NAME).unlink()


def test_a_newer_journal_is_refused_and_left_alone(experiment: Path) -> None:
    at_version(experiment, codec.VERSION + 1)
    before = sorted(os.listdir(experiment))
    for attempt in (FileJournal, verify_journal, lambda path: list(FileJournalReader(path).read())):
        with pytest.raises(JournalVersionError, match="newer perdure"):
            attempt(experiment)
    assert sorted(os.listdir(experiment)) == before


def test_an_older_journal_is_read_and_continued(experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rename_iteration(data: dict[str, object]) -> dict[str, object]:
        return {**data, "iteration": int(data["iteration"]) * 10}  # type: ignore[call-overload]

    monkeypatch.setattr(codec, "VERSION", codec.VERSION + 1)
    monkeypatch.setattr(codec, "_UPCASTS", {codec.VERSION - 1: rename_iteration})
    assert numbers(experiment) == [10, 20, 30, 40, 50, 60, 70, 80]
    written_by(experiment, 9)
    assert numbers(experiment) == [10, 20, 30, 40, 50, 60, 70, 80, 9]


# --- a full or failing disk


def fail_writes(monkeypatch: pytest.MonkeyPatch, journal: FileJournal, code: int, *, after: int = 0) -> None:
    """Let the next write to the journal's file take `after` bytes and then fail."""
    real, left = os.write, [after]

    def write(descriptor: int, data: bytes) -> int:
        if descriptor != journal._descriptor:
            return real(descriptor, data)
        if not left[0]:
            raise OSError(code, os.strerror(code))
        count = real(descriptor, bytes(data[: left[0]]))
        left[0] = 0
        return count

    monkeypatch.setattr(os, "write", write)


@pytest.mark.parametrize("after", [0, 1, 250])
def test_a_full_disk_leaves_nothing_of_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    with FileJournal(tmp_path) as journal:
        journal.append([report(1)])
        before = journal.position
        fail_writes(monkeypatch, journal, errno.ENOSPC, after=after)
        with pytest.raises(StorageFullError, match="no space"):
            journal.append([report(2), report(3)])
        assert journal.position == before
        assert (tmp_path / FIRST).stat().st_size == before.offset
        monkeypatch.undo()
        journal.append([report(4)])
    assert numbers(tmp_path) == [1, 4]


def test_what_was_staged_can_be_committed_once_there_is_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FileJournal(tmp_path) as journal:
        journal.stage(report(1))
        fail_writes(monkeypatch, journal, errno.ENOSPC, after=9)
        with pytest.raises(StorageFullError):
            journal.commit()
        monkeypatch.undo()
        journal.commit()
    assert numbers(tmp_path) == [1]


def test_a_failing_disk_ends_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = FileJournal(tmp_path)
    journal.append([report(1)])
    fail_writes(monkeypatch, journal, errno.EIO, after=9)
    with pytest.raises(StorageError, match="Input/output error"):
        journal.append([report(2)])
    monkeypatch.undo()
    with pytest.raises(StorageError, match="Input/output error"):
        journal.append([report(3)])
    journal.close()
    assert numbers(tmp_path) == [1]


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    with FileJournal(tmp_path) as journal:
        monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data[:10])))
        journal.append([report(1), report(2)])
        monkeypatch.undo()
    assert numbers(tmp_path) == [1, 2]


def test_a_sync_that_fails_ends_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    journal = opened_quietly(tmp_path)
    journal.append([report(1)])
    monkeypatch.setattr(epochs, "fdatasync", fails)
    with pytest.raises(StorageError, match="cannot know what was kept"):
        journal.sync()
    monkeypatch.undo()
    with pytest.raises(StorageError, match="cannot know what was kept"):
        journal.append([report(2)])
    journal.close()


def test_a_sync_that_waited_for_one_that_failed_fails_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second sync would succeed, and the head would say that the bytes which the kernel dropped are there."""
    journal = opened_quietly(tmp_path)
    journal.append([report(1)])
    head, synced = epochs.read_head(tmp_path), threading.Event()
    failures: list[StorageError] = []

    def sync_too() -> None:
        with pytest.raises(StorageError, match="cannot know what was kept") as raised:
            journal.sync()
        failures.append(raised.value)

    def fails_once(_: int) -> None:
        if synced.is_set():
            return
        synced.set()
        passed = threading.Event()
        look = journal._claim.check
        monkeypatch.setattr(journal._claim, "check", lambda: (look(), passed.set()))
        other.start()
        assert passed.wait(30), "the other one has found nothing wrong, and will wait"
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    other = threading.Thread(target=sync_too)
    monkeypatch.setattr(epochs, "fdatasync", fails_once)
    with pytest.raises(StorageError, match="cannot know what was kept"):
        journal.sync()
    other.join()
    journal.close()
    assert len(failures) == 1
    assert epochs.read_head(tmp_path) == head


def test_a_strict_append_that_does_not_reach_the_disk_is_not_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    journal = FileJournal(tmp_path, strict=True, sync_interval_s=3600, lease_s=6 * 3600)
    while epochs.read_head(tmp_path) is None:  # its thread has had its turn
        time.sleep(0.01)
    journal.append([report(1)])
    monkeypatch.setattr(epochs, "fdatasync", fails)
    with pytest.raises(StorageError):
        journal.append([report(2)])
    monkeypatch.undo()
    journal.close()
    assert numbers(tmp_path) == [1]


def test_a_head_that_does_not_fit_on_the_disk_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with opened_quietly(tmp_path) as journal:
        journal.append([report(1)])
        monkeypatch.setattr(epochs, "write_head", full)
        journal.sync()
        journal.append([report(2)])
        monkeypatch.undo()
    assert numbers(tmp_path) == [1, 2]
    head = epochs.read_head(tmp_path)
    assert head is not None
    assert head.sequence == 2


def test_an_interrupt_in_the_middle_of_a_write_leaves_a_journal_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write

    def interrupted(descriptor: int, data: bytes) -> int:
        real(descriptor, data)
        raise KeyboardInterrupt

    with FileJournal(tmp_path) as journal:
        journal.append([report(1)])
        monkeypatch.setattr(os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            journal.append([report(2)])
        monkeypatch.undo()
        journal.append([report(3)])
    assert numbers(tmp_path) == [1, 3]
    assert verify_journal(tmp_path) == []


def test_a_new_epoch_is_synced_in_the_order_that_power_loss_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its header promises the predecessor's bytes, and its name promises the header."""
    written_by(tmp_path, 1)
    done: list[str] = []

    def recorded(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def record(*arguments: object) -> object:
            first = arguments[0]
            what = os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else str(arguments[-1])
            if threading.current_thread() is threading.main_thread():
                done.append(f"{name} {Path(what).name}")
            return real(*arguments)

        return record

    monkeypatch.setattr(epochs, "fdatasync", recorded("fdatasync", epochs.fdatasync))
    monkeypatch.setattr(os, "fsync", recorded("fsync", os.fsync))
    monkeypatch.setattr(os, "link", recorded("link", os.link))
    journal = FileJournal(tmp_path, sync_interval_s=3600, lease_s=6 * 3600)
    monkeypatch.undo()
    journal.close()
    assert done[0] == f"fdatasync {FIRST}"
    assert done[1].startswith(f"fsync .{SECOND}.")
    assert done[2:] == [f"link {SECOND}", f"fsync {tmp_path.name}"]


# --- readers


def test_a_reader_keeps_up_with_a_writer(tmp_path: Path) -> None:
    count = 3000
    seen: list[AnyEvent] = []

    def follow() -> None:
        reader, position = FileJournalReader(tmp_path), START
        while len(seen) < count:
            new = list(reader.read(position))
            seen.extend(event for _, event in new)
            position = new[-1][0] if new else position

    thread = threading.Thread(target=follow)
    thread.start()
    for epoch in range(3):
        with FileJournal(tmp_path, sync_interval_s=0.001) as journal:
            for number in range(0, count // 3, 10):
                journal.append([report(1 + epoch * count // 3 + number + index) for index in range(10)])
    thread.join()
    assert seen == [report(number) for number in range(1, count + 1)]


def test_going_on_reads_only_what_is_new(experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = FileJournalReader(experiment)
    *_, (position, _) = reader.read()
    decoded: list[bytes] = []
    decode = codec.decode
    monkeypatch.setattr(codec, "decode", lambda line: decoded.append(line) or decode(line))
    monkeypatch.setattr(epochs, "list_epochs", lambda _: pytest.fail("the directory was listed again"))
    assert list(reader.read(position)) == []
    assert decoded == []


def test_a_record_larger_than_a_chunk_is_read(tmp_path: Path) -> None:
    from perdure.core.events import Noticed

    large = Noticed(at=1.0, text="x" * 3_000_000)
    with FileJournal(tmp_path) as journal:
        assert journal.append([report(1), large, report(2)]) == [report(1), large, report(2)]
    assert [event for _, event in FileJournalReader(tmp_path).read()] == [report(1), large, report(2)]
    assert verify_journal(tmp_path) == []


def test_bytes_that_a_fenced_driver_adds_count_for_nothing(experiment: Path) -> None:
    add(experiment / FIRST, codec.encode_event(report(99), 1, 6))
    assert numbers(experiment) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert verify_journal(experiment) == []
    written_by(experiment, 9)
    assert numbers(experiment) == [1, 2, 3, 4, 5, 6, 7, 8, 9]


# --- the claim, as the journal sees it


def test_an_epoch_of_another_driver_stops_this_one(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path, sync_interval_s=3600, lease_s=6 * 3600)
    journal.append([report(1)])
    size = (tmp_path / FIRST).stat().st_size
    link = epochs.Link(epoch=1, length=size, hash=epochs.hash_file(tmp_path / FIRST, size)[0])
    header = epochs.Header(created_at=0.0, host="elsewhere", pid=1, after=link)
    os.close(epochs.create_epoch(tmp_path, 2, header, 1)[0])
    with pytest.raises(ClaimLostError, match=SECOND):
        journal.append([report(2)])
    assert (tmp_path / FIRST).stat().st_size == size
    journal.close()
    assert numbers(tmp_path) == [1]


def test_a_forked_child_can_neither_write_nor_hold_the_claim(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path / "e")
    journal.append([report(1)])
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        try:
            journal.append([report(99)])
            os.write(send, b"it wrote")
        except ClaimLostError as error:
            os.write(send, str(error).encode())
        journal.close()
        signal.pause()
    try:
        assert "forked child" in os.read(receive, 1000).decode()
        journal.append([report(2)])
        claim = read_claim(tmp_path / "e")
        assert claim is not None
        assert claim.alive, "the child's close gave nothing back"
        journal.close()
        written_by(tmp_path / "e", 3)  # while the child still lives
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(receive)
        os.close(send)
    assert numbers(tmp_path / "e") == [1, 2, 3]


@pytest.mark.parametrize("made", [0, 1, 2], ids=["by us", "in part", "by a driver that died before it could sync"])
def test_the_name_of_a_new_experiment_is_synced_whoever_made_it(
    made: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut must not take the directory in which the journal lies so safely."""
    directory = tmp_path / "results" / "experiment"
    for place in (directory.parent, directory)[:made]:
        place.mkdir()
    synced: list[Path] = []
    monkeypatch.setattr(epochs, "sync_directory", synced.append)
    FileJournal(directory).close()
    assert directory.parent in synced
    if not made:
        assert synced.index(tmp_path) < synced.index(directory.parent)


def test_an_experiment_below_a_directory_that_cannot_be_listed_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(directory: Path) -> None:
        if directory == tmp_path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(directory))

    monkeypatch.setattr(epochs, "sync_directory", refuse)
    with FileJournal(tmp_path / "experiment") as journal:
        journal.append([report(1)])


def test_the_past_of_a_driver_is_what_its_header_goes_on_from_and_nothing_else(tmp_path: Path) -> None:
    written_by(tmp_path, 1, 2)
    add(tmp_path / FIRST, b'{"e":1,"q":3,"torn')
    written_by(tmp_path, 3)
    with FileJournal(tmp_path) as journal:
        journal.append([report(4)])
        add(tmp_path / SECOND, codec.encode_event(report(9), 2, 4))  # of a driver that had lost the experiment
        past = list(journal.past.read())
        assert [event.iteration for _, event in past] == [1, 2, 3]  # type: ignore[union-attr]
        assert list(journal.past.read(past[1][0])) == past[2:]


def test_a_first_driver_has_no_past(tmp_path: Path) -> None:
    with FileJournal(tmp_path) as journal:
        journal.append([report(1)])
        assert list(journal.past.read()) == []
