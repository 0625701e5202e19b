"""Experiments of every format that was ever released are read, verified, restored and brought to their end."""

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
from tests.journals.workload import FACTORS, STEPS, expected

FIXTURES = sorted(Path(__file__).parent.glob("v*/*"))


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


def test_there_is_one_for_the_current_format() -> None:
    from perdure.journal.codec import VERSION

    assert {path.parent.name for path in FIXTURES} == {f"v{number + 1}" for number in range(VERSION)}


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


def test_it_tells_nothing_of_the_machine_that_made_it(fixture: Path) -> None:
    for file in fixture.rglob("*"):
        assert socket.gethostname() not in file.name.split(".")
        if file.is_file():
            content = file.read_bytes()
            assert not any(path in content for path in (b"/home", b"/root", b"/tmp", b"/work", b"/Users"))
