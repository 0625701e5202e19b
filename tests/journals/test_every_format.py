"""Experiments of every format that was ever released are read, verified, restored and brought to their end.

That of format 1 is from before a journal said what was asked for (`definition` in its first record) and from where the
script had its modules: journals without these open as well, and what is given anew counts as changed. A population, as
it was written later, is in `test_populations.py`.
"""

from __future__ import annotations

import dataclasses
import shutil
import socket
from pathlib import Path

import pytest

from perdure.cli.verify import examine
from perdure.config import ResumeConfig
from perdure.history import ExperimentHistory, read_experiment
from perdure.journal.values import from_data
from perdure.stoppers.trial_plateau import TrialPlateauStopper
from perdure.tune import Tuner
from tests.journals.make_fixture import SESSIONS
from tests.journals.workload import FACTORS, STEPS, expected

ALL = sorted(Path(__file__).parent.glob("v*/*"))
FIXTURES = [path for path in ALL if path.name == "interrupted"]


@pytest.fixture(params=FIXTURES, ids=lambda path: f"{path.parent.name}-{path.name}")
def fixture(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def rows_of(history: ExperimentHistory) -> dict[int, list[tuple[int, int]]]:
    rows = {}
    for trial in history.trials.values():
        config = from_data(trial.config)
        assert isinstance(config, dict)
        rows[config["factor"]] = [(int(str(r.metrics["step"])), int(str(r.metrics["value"]))) for r in trial.rows()]
    return rows


def test_there_are_some_of_each_format() -> None:
    from perdure.journal.codec import VERSION

    formats = {f"v{number + 1}" for number in range(VERSION)}
    assert {(path.parent.name, path.name) for path in ALL} == {(v, name) for v in formats for name in SESSIONS}


def test_the_first_one_says_less_than_one_of_today() -> None:
    """As long as this holds, every test here opens an old journal."""
    from perdure.core.events import ExperimentCreated
    from perdure.journal.file import FileJournalReader

    (created,) = (e for _, e in FileJournalReader(FIXTURES[0]).read() if isinstance(e, ExperimentCreated))
    assert created.definition == {}


def test_it_is_read(fixture: Path) -> None:
    history = read_experiment(fixture)
    rows = rows_of(history)
    assert set(rows) == set(FACTORS)
    assert sum(map(len, rows.values())) > STEPS
    assert all(found == expected(factor)[: len(found)] for factor, found in rows.items())
    assert {trial.status.value for trial in history.trials.values()} == {"TERMINATED", "RUNNING"}


def test_nothing_of_it_is_damaged(fixture: Path) -> None:
    findings = examine(fixture)
    assert [problem for problem in findings.problems if problem.serious or problem.part == "snapshot"] == []
    assert findings.checkpoints >= 2 * len(FACTORS)
    assert findings.pickles == 2 + len(FACTORS)


def test_it_is_restored_and_comes_to_its_end(fixture: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(fixture, tmp_path / fixture.name))
    definition = Tuner.restore(path).definition
    run_config = dataclasses.replace(definition.run_config, executor="inline", verbose=0)
    Tuner(_restored=(dataclasses.replace(definition, run_config=run_config), ResumeConfig())).fit()
    history = read_experiment(path)
    assert rows_of(history) == {factor: expected(factor) for factor in FACTORS}
    assert {trial.status.value for trial in history.trials.values()} == {"TERMINATED"}
    before = read_experiment(fixture)
    for trial in history.trials.values():
        began = [attempt.iteration for attempt in trial.attempts[len(before.trials[trial.id].attempts) :]]
        assert 0 not in began, "it went on from a checkpoint of the old format"
    assert examine(path).problems == []


def test_it_grows(fixture: Path, tmp_path: Path) -> None:
    """Also where its journal does not say what was asked for: then what is given anew counts as changed."""
    path = Path(shutil.copytree(fixture, tmp_path / fixture.name))
    stop = TrialPlateauStopper("step", std=0.0, num_results=2, grace_period=STEPS + 1)
    definition = Tuner.restore(path, num_samples=2, stop=stop).definition
    run_config = dataclasses.replace(definition.run_config, executor="inline", verbose=0)
    Tuner(_restored=(dataclasses.replace(definition, run_config=run_config), ResumeConfig())).fit()
    history = read_experiment(path)
    assert len(history.trials) == 2 * len(FACTORS)
    assert rows_of(history) == {factor: expected(factor) for factor in FACTORS}
    assert {trial.row_count for trial in history.trials.values()} == {STEPS}


@pytest.mark.parametrize("path", ALL, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_it_tells_nothing_of_the_machine_that_made_it(path: Path) -> None:
    for file in path.rglob("*"):
        assert socket.gethostname() not in file.name.split(".")
        if file.is_file():
            content = file.read_bytes()
            assert not any(place in content for place in (b"/home", b"/root", b"/tmp", b"/work", b"/Users"))
