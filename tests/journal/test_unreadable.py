"""A journal that the system does not let be read is named, with what to do; that is no damage."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from perdure import tune
from perdure.errors import JournalCorruptError, StorageError
from perdure.history import read_experiment
from perdure.journal.file import FileJournal, FileJournalReader
from perdure.testing.written import WrittenExperiment

BROKEN = Path("/proc/self/mem")
"""Can be opened, and answers EIO to who reads at its beginning."""

pytestmark = pytest.mark.skipif(not BROKEN.exists(), reason="needs Linux's /proc/self/mem: a file that cannot be read")


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    written = WrittenExperiment(tmp_path / "exp")
    trial = written.trial()
    written.attempt(trial)
    for iteration in range(1, 4):
        written.report(trial, iteration, {"loss": 1.0})
    written.close()
    return written.path


def break_(path: Path) -> None:
    path.rename(path.with_suffix(".away"))
    path.symlink_to(BROKEN)


def mend(path: Path) -> None:
    os.replace(path.with_suffix(".away"), path)


@pytest.mark.parametrize("name", ["journal-000001.jsonl", "journal.head"])
@pytest.mark.parametrize("read", [read_experiment, tune.Tuner.restore, FileJournal], ids=lambda read: read.__name__)
def test_a_file_that_cannot_be_read_is_named(experiment: Path, name: str, read: Callable[[Path], object]) -> None:
    break_(experiment / name)
    with pytest.raises(StorageError, match="cannot be read: Input/output error. Nothing was changed") as raised:
        read(experiment)
    assert str(experiment / name) in str(raised.value)
    assert not isinstance(raised.value, JournalCorruptError)
    mend(experiment / name)
    assert read_experiment(experiment).trials


def test_a_file_that_can_no_longer_be_read_is_named(experiment: Path) -> None:
    """Its beginning was read before, by the same reader."""
    reader = FileJournalReader(experiment)
    position, _ = list(reader.read())[-4]
    break_(experiment / "journal-000001.jsonl")
    with pytest.raises(StorageError, match=r"journal-000001\.jsonl cannot be read: Input/output error"):
        list(reader.read(position))


def test_a_directory_in_the_place_of_a_file_is_named(experiment: Path) -> None:
    path = experiment / "journal-000001.jsonl"
    path.rename(path.with_suffix(".away"))
    path.mkdir()
    with pytest.raises(StorageError, match=r"journal-000001\.jsonl cannot be read: Is a directory"):
        read_experiment(experiment)
