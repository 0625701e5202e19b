"""What nobody will ever finish is removed wherever somebody looks; what is in the making is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from perdure.checkpoints.durability import write_anew
from perdure.checkpoints.recovery import sweep
from perdure.checkpoints.transfer import Saver
from perdure.control.door import CONTROL, Door
from perdure.journal.file import FileJournal
from perdure.storage import processes, temporaries
from perdure.storage.temporaries import ABANDONED_S, sweep_temporaries, temporary_beside
from perdure.storage.uri import check_writable


@pytest.fixture(scope="module")
def of_the_dead() -> str:
    """The name of a file whose maker is gone."""
    code = "from perdure.storage.temporaries import temporary_name; print(temporary_name())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


def _door(experiment: Path) -> Path:
    assert list(Door(experiment).read()) == []
    return experiment / CONTROL


def _journal(experiment: Path) -> Path:
    FileJournal(experiment).close()
    return experiment


def _trial(experiment: Path) -> Path:
    sweep(experiment / "trial", keep=frozenset())
    return experiment / "trial"


def _checkpoint(experiment: Path) -> Path:
    folder = experiment / "inherited" / "checkpoint_000000"
    write_anew(str(folder))
    return folder


def _storage(experiment: Path) -> Path:
    check_writable(experiment)
    return experiment


@pytest.mark.parametrize("look", [_door, _journal, _trial, _checkpoint, _storage])
def test_what_the_dead_have_left_is_removed_and_what_is_in_the_making_is_not(
    tmp_path: Path, of_the_dead: str, look: Callable[[Path], Path]
) -> None:
    for name in (CONTROL, "trial", "inherited"):
        (tmp_path / name).mkdir()
    saver = Saver(tmp_path / "inherited", trial="t", attempt=1)
    (staging := saver.staging()).joinpath("model").write_bytes(b"1")
    saver.commit(staging, row={}, iteration=1, time_total_s=0.0)
    living = Path(temporary_beside("/somewhere")).name
    for folder in (tmp_path, tmp_path / CONTROL, tmp_path / "trial", tmp_path / "inherited" / "checkpoint_000000"):
        (folder / of_the_dead).write_bytes(b"half")
        (folder / living).write_bytes(b"half")
    looked_at = look(tmp_path)
    assert [path.name for path in looked_at.iterdir() if path.name.startswith(".perdure-tmp-")] == [living]


def test_a_process_of_another_machine_is_dead_when_it_has_been_silent_for_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(processes, "hostname", lambda: "elsewhere")
        patch.setattr(os, "getpid", lambda: 1 << 30)
        young, old = (Path(temporary_beside(str(tmp_path / name))) for name in ("young", "old"))
    for path in (young, old):
        path.write_bytes(b"half")
    then = time.time() - ABANDONED_S - 60
    os.utime(old, (then, then))
    sweep_temporaries(tmp_path)
    assert (young.exists(), old.exists()) == (True, False)


def test_a_directory_in_the_making_goes_with_all_in_it(tmp_path: Path, of_the_dead: str) -> None:
    (tmp_path / of_the_dead / "deep").mkdir(parents=True)
    (tmp_path / of_the_dead / "deep" / "file").write_bytes(b"")
    temporaries.sweep_temporaries(tmp_path)
    temporaries.sweep_temporaries(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []
