"""The examples, smaller, as a user runs them."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]


IMPORTS = "import tempfile\nimport time\n"
HOLD = """
    for epoch in range(start, EPOCHS + 1):
        # The very last one begins in the second session: the first cannot be over before it is killed.
        experiment = Path(tune.get_context().get_trial_dir()).parent
        while epoch == EPOCHS and tune.get_context().get_trial_id().endswith("00003"):
            if (experiment / "journal-000002.jsonl").exists():
                break
            time.sleep(0.01)
"""


@pytest.fixture
def examples(tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of the examples with fewer and shorter trials."""
    copy = tmp_path / "examples"
    shutil.copytree(ROOT / "examples", copy, ignore=shutil.ignore_patterns("__pycache__"))
    digits = copy / "01_digits.py"
    text = digits.read_text()
    smaller = re.sub(
        r"^EPOCHS = \d+", "EPOCHS = 30", re.sub(r"^SAMPLES = \d+", "SAMPLES = 4", text, flags=re.M), flags=re.M
    )
    held = smaller.replace("\n    for epoch in range(start, EPOCHS + 1):\n", HOLD).replace("import tempfile\n", IMPORTS)
    assert held.count(HOLD) == held.count(IMPORTS) == 1
    assert smaller != text
    digits.write_text(held)
    return copy


def run(script: pathlib.Path, tmp_path: pathlib.Path) -> str:
    environment = {
        **os.environ,
        "PERDURE_STORAGE_PATH": str(tmp_path / "results"),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]),
    }
    result = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


def test_digits_killed_half_way_go_on(examples: pathlib.Path, tmp_path: pathlib.Path) -> None:
    output = run(examples / "run_digits.py", tmp_path)
    found = re.search(r"Epochs trained before the kill: (\d+); after it: (\d+); asked for: 120\.", output)
    assert found, output
    before, after = int(found[1]), int(found[2])
    assert before >= 60
    assert after < 120 - before + 4 * 2  # at most the epochs in flight are trained again
    assert output.count("TERMINATED") >= 4
    accuracy = re.search(r"no trial has seen: (0\.\d+|1\.0+)", output)
    assert accuracy, output
    assert float(accuracy[1]) > 0.85


def test_the_class_example_keeps_the_two_best_and_the_latest(examples: pathlib.Path, tmp_path: pathlib.Path) -> None:
    output = run(examples / "02_class_api.py", tmp_path)
    assert "12 trials" in output
    assert 2 <= output.count("checkpoint_0") <= 3
