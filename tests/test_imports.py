"""What importing perdure costs, and what it drags in."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ["numpy", "pandas", "rich", "sklearn", "scipy", "torch", "pyarrow", "asyncio", "tensorboard", "hypothesis"]


def loaded_by(statement: str) -> set[str]:
    """Names of the modules that a fresh interpreter has loaded after `statement`."""
    code = f"import sys, json\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout))


@pytest.mark.parametrize("statement", ["import perdure", "from perdure import train, tune"])
def test_importing_perdure_loads_nothing_heavy(statement: str) -> None:
    assert not loaded_by(statement) & set(HEAVY)


def test_using_the_tuner_loads_nothing_heavy() -> None:
    statement = "from perdure import train, tune; tune.Tuner, tune.RunConfig, train.report, tune.Checkpoint"
    assert not loaded_by(statement) & set(HEAVY)


def test_importing_perdure_loads_no_plugin() -> None:
    loaded = loaded_by("from perdure import train, tune")
    assert not {name for name in loaded if name.startswith(("perdure.searchers", "perdure.loggers", "perdure.cli"))}


def test_import_is_silent() -> None:
    command = [sys.executable, "-W", "error", "-c", "from perdure import train, tune; tune.Tuner"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == result.stderr == ""


def test_the_public_attributes_are_reachable_from_the_bare_package() -> None:
    code = "import perdure; print(perdure.tune.result.SHOULD_CHECKPOINT, perdure.train.RunConfig.__name__)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["should_checkpoint", "RunConfig"]
