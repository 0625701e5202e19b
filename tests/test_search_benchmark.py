"""The benchmark of search runs and compares: a seed of two methods, without processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SEARCH = Path(__file__).parents[1] / "benchmarks" / "search"


def output(*command: str) -> str:
    return subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True).stdout


def test_a_search_is_run_and_compared(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    lines = output(str(SEARCH / "run.py"), "--seeds", "2", "--only", "asha", "--only", "random at once")
    runs = {(run["method"], run["seed"]): len(run["values"]) for run in map(json.loads, lines.splitlines())}
    assert runs.keys() == {(method, seed) for method in ("random at once", "asha") for seed in (0, 1)}
    whole, halved = ([epochs for (name, _), epochs in runs.items() if name == of] for of in ("random at once", "asha"))
    assert whole == [24 * 27, 24 * 27]
    assert all(64 <= epochs < 24 * 27 for epochs in halved), "ASHA has stopped no trial"

    recorded = tmp_path / "perdure.jsonl"
    recorded.write_text(lines)
    killed = tmp_path / "killed.jsonl"
    killed.write_text(lines.replace('"perdure"', '"killed"'))
    table = output(str(SEARCH / "compare.py"), str(recorded), str(killed))
    assert f"| perdure | asha | digits | {sum(halved) / 2:g} |" in table
    assert "asha on digits, several at once" in table


def test_a_curve_that_a_kill_has_changed_is_told(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    run = {"engine": "perdure", "method": "random", "problem": "branin", "seed": 0, "values": [3.0, 2.0]}
    (tmp_path / "runs.jsonl").write_text(
        json.dumps(run) + "\n" + json.dumps({**run, "engine": "killed", "values": [3.0, 1.0]}) + "\n"
    )
    command = [sys.executable, str(SEARCH / "compare.py"), str(tmp_path / "runs.jsonl")]
    told = subprocess.run(command, check=False, capture_output=True, text=True)
    assert told.returncode == 1
    assert "0 of 1 curves are the very same" in told.stdout
