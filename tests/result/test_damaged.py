"""Checkpoints of ended trials that turn out to be damaged: results pass over them and say so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from perdure.checkpoints.transfer import Saver
from perdure.cli.main import main
from perdure.core.events import (
    AttemptEnded,
    AttemptPlanned,
    AttemptStarted,
    CheckpointsDurable,
    CheckpointsUnsafe,
    DriverStarted,
    DriverStopped,
    ExperimentCreated,
    Outcome,
    Reported,
    Source,
    Spec,
    TrialCreated,
)
from perdure.history import read_experiment
from perdure.journal.file import FileJournal
from perdure.result import Result
from perdure.result_grid import ResultGrid
from perdure.storage.processes import boot_id


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """A finished trial with three checkpoints, the last of which the machine went down with: it is of another boot."""
    path = tmp_path / "exp"
    (path / "a").mkdir(parents=True)
    journal = FileJournal(path)
    spec = Spec(metric="loss", mode="min")
    journal.append(
        [
            ExperimentCreated(at=0.0, name="exp", trainable="train", spec=spec, version="0"),
            DriverStarted(at=0.0, epoch=1, host="h", pid=1, process_start=0.0),
            TrialCreated(at=0.0, trial="a", number=0, name="train_a", directory="a", config={}),
            AttemptPlanned(at=0.0, trial="a", attempt=1),
            AttemptStarted(at=0.0, trial="a", attempt=1, host="h", pid=2, process_start=0.0),
        ]
    )
    for number, loss in enumerate([3.0, 2.0, 1.0]):
        source = tmp_path / "weights"
        source.mkdir(exist_ok=True)
        (source / "model.bin").write_bytes(bytes([number]) * 100)
        boot = "an earlier boot" if number == 2 else boot_id()
        saver = Saver(path / "a", trial="a", attempt=1, next_number=number, boot_id=boot)
        info = saver.commit(str(source), row={"loss": loss}, iteration=number + 1, time_total_s=1.0)
        row = Reported(at=0.0, trial="a", attempt=1, iteration=number + 1, metrics={"loss": loss}, checkpoint=info)
        journal.append([row])
    journal.append(
        [
            CheckpointsDurable(at=0.0, items=(Source(trial="a", number=0), Source(trial="a", number=1))),
            CheckpointsUnsafe(at=0.0, items=(Source(trial="a", number=2),)),
            AttemptEnded(at=0.0, trial="a", attempt=1, outcome=Outcome.FINISHED),
            DriverStopped(at=0.0, finished=True),
        ]
    )
    journal.close()
    return path


def result_of(path: Path) -> Result:
    return ResultGrid(read_experiment(path))[0]


def file_of(path: Path, number: int) -> Path:
    return path / "a" / f"checkpoint_{number:06d}" / "model.bin"


def test_what_is_whole_is_offered_wherever_it_was_saved(experiment: Path) -> None:
    result = result_of(experiment)
    assert result.checkpoint is not None
    assert os.path.basename(result.checkpoint.path) == "checkpoint_000002"
    assert len(result.best_checkpoints) == 3


def test_what_a_power_cut_damaged_is_passed_over(experiment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its size is right, so only its bytes tell; nobody knows that they ever reached the disk, so they are read."""
    file_of(experiment, 2).write_bytes(bytes(100))
    result = result_of(experiment)
    with pytest.warns(UserWarning, match=r"Checkpoint 2 of trial train_a was passed over: .* is damaged: the digest"):
        checkpoint = result.checkpoint
    assert checkpoint is not None
    assert os.path.basename(checkpoint.path) == "checkpoint_000001"
    assert [metrics["loss"] for _, metrics in result.best_checkpoints] == [3.0, 2.0]
    best = result.get_best_checkpoint("loss", "min")
    assert best is not None
    assert best.path == checkpoint.path
    assert main(["verify", str(experiment)]) == 1
    assert "checkpoint a/checkpoint_000002: train_a: " in capsys.readouterr().out


def test_what_is_cut_short_is_passed_over_whatever_the_journal_says(experiment: Path) -> None:
    file_of(experiment, 1).write_bytes(b"short")
    file_of(experiment, 2).unlink()
    result = result_of(experiment)
    with pytest.warns(UserWarning, match="passed over") as warned:
        checkpoint = result.checkpoint
    assert len(warned) == 2
    assert checkpoint is not None
    assert os.path.basename(checkpoint.path) == "checkpoint_000000"


def test_with_none_left_there_is_none(experiment: Path) -> None:
    for number in range(3):
        file_of(experiment, number).unlink()
    with pytest.warns(UserWarning, match="passed over"):
        assert result_of(experiment).checkpoint is None
