"""`perdure resume` of a script that imports a module of its own, from another directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

MODULE = """
import os
import signal
from settings import LOSS
from perdure import tune

def train(config):
    for step in range(3):
        if "INTERRUPT" in os.environ:
            signal.raise_signal(signal.SIGINT)
        tune.report({"loss": LOSS})
"""

SCRIPT = """
import os
import sys
from pathlib import Path
sys.path.append(str(Path(__file__).parent / "lib"))
from model import train
from perdure import tune

if __name__ == "__main__":
    os.environ["INTERRUPT"] = "once"
    results = tune.Tuner(
        train,
        run_config=tune.RunConfig(name="exp", storage_path=sys.argv[1], executor="inline", verbose=0),
    ).fit()
    assert results.interrupted
"""


def python(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=200, check=False)


def test_modules_beside_the_script_are_found_and_missed_by_name(tmp_path: Path) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    (project / "lib").mkdir(parents=True)
    elsewhere.mkdir()
    (project / "model.py").write_text(MODULE)
    (project / "lib" / "settings.py").write_text("LOSS = 0.5")
    (project / "script.py").write_text(SCRIPT)
    ran = python(project / "script.py", tmp_path / "results", cwd=elsewhere)
    assert ran.returncode == 0, ran.stderr

    project.rename(tmp_path / "away")
    refused = python("-m", "perdure", "resume", tmp_path / "results" / "exp", cwd=elsewhere)
    assert refused.returncode == 2
    assert "No module named 'model'" in refused.stderr
    assert f"The experiment's script had its modules in {project} (which is not here)" in refused.stderr
    assert "PYTHONPATH" in refused.stderr

    (tmp_path / "away").rename(project)
    resumed = python("-m", "perdure", "resume", tmp_path / "results" / "exp", cwd=elsewhere)
    assert resumed.returncode == 0, resumed.stderr
