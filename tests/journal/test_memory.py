from __future__ import annotations

from pathlib import Path

from perdure.journal.base import JournalReader, JournalWriter
from perdure.journal.memory import MemoryJournal, MemoryStore
from perdure.testing.journal import JournalTests, Place


class MemoryReader(MemoryJournal):
    """Only reads: takes no claim."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store


class TestMemoryJournal(JournalTests):
    def make_place(self, tmp_path: Path) -> Place:
        return MemoryStore()

    def open_writer(self, place: Place) -> JournalWriter:
        assert isinstance(place, MemoryStore)
        return MemoryJournal(place)

    def open_reader(self, place: Place) -> JournalReader:
        assert isinstance(place, MemoryStore)
        return MemoryReader(place)

    def die(self, place: Place, writer: JournalWriter) -> None:
        assert isinstance(place, MemoryStore)
        place.abandon()
