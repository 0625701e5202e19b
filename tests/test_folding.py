"""What earlier sessions left: processes of this experiment, and of no other, are ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from perdure.core.state import State
from perdure.folding import Recovered, end_leftovers
from perdure.journal.base import START
from perdure.storage.leftovers import ATTEMPT_VARIABLE, attempt_token


def test_an_experiment_whose_path_begins_alike_is_left_alone(tmp_path: Path) -> None:
    def attempt_of(path: Path) -> subprocess.Popen[bytes]:
        environment = {**os.environ, ATTEMPT_VARIABLE: f"{attempt_token(str(path))}a/1"}
        code = "print('there', flush=True); input()"
        started = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        assert started.stdout is not None
        assert started.stdout.readline() == b"there\n"  # the kernel tells a new program's environment a moment late
        return started

    recovered = Recovered(state=State(), snapshot=None, position=START, unsettled=(), processes=())
    with attempt_of(tmp_path / "exp") as ours, attempt_of(tmp_path / "exp2") as another:
        assert end_leftovers(recovered, tmp_path / "exp") == []
        assert ours.wait(timeout=120) == -9
        assert another.poll() is None
        another.kill()
