"""SIGKILL at every step: a checkpoint is whole or absent, and what is left is found or swept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.checkpoints.manager import CheckpointManager
from perdure.checkpoints.manifest import SMALL, verify_checkpoint
from perdure.checkpoints.recovery import find_committed, sweep
from perdure.checkpoints.transfer import Saver
from perdure.core.events import Source
from perdure.errors import CheckpointMissingError
from perdure.testing.faults import (
    COMMIT_POINTS,
    COMMITTED_FROM,
    DELETE_POINTS,
    DURABLE_POINTS,
    INHERIT_POINTS,
    fault_environment,
)

from .conftest import contents, fill, names

FILES = {"small": b"1" * 1000, "nested/large": b"2" * (SMALL + 1)}

SAVE = """
import sys
from pathlib import Path
from perdure.checkpoints.transfer import Saver
trial, source, how, durability = sys.argv[1:]
saver = Saver(trial, trial="t1", attempt=2, next_number=1, durability=durability, boot_id="boot")
if how == "staged":
    import shutil
    source = shutil.copytree(source, saver.staging(), dirs_exist_ok=True)
saver.commit(source, row={"loss": 0.25}, iteration=2, time_total_s=1.0)
print("acknowledged")
"""

MANAGE = """
import sys
from perdure.checkpoints.manager import CheckpointManager
from perdure.core.events import Source
folder, what, *inherited = sys.argv[1:]
manager = CheckpointManager(folder + "/../..", wake=lambda: None)
source = Source(trial="t1", number=0)
if what == "delete":
    manager.delete(source, folder)
else:
    manager.make_durable(source, folder, 2 << 20, inherited=bool(inherited))
assert manager.drain(100)
print("done")
"""


def run(code: str, *arguments: object, point: str, nth: int = 1) -> bool:
    """Run `code` in a process armed at `point`; return whether it was killed there."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, **fault_environment(point, nth=nth), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, -9), done.stderr
    return done.returncode == -9


@pytest.mark.parametrize("durability", ["default", "strict"])
@pytest.mark.parametrize("how", ["foreign", "staged"])
@pytest.mark.parametrize("point", COMMIT_POINTS)
def test_a_kill_at_any_step_of_a_commit_leaves_it_whole_or_absent(
    trial: Path, tmp_path: Path, point: str, how: str, durability: str
) -> None:
    source = fill(tmp_path / "source", FILES)
    Saver(trial, trial="t1", attempt=1).commit(source, row={}, iteration=1, time_total_s=0.0)
    killed = run(SAVE, trial, source, how, durability, point=point)
    passed = {"commit.synced"} if durability == "default" else set()
    passed |= {"commit.listed", "commit.file"} if how == "staged" else set()
    assert killed == (point not in passed), "each point is passed where it should be"

    committed = not killed or COMMIT_POINTS.index(point) >= COMMIT_POINTS.index(COMMITTED_FROM)
    found = find_committed(trial)
    assert [manifest.number for manifest in found] == ([0, 1] if committed else [0])
    for manifest in found:
        verify_checkpoint(trial / f"checkpoint_{manifest.number:06d}", trusted=True)
        assert contents(trial / f"checkpoint_{manifest.number:06d}") == FILES
    if committed:
        assert (found[1].row, found[1].iteration, found[1].attempt) == ({"loss": 0.25}, 2, 2)

    kept = {f"checkpoint_{manifest.number:06d}" for manifest in found}
    sweep(trial, keep=kept)
    assert set(names(trial)) == kept
    retry = Saver(trial, trial="t1", attempt=3, next_number=len(found))
    assert retry.commit(source, row={}, iteration=3, time_total_s=0.0).number == len(found)


@pytest.mark.parametrize("point", DURABLE_POINTS)
def test_a_kill_on_the_way_to_the_disk_is_made_up_for(trial: Path, tmp_path: Path, point: str) -> None:
    source = fill(tmp_path / "source", FILES)
    info = Saver(trial, trial="t1", attempt=0).commit(source, row={}, iteration=1, time_total_s=0.0)
    folder = trial / info.directory
    assert run(MANAGE, folder, "sync", point=point)
    verify_checkpoint(folder, trusted=True)
    manager = CheckpointManager(trial.parent, wake=lambda: None)
    manager.make_durable(Source(trial="t1", number=0), folder, info.nbytes)
    assert manager.drain(100)
    manager.close()
    assert [done.kind for done in manager.poll()] == ["durable"]
    verify_checkpoint(folder, trusted=False)
    assert names(folder) == [".perdure-digests.json", ".perdure.json", "nested", "small"]


@pytest.mark.parametrize("nth", [1, 4])
@pytest.mark.parametrize("point", INHERIT_POINTS)
def test_a_kill_while_it_is_written_anew_is_made_up_for(trial: Path, tmp_path: Path, point: str, nth: int) -> None:
    source = fill(tmp_path / "source", FILES)
    info = Saver(trial, trial="t1", attempt=0).commit(source, row={}, iteration=1, time_total_s=0.0)
    folder = trial / info.directory
    assert run(MANAGE, folder, "sync", point="durable.recorded")
    assert run(MANAGE, folder, "sync", "inherited", point=point, nth=nth)
    verify_checkpoint(folder, trusted=False)
    manager = CheckpointManager(trial.parent, wake=lambda: None)
    manager.make_durable(Source(trial="t1", number=0), folder, info.nbytes, inherited=True)
    assert manager.drain(100)
    manager.close()
    assert [done.kind for done in manager.poll()] == ["durable"]
    verify_checkpoint(folder, trusted=False)
    assert names(folder) == [".perdure-digests.json", ".perdure.json", "nested", "small"]
    assert names(folder / "nested") == ["large"]


@pytest.mark.parametrize("point", DELETE_POINTS)
def test_a_kill_during_a_deletion_leaves_no_half_checkpoint(trial: Path, tmp_path: Path, point: str) -> None:
    source = fill(tmp_path / "source", FILES)
    info = Saver(trial, trial="t1", attempt=0).commit(source, row={}, iteration=1, time_total_s=0.0)
    folder = trial / info.directory
    assert run(MANAGE, folder, "delete", point=point)
    if point == DELETE_POINTS[0]:
        verify_checkpoint(folder, trusted=True)
    else:
        assert find_committed(trial) == []
        with pytest.raises(CheckpointMissingError):
            verify_checkpoint(folder, trusted=True)
    manager = CheckpointManager(trial.parent, wake=lambda: None)
    manager.delete(Source(trial="t1", number=0), folder)
    assert manager.drain(100)
    manager.close()
    assert [done.kind for done in manager.poll()] == ["deleted"]
    assert names(trial) == []
