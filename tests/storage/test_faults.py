from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.storage.faults import fault_point
from perdure.testing.faults import armed, fault_environment

PASSES = "from perdure.storage.faults import fault_point\nfor i in range(3):\n fault_point('a'); print(i, flush=True)\n"


def run(**variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PASSES], env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )


def test_nothing_happens_unless_armed() -> None:
    done = run()
    assert (done.returncode, done.stdout) == (0, "0\n1\n2\n")
    assert run(PERDURE_FAULT="another").returncode == 0


@pytest.mark.parametrize(("nth", "printed"), [(1, ""), (3, "0\n1\n")])
def test_the_nth_passing_kills(nth: int, printed: str) -> None:
    done = run(**fault_environment("a", nth=nth))
    assert (done.returncode, done.stdout) == (-9, printed)


def test_with_a_marker_one_process_dies(tmp_path: Path) -> None:
    variables = fault_environment("a", marker=tmp_path / "died")
    assert [run(**variables).returncode for _ in range(3)] == [-9, 0, 0]


def test_others_die_with_it(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        (tmp_path / "victims").write_text(f"{other.pid}\n")
        assert run(**fault_environment("a", victims=tmp_path / "victims")).returncode == -9
        assert other.wait() == -9


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_arming_here_holds_for_forked_children() -> None:
    with armed("here"):
        child = os.fork()
        if child == 0:
            fault_point("here")
            os._exit(0)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == 9
    fault_point("here")
