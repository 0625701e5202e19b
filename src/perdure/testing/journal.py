"""The conformance suite of journals: inherit `JournalTests`, say how to open one, and pytest does the rest.

class TestMyJournal(JournalTests):
    def make_place(self, tmp_path): ...
    def open_writer(self, place): ...
    def open_reader(self, place): ...
    def die(self, place, writer): ...
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pytest

from perdure.core.events import (
    AnyEvent,
    AttemptEnded,
    CheckpointInfo,
    CheckpointsDurable,
    DriverStarted,
    DriverStopped,
    ExperimentCreated,
    Noticed,
    Outcome,
    Reported,
    Source,
    Spec,
    TrialCreated,
)
from perdure.errors import ClaimLostError, ExperimentLockedError, InternalError
from perdure.journal.base import START, JournalReader, JournalWriter, Position


def report(iteration: int, trial: str = "t0") -> Reported:
    """Return an event such as most of a journal's are."""
    metrics: dict[str, object] = {"loss": 1 / iteration, "epoch": iteration, "note": "naïve ☃\n"}
    return Reported(at=1.7e9 + iteration, trial=trial, attempt=1, iteration=iteration, metrics=metrics)


def some_events() -> list[AnyEvent]:
    """Return events of many kinds, with nested and empty fields."""
    return [
        ExperimentCreated(
            at=1.0,
            name="e",
            trainable="train",
            spec=Spec(metric="loss", mode="min"),
            version="0.1",
            pickles={"trainable.pkl": "00ff"},
        ),
        DriverStarted(at=1.0, epoch=1, host="h", pid=1, process_start=0.25, capacity={"CPU": 2.0}),
        TrialCreated(
            at=1.5,
            trial="t0",
            number=0,
            name="train_t0",
            directory="train_t0",
            config={"lr": 1e-300, "layers": [1, {"$tuple": [2, None]}], "deep": {"a": {"b": True}}},
        ),
        report(1),
        Reported(
            at=2.0,
            trial="t0",
            attempt=1,
            iteration=2,
            metrics={"loss": {"$float": "nan"}},
            checkpoint=CheckpointInfo(number=0, directory="checkpoint_000000", attempt=1, iteration=2, nbytes=2**40),
        ),
        CheckpointsDurable(at=3.0, items=(Source(trial="t0", number=0),)),
        Noticed(at=3.0, text='quotes " and \\ and \u2028'),
        AttemptEnded(at=4.0, trial="t0", attempt=1, outcome=Outcome.FINISHED),
        DriverStopped(at=5.0, finished=True),
    ]


class Place(Protocol):
    """Whatever says where one experiment's journal is: opaque to the suite."""


class JournalTests:
    """What holds for every journal."""

    def make_place(self, tmp_path: Path) -> Place:
        """Return a place for a new journal."""
        raise NotImplementedError

    def open_writer(self, place: Place) -> JournalWriter:
        """Open the journal as a driver does."""
        raise NotImplementedError

    def open_reader(self, place: Place) -> JournalReader:
        """Open it as an observer does."""
        raise NotImplementedError

    def die(self, place: Place, writer: JournalWriter) -> None:
        """Leave all as if the driver that has `writer` had been killed."""
        raise NotImplementedError

    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        """A place for a new journal."""
        return self.make_place(tmp_path)

    def events(self, place: Place, after: Position = START) -> list[AnyEvent]:
        """Return what a new reader reads."""
        return [event for _, event in self.open_reader(place).read(after)]

    # --- what is appended is what is read

    def test_what_was_appended_is_returned_and_read(self, place: Place) -> None:
        writer = self.open_writer(place)
        assert writer.append(some_events()) == some_events()
        assert self.events(place) == some_events()
        writer.close()
        assert self.events(place) == some_events()

    def test_the_returned_events_are_decoded_ones(self, place: Place) -> None:
        writer = self.open_writer(place)
        event = Reported(at=1, trial="t", attempt=1, iteration=1, metrics={"pair": (1, 2)})
        assert writer.append([event])[0] == Reported(
            at=1.0, trial="t", attempt=1, iteration=1, metrics={"pair": [1, 2]}
        )
        writer.close()

    def test_staged_events_are_read_once_committed(self, place: Place) -> None:
        writer = self.open_writer(place)
        assert [writer.stage(report(n)) for n in (1, 2)] == [report(1), report(2)]
        assert self.events(place) == []
        writer.commit()
        assert self.events(place) == [report(1), report(2)]
        assert writer.append([report(3)]) == [report(3)]
        assert self.events(place) == [report(1), report(2), report(3)]
        writer.close()

    def test_staged_events_come_before_what_is_appended(self, place: Place) -> None:
        writer = self.open_writer(place)
        writer.stage(report(1))
        assert writer.append([report(2)]) == [report(2)]
        assert self.events(place) == [report(1), report(2)]
        writer.close()

    def test_staged_events_are_dropped_on_close(self, place: Place) -> None:
        writer = self.open_writer(place)
        writer.append([report(1)])
        writer.stage(report(2))
        writer.close()
        assert self.events(place) == [report(1)]

    def test_an_empty_batch_is_nothing(self, place: Place) -> None:
        writer = self.open_writer(place)
        assert writer.append([]) == []
        writer.commit()
        assert self.events(place) == []
        writer.close()

    def test_a_new_journal_is_empty(self, place: Place) -> None:
        assert self.events(place) == []
        self.open_writer(place).close()
        assert self.events(place) == []

    def test_an_event_that_is_no_data_is_refused_and_leaves_nothing(self, place: Place) -> None:
        writer = self.open_writer(place)
        bad = Reported(at=1.0, trial="t", attempt=1, iteration=1, metrics={"thing": object()})
        with pytest.raises(InternalError):
            writer.append([report(1), bad])
        assert self.events(place) == []
        writer.append([report(2)])
        assert self.events(place) == [report(2)]
        writer.close()

    def test_an_event_that_could_not_be_read_back_is_refused(self, place: Place) -> None:
        writer = self.open_writer(place)
        with pytest.raises(InternalError):
            writer.append([Noticed(at=float("nan"), text="JSON has no NaN, and `at` may not be null")])
        writer.append([report(1)])
        assert self.events(place) == [report(1)]
        writer.close()

    # --- positions

    def test_sequence_numbers_count_from_one_over_epochs(self, place: Place) -> None:
        for epoch in (1, 2, 3):
            writer = self.open_writer(place)
            assert writer.epoch == epoch
            writer.append([report(1), report(2)])
            assert writer.position[:2] == (epoch, 2 * epoch)
            writer.close()
        positions = [position[:2] for position, _ in self.open_reader(place).read()]
        assert positions == [(1, 1), (1, 2), (2, 3), (2, 4), (3, 5), (3, 6)]

    def test_reading_goes_on_from_any_position(self, place: Place) -> None:
        for _ in range(3):
            writer = self.open_writer(place)
            writer.append([report(1), report(2), report(3)])
            writer.close()
        everything = list(self.open_reader(place).read())
        for index, (position, _) in enumerate(everything):
            assert list(self.open_reader(place).read(position)) == everything[index + 1 :]
            without_offset = Position(position.epoch, position.sequence)
            assert list(self.open_reader(place).read(without_offset)) == everything[index + 1 :]

    def test_reading_goes_on_from_the_writers_position(self, place: Place) -> None:
        writer = self.open_writer(place)
        before_any = writer.position
        writer.append([report(1)])
        after_one = writer.position
        writer.append([report(2)])
        assert self.events(place, before_any) == [report(1), report(2)]
        assert self.events(place, after_one) == [report(2)]
        assert self.events(place, writer.position) == []
        writer.close()
        writer = self.open_writer(place)
        assert self.events(place, writer.position) == []
        assert self.events(place, after_one) == [report(2)]
        writer.close()

    def test_a_reader_follows_a_writer_from_epoch_to_epoch(self, place: Place) -> None:
        reader, position, seen = self.open_reader(place), START, list[AnyEvent]()
        assert list(reader.read()) == []
        for epoch in range(3):
            writer = self.open_writer(place)
            for number in range(1, 4):
                writer.append([report(10 * epoch + number)])
                new = list(reader.read(position))
                seen.extend(event for _, event in new)
                position = new[-1][0]
                assert seen[-1] == report(10 * epoch + number)
            writer.close()
        assert seen == [report(10 * epoch + number) for epoch in range(3) for number in range(1, 4)]

    # --- one driver

    def test_a_second_driver_is_refused_while_the_first_lives(self, place: Place) -> None:
        writer = self.open_writer(place)
        with pytest.raises(ExperimentLockedError):
            self.open_writer(place)
        writer.append([report(1)])
        writer.close()
        assert self.events(place) == [report(1)]

    def test_what_was_acknowledged_survives_the_driver(self, place: Place) -> None:
        writer = self.open_writer(place)
        writer.append([report(1)])
        writer.append([report(2), report(3)])
        self.die(place, writer)
        assert self.events(place) == [report(1), report(2), report(3)]
        second = self.open_writer(place)
        second.append([report(4)])
        second.close()
        assert self.events(place) == [report(1), report(2), report(3), report(4)]

    def test_a_driver_that_was_taken_for_dead_cannot_write(self, place: Place) -> None:
        writer = self.open_writer(place)
        writer.append([report(1)])
        self.die(place, writer)
        second = self.open_writer(place)
        with pytest.raises(ClaimLostError):
            writer.append([report(99)])
        second.append([report(2)])
        with pytest.raises(ClaimLostError):
            writer.append([report(99)])
        second.close()
        assert self.events(place) == [report(1), report(2)]

    def test_what_was_read_can_be_read_again_at_once(self, place: Place) -> None:
        for iteration in (1, 3):
            writer = self.open_writer(place)
            writer.append([report(iteration), report(iteration + 1)])
            writer.close()
        reader = self.open_reader(place)
        everything = list(reader.read())
        for position, _ in everything:
            again = [record for records in reader.reread(position) for record in records]
            assert [(record.e, record.q) for record in again] == [known[:2] for known, _ in everything][: len(again)]
            assert [record.d for record in again] == [event for _, event in everything][: position.sequence]

    def test_nothing_can_be_appended_after_close(self, place: Place) -> None:
        writer = self.open_writer(place)
        writer.append([report(1)])
        writer.close()
        writer.close()
        with pytest.raises(ClaimLostError):
            writer.append([report(2)])
        assert self.events(place) == [report(1)]

    def test_sync_may_be_called_at_any_time(self, place: Place) -> None:
        writer = self.open_writer(place)
        writer.sync()
        writer.append([report(1)])
        writer.sync()
        writer.close()
        assert self.events(place) == [report(1)]
