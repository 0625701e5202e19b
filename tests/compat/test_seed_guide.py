"""The scripts of Ray Tune's guide to trial checkpoints run after changing nothing but the import."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
SCRIPTS = HERE / "seed_guide"
SOURCE = HERE.parents[1] / "src"


class Trial:
    """What a script left on disk for its one trial."""

    def __init__(self, storage: pathlib.Path) -> None:
        (self.experiment,) = storage.iterdir()
        (results,) = self.experiment.glob("*/result.json")
        self.path = results.parent
        self.rows = [json.loads(line) for line in results.read_text().splitlines()]

    @property
    def iterations(self) -> list[int]:
        return [row["training_iteration"] for row in self.rows]

    @property
    def checkpoints(self) -> list[pathlib.Path]:
        return sorted(self.path.glob("checkpoint_*"))

    @property
    def saved_at(self) -> list[int]:
        """The iteration of each checkpoint, from its manifest."""
        return [json.loads((path / ".perdure.json").read_text())["iteration"] for path in self.checkpoints]


def run(name: str, tmp_path: pathlib.Path) -> Trial:
    """Run a script of the guide with `ray` changed into `perdure` in its imports."""
    lines = (SCRIPTS / f"{name}.py").read_text().splitlines()
    changed = [line.replace("ray", "perdure") if line.startswith("from ray") else line for line in lines]
    assert changed != lines
    script = tmp_path / f"{name}.py"
    script.write_text("\n".join(changed))
    paths = [str(SOURCE), os.environ.get("PYTHONPATH", ""), str(HERE / "stand_ins")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PERDURE_STORAGE_PATH": str(tmp_path / "results"),
    }
    result = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return Trial(tmp_path / "results")


def test_a_function_saves_every_epoch(tmp_path: pathlib.Path) -> None:
    trial = run("function_api", tmp_path)
    assert trial.iterations == [1, 2, 3, 4, 5]
    assert trial.saved_at == [1, 2, 3, 4, 5]
    assert [path.name for path in trial.checkpoints] == [f"checkpoint_{n:06d}" for n in range(5)]
    assert all((path / "checkpoint.pt").is_file() for path in trial.checkpoints)


def test_a_function_saves_every_third_epoch(tmp_path: pathlib.Path) -> None:
    trial = run("every_three_epochs", tmp_path)
    assert trial.iterations == list(range(1, 13))
    assert trial.saved_at == [3, 6, 9, 12]
    assert [(path / "epoch.txt").read_text() for path in trial.checkpoints] == ["3", "6", "9", "12"]


def test_a_class_saves_into_the_directory_it_is_given(tmp_path: pathlib.Path) -> None:
    trial = run("class_api", tmp_path)
    assert trial.iterations == [1, 2]
    assert trial.saved_at == [2]  # the end and the frequency fall together: saved once
    assert (trial.checkpoints[0] / "model.pth").is_file()


def test_a_class_asks_for_a_checkpoint_in_its_result(tmp_path: pathlib.Path) -> None:
    trial = run("manual", tmp_path)
    preempted = [row["training_iteration"] for row in trial.rows if row["preempted"]]
    assert preempted
    assert trial.saved_at == preempted


def test_a_class_saves_periodically(tmp_path: pathlib.Path) -> None:
    assert run("periodic", tmp_path).saved_at == [2, 4, 6]


def test_a_class_saves_at_the_end_too(tmp_path: pathlib.Path) -> None:
    assert run("at_termination", tmp_path).saved_at == [10, 12]


@pytest.mark.parametrize("name", sorted(path.stem for path in SCRIPTS.glob("*.py")))
def test_the_scripts_are_ray_scripts(name: str) -> None:
    """They say nothing of perdure: the import is all that is changed."""
    text = (SCRIPTS / f"{name}.py").read_text()
    assert "from ray import" in text
    assert "perdure" not in text
