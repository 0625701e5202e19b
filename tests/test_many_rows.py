"""Rows are folded and tabulated many at a time, and read in outline: nothing that comes of it may depend on that."""

import math
import random
from itertools import chain

import msgspec
import pytest

from perdure.core.events import Decision, Outcome, Reported, Source, Spec
from perdure.errors import JournalCorruptError
from perdure.history import ExperimentHistory, read_experiment
from perdure.journal.epochs import epoch_path
from perdure.journal.file import FileJournalReader
from perdure.journal.outlines import PASSED_OVER, RowOutline
from perdure.result_grid import ResultGrid
from perdure.rows import flatten
from perdure.testing.written import WrittenExperiment


class Story:
    """Writes an experiment in which whatever can befall a trial does so at random."""

    def __init__(self, path, seed):
        self.random = random.Random(seed)
        self.path = path
        self.written = WrittenExperiment(path, spec=Spec(max_failures=-1))
        self.iterations = {}  # of those that run
        self.checkpoints = {}  # by trial: (number, iteration) of the newest
        for _ in range(self.random.choice([1, 3, 7])):
            self.create()

    def create(self):
        trial = self.written.trial({"lr": self.random.random(), "net": {"width": self.random.randrange(9)}})
        self.start(trial)

    def start(self, trial):
        number, iteration = self.checkpoints.get(trial, (None, 0))
        start = None if number is None else Source(trial=trial, number=number)
        self.written.attempt(trial, start, iteration=iteration)
        self.iterations[trial] = iteration

    def metrics(self):
        draw = self.random.random
        metrics = {"loss": draw(), "step": self.random.randrange(100)}
        rare = {
            "late": 0.5,
            "count": 3,
            "loss": math.nan,
            "step": 0.25,
            "note": "tried again",
            "flag": True,
            "nothing": None,
            "valid": {"loss": draw(), "deep": {"er": [1, 2]}},
            "large": 2**70,
            "huge": 2**63,
            "done": False,
            "pair": (1, math.inf),
        }
        return metrics | {name: value for name, value in rare.items() if draw() < self.rarity}

    def report(self, trial, **extra):
        self.iterations[trial] += 1
        self.written.report(trial, self.iterations[trial], self.metrics(), **extra)

    def tell(self):
        for _ in range(40):
            self.rarity = self.random.choice([0.0, 0.0, 0.01, 0.3])
            running = list(self.iterations)
            for _ in range(self.random.randrange(60)):
                if running:
                    self.report(self.random.choice(running))
            self.event(self.random.choice(running) if running else None)
        self.written.close()

    def event(self, trial):
        what = self.random.choice(["checkpoint", "checkpoint", "failure", "stop", "driver", "create"])
        if what == "create" or trial is None:
            self.create()
        elif what == "checkpoint":
            number = self.checkpoints.get(trial, (-1, 0))[0] + 1
            self.report(trial, checkpoint=number)
            self.checkpoints[trial] = (number, self.iterations[trial])
        elif what == "failure":
            self.written.fail(trial)
            self.start(trial)
        elif what == "stop":
            self.report(trial, decision=Decision.STOP)
            self.written.end(trial, Outcome.STOPPED)
            del self.iterations[trial]
        else:
            self.written.crash()
            earlier, self.written = self.written, WrittenExperiment(self.path, resumed=True)
            self.written.go_on(earlier)
            for each in self.iterations:
                self.start(each)


@pytest.fixture(params=range(8))
def told(request, tmp_path):
    Story(tmp_path / "exp", request.param).tell()
    return tmp_path / "exp"


def test_reading_at_once_is_the_same_as_event_by_event(told):
    at_once = read_experiment(told)
    reader = FileJournalReader(told)
    one_by_one = ExperimentHistory(reader, path=told)
    one_by_one.fold_all(reader.read())
    in_memory = ExperimentHistory()
    in_memory.fold_all(reader.read())
    for other in (one_by_one, in_memory):
        assert (at_once.position, at_once.updated_at) == (other.position, other.updated_at)
        assert at_once.state.trials == other.state.trials
        assert at_once.state.counts == other.state.counts
        for trial, expected in zip(at_once.trials.values(), other.trials.values(), strict=True):
            rows = list(trial.rows())
            assert rows == list(expected.rows())
            assert [trial.row(row.segment, row.iteration) for row in rows[::7]] == rows[::7]
            assert trial.last_row() == expected.last_row()
            assert trial.rows_superseded == expected.rows_superseded
            assert trial.attempts == expected.attempts
    assert sum(trial.rows_superseded for trial in at_once.trials.values()) > 0
    assert list(chain.from_iterable(at_once.all_rows())) == list(chain.from_iterable(one_by_one.all_rows()))


def test_a_history_that_was_read_goes_on_where_it_ended(told):
    at_once = read_experiment(told)
    reader = FileJournalReader(told)
    halves = ExperimentHistory(reader, path=told)
    events = list(reader.read())
    halves.fold_all(events[: len(events) // 2])
    halves.refresh()
    assert halves.state.trials == at_once.state.trials
    for trial, expected in zip(halves.trials.values(), at_once.trials.values(), strict=True):
        assert list(trial.rows()) == list(expected.rows())


def test_the_table_of_all_rows_is_what_row_after_row_says(told):
    history = read_experiment(told)
    table = ResultGrid(history).table()
    expected = [flatten(history.trials[row.trial].expand(row)) for row in chain.from_iterable(history.all_rows())]
    assert set(table.columns) == {name for row in expected for name in row}
    assert len(table) == len(expected)
    for name in table.columns:
        found = list(table.values(name))
        assert [same(a, row.get(name, math.nan)) for a, row in zip(found, expected, strict=True)] == [True] * len(found)
    assert all(type(value) is bool or math.isnan(value) for value in table.values("flag"))


def same(one, other):
    """Whether two values are the same; NaN is what it is."""
    return one == other or (one != one and other != other)


def test_an_outline_lacks_only_what_changes_nothing_else():
    outline, whole = msgspec.structs.fields(RowOutline), msgspec.structs.fields(Reported)
    assert {field.name for field in whole} - {field.name for field in outline} == PASSED_OVER
    assert {field.name: field.default for field in outline}.items() <= {
        field.name: field.default for field in whole
    }.items()


@pytest.mark.parametrize("drivers", [1, 2], ids=["the last epoch", "an epoch with a successor"])
def test_damage_deep_in_a_large_journal_is_found(tmp_path, drivers):
    """What a hash vouches for is not checked line by line; a hash that does not match vouches for nothing."""
    written = WrittenExperiment(tmp_path / "exp")
    trial = written.trial()
    written.attempt(trial)
    reports = [
        Reported(at=1.0, trial=trial, attempt=1, iteration=step, metrics={"loss": 0.125, "text": "x" * 200})
        for step in range(1, 5001)
    ]
    written.write(*reports)
    written.close()
    for _ in range(drivers - 1):
        WrittenExperiment(tmp_path / "exp", resumed=True).close()
    assert read_experiment(tmp_path / "exp").trials[trial].row_count == 5000
    path = epoch_path(tmp_path / "exp", 1)
    data = path.read_bytes()
    at = data.index(b"0.125", 1_400_000)  # beyond what is always checked line by line
    path.write_bytes(data[:at] + b"0.625" + data[at + 5 :])
    line = data.rindex(b"\n", 0, at) + 1
    with pytest.raises(JournalCorruptError, match=f"byte {line}: its checksum does not match"):
        read_experiment(tmp_path / "exp")
    salvaged = read_experiment(tmp_path / "exp", salvage=True)
    assert salvaged.trials[trial].row_count == data[:line].count(b'"reported"')
