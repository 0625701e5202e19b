"""A disk that fills up under the driver: a clear error, a whole history, and with space again it goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.cli.verify import examine
from perdure.tune import Tuner
from tests import gate
from tests.crash.harness import (
    NAME,
    assert_kept,
    assert_whole,
    gate_of,
    output_of,
    read_experiment,
    run_until,
)
from tests.crash.workload import Class, function
from tests.faults.disks import resize, small_memory_disk


def fill(path: Path) -> None:
    """Leave no space on the file system."""
    with path.open("wb", buffering=0) as file:
        block = bytes(1 << 16)
        while block:
            try:
                file.write(block)
            except OSError:
                block = block[: len(block) // 2]


@pytest.mark.parametrize("every", [1, 100], ids=["with checkpoints", "journal alone"])
@pytest.mark.parametrize("way_out", ["a file is removed", "the disk grows"])
@pytest.mark.parametrize("api", ["function", "class"])
def test_a_disk_that_fills_up_while_it_runs(tmp_path: Path, api: str, every: int, way_out: str) -> None:
    options = {"every": every, "pause": 0.02, "steps": 200 if every > 1 else 20, "samples": 2}
    with small_memory_disk(tmp_path / "disk", "4m") as disk:
        driver = run_until(disk, 4, api, begin=8, **options)
        fill(disk / "filler")
        gate.open_(gate_of(disk))
        code = driver.wait(timeout=120)
        before = read_experiment(disk / NAME)
        errors = [trial.error.message for trial in before.trials.values() if trial.error is not None]
        assert all("there is no space left" in error for error in errors), errors
        if code:
            told = output_of(disk).read_text().strip().splitlines()[-1]
            assert "StorageFullError" in told
            assert "Make space, then resume the experiment" in told
        else:  # each trial met it before the driver did
            assert len(errors) == 2
        assert not any(problem.serious for problem in examine(disk / NAME).problems)
        assert sum(trial.row_count for trial in before.trials.values()) >= 4
        if way_out == "a file is removed":
            (disk / "filler").unlink()
        else:
            resize(disk, "16m")
        assert_kept(disk)
        Tuner.restore(disk / NAME, function if api == "function" else Class, resume_errored=True).fit()
        assert_whole(read_experiment(disk / NAME), samples=2, steps=options["steps"])  # type: ignore[arg-type]
