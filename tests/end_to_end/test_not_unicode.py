"""Text that is not Unicode, as Python makes it of names of files in another encoding, ends nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from perdure import tune
from perdure.errors import CheckpointError, MetricError
from tests.end_to_end.conftest import Start

NAME = os.fsdecode(b"data-\xff")
"""What `os.listdir` returns for a file that was named in Latin-1."""


def test_a_trials_error_is_told_whatever_its_message_holds(tuner: Start) -> None:
    def train(config: dict[str, Any]) -> None:
        raise OSError(2, "No such file", NAME)

    error = tuner(train).fit().errors[0]
    assert "No such file: 'data-\\udcff'" in str(error)


def test_a_configuration_and_its_names_may_hold_it(tuner: Start, capfd: pytest.CaptureFixture[str]) -> None:
    def train(config: dict[str, Any]) -> None:
        tune.report({"same": config[NAME] == config["constant"][NAME], "told": config[NAME]})

    space = {NAME: tune.grid_search([NAME]), "constant": {NAME: NAME}}
    results = tuner(train, space).fit()
    assert not results.errors
    assert (results[0].metrics["same"], results[0].metrics["told"]) == (True, NAME)
    again = tuner(train, space, resume="auto").fit()
    assert again[0].config == {NAME: NAME, "constant": {NAME: NAME}}
    assert "logger" not in capfd.readouterr().err
    row = json.loads((Path(again[0].path) / "result.json").read_text())
    assert row["told"] == NAME


def test_a_checkpoint_with_such_a_file_is_refused_by_its_name(tuner: Start) -> None:
    def train(config: dict[str, Any]) -> None:
        with tune.checkpoint_dir() as directory:
            Path(directory, NAME).touch()
            tune.report({"loss": 1.0}, checkpoint=tune.Checkpoint.from_directory(directory))

    error = tuner(train).fit().errors[0]
    assert isinstance(error.__cause__, CheckpointError)
    assert "'data-\\udcff'" in str(error)


def test_the_name_of_a_metric_is_refused(tuner: Start) -> None:
    def train(config: dict[str, Any]) -> None:
        tune.report({NAME: 1.0})

    error = tuner(train).fit().errors[0]
    assert isinstance(error.__cause__, MetricError)
    assert "'data-\\udcff'" in str(error)
