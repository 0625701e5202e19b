"""Populations of every format that was ever released: what is cloned, pinned, retried, asked for and grown is kept."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from perdure.cli.main import main
from perdure.config import ResumeConfig
from perdure.control.door import CONTROL
from perdure.core.events import (
    CheckpointPinned,
    CheckpointsDeleted,
    DefinitionChanged,
    DriverStarted,
    Noticed,
    Outcome,
    Reported,
    StopRequested,
    TrialActed,
)
from perdure.core.state import Status
from perdure.history import ExperimentHistory, TrialHistory, read_experiment
from perdure.journal.file import FileJournalReader
from perdure.tune import ResultGrid, Tuner
from tests.journals.population import GROWN, METADATA, PAUSED, PINNED, RATES, STEPS, TRIALS, UNPINNED, advance

FIXTURES = sorted(Path(__file__).parent.glob("v*/population"))
KEPT = 2
"""`num_to_keep`."""


@pytest.fixture(params=FIXTURES, ids=lambda path: f"{path.parent.name}-{path.name}")
def fixture(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


@pytest.fixture
def copy(fixture: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fixture, tmp_path / fixture.name))


def events_of(path: Path) -> list[Any]:
    return [event for _, event in FileJournalReader(path).read()]


def trial_of(history: ExperimentHistory, number: int) -> TrialHistory:
    return list(history.trials.values())[number]


def assert_each_row_follows_from_the_one_before(history: ExperimentHistory) -> None:
    """From the row before it in its attempt, or from what the checkpoint held that its attempt began with."""
    reported = [event for event in events_of(Path(history.path)) if isinstance(event, Reported)]
    saved = {(row.trial, row.checkpoint.number): row.metrics for row in reported if row.checkpoint is not None}
    assert reported
    for trial in history.trials.values():
        for attempt in trial.attempts:
            start = attempt.start
            before = {"count": 0, "value": 1} if start is None else saved[start.trial, start.number]
            for row in (row for row in reported if (row.trial, row.attempt) == (trial.id, attempt.number)):
                rate = attempt.config["rate"]
                assert row.metrics["count"] == row.iteration == before["count"] + 1  # type: ignore[operator]
                assert row.metrics["value"] == advance(before["value"], rate), (trial.id, row)  # type: ignore[arg-type]
                before = row.metrics


def clones_of(history: ExperimentHistory) -> list[tuple[int, int]]:
    """Return (trial, donor), by their numbers, of each clone that was begun."""
    return [
        (trial.number, history.trials[step.donor].number)
        for trial in history.trials.values()
        for step in trial.lineage()
        if step.donor is not None
    ]


def content_of(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_it_holds_what_can_befall_a_population(fixture: Path) -> None:
    history, events = read_experiment(fixture), events_of(fixture)
    assert len(history.trials) == GROWN
    assert [status.value for status in (trial.status for trial in history.trials.values())] == [
        "TERMINATED",
        "TERMINATED",
        "RUNNING",  # when its driver was killed
        "PAUSED",
    ]
    assert [event.imports for event in events if isinstance(event, DriverStarted)] == [("/fixture",), (), ("/fixture",)]
    assert {trial for trial, _ in clones_of(history)} == {1, 2, 3}
    assert [trial.failures for trial in history.trials.values()] == [0, 0, 0, 1]
    assert trial_of(history, 3).rows_superseded == 1
    asked = [event.action for event in events if isinstance(event, TrialActed) and event.action.hold is not None]
    assert [(history.trials[act.trial].number, act.hold) for act in asked] == [(PAUSED, True), (PAUSED, False)]
    assert [event.reason for event in events if isinstance(event, StopRequested)] == ["request"]
    pinned = [event for event in events if isinstance(event, CheckpointPinned)]
    assert [(history.trials[pin.item.trial].number, pin.item.number) for pin in pinned] == [(PINNED, 0), (UNPINNED, 0)]
    assert [bool(pin.request) for pin in pinned] == [False, True]
    grown = [event.changes for event in events if isinstance(event, DefinitionChanged)]
    assert [[(change.what, change.before, change.after) for change in changes] for changes in grown] == [
        [("num_samples", TRIALS, GROWN)]
    ]
    assert any(isinstance(event, CheckpointsDeleted) for event in events)
    assert list(fixture.glob("snapshot-*"))
    assert len(list((fixture / CONTROL).iterdir())) == 1


def test_its_rows_are_right(fixture: Path) -> None:
    history = read_experiment(fixture)
    assert_each_row_follows_from_the_one_before(history)
    for trial in history.trials.values():
        keys = [(row.segment, row.iteration) for row in trial.rows()]
        assert len(set(keys)) == len(keys)
        assert keys == sorted(keys)


def test_it_is_read_and_verified_and_nothing_of_it_changes(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = content_of(copy)
    grid = ResultGrid.from_path(copy)
    assert [result.status for result in grid] == ["TERMINATED", "TERMINATED", "RUNNING", "PAUSED"]
    assert [result.metrics["value"] for result in grid] == [
        trial.last_row().metrics["value"]  # type: ignore[union-attr]
        for trial in read_experiment(copy).trials.values()
    ]
    assert grid.get_best_result("value", "max").metrics["training_iteration"] == STEPS
    first = grid[PINNED].best_checkpoints[0][0]
    assert (Path(first.path).name, first.get_metadata()) == ("checkpoint_000000", METADATA)
    clone = grid[2]
    assert clone.lineage[-1].donor == grid[3].trial_id
    assert clone.config == clone.lineage[-1].config
    assert len(clone.metrics_dataframe) == len(list(read_experiment(copy).trials[clone.trial_id].rows()))

    assert main(["show", str(copy), "--lineage", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["lineage"]
    assert [[step["donor"] for step in trial["steps"]] for trial in shown] == [
        [step.donor for step in result.lineage] for result in grid
    ]
    assert main(["verify", str(copy), "--json"]) == 0
    verified = json.loads(capsys.readouterr().out)
    assert (verified["problems"], verified["pickles"]) == ([], 3)
    assert verified["checkpoints"] == sum(len(trial.checkpoints) for trial in read_experiment(copy).trials.values())
    assert content_of(copy) == before


def test_it_is_restored_and_comes_to_its_end(fixture: Path, copy: Path) -> None:
    definition = Tuner.restore(copy).definition
    run_config = dataclasses.replace(definition.run_config, executor="inline", verbose=0)
    Tuner(_restored=(dataclasses.replace(definition, run_config=run_config), ResumeConfig())).fit()
    before, history = read_experiment(fixture), read_experiment(copy)
    assert [trial.status for trial in history.trials.values()] == [Status.TERMINATED] * GROWN
    assert [trial.last_row().iteration for trial in history.trials.values()] == [STEPS] * GROWN  # type: ignore[union-attr]
    assert_each_row_follows_from_the_one_before(history)
    for trial in history.trials.values():
        again = trial.attempts[len(before.trials[trial.id].attempts) :]
        assert bool(again) != before.trials[trial.id].status.finished
        assert all(attempt.outcome in (Outcome.FINISHED, Outcome.PAUSED) for attempt in again)
        assert all(attempt.start is not None for attempt in again), "it went on from a checkpoint of the old format"
        assert trial.config["rate"] in RATES
    assert clones_of(history)[: len(clones_of(before))] == clones_of(before)
    notes = [event.text for event in events_of(copy)[len(events_of(fixture)) :] if isinstance(event, Noticed)]
    assert not [text for text in notes if "damaged" in text or "gone" in text]
    left = [[int(path.name[-6:]) for path in sorted(copy.glob(f"{t.directory}/ch*"))] for t in history.trials.values()]
    assert [numbers[0] == 0 for numbers in left] == [number == PINNED for number in range(GROWN)], "as was asked for"
    assert [len(numbers) for numbers in left] == [KEPT + (number == PINNED) for number in range(GROWN)]
    assert not list((copy / CONTROL).iterdir())
    assert main(["verify", str(copy)]) == 0


def test_it_grows(copy: Path) -> None:
    definition = Tuner.restore(copy, num_samples=GROWN + 1).definition
    run_config = dataclasses.replace(definition.run_config, executor="inline", verbose=0)
    Tuner(_restored=(dataclasses.replace(definition, run_config=run_config), ResumeConfig())).fit()
    history = read_experiment(copy)
    assert [trial.status for trial in history.trials.values()] == [Status.TERMINATED] * (GROWN + 1)
    assert_each_row_follows_from_the_one_before(history)
