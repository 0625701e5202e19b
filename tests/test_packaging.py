"""What `pip install perdure` brings: built from the sources, installed in an environment of its own, and used there."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tarfile
import textwrap
import venv
import zipfile

import pytest

pytestmark = pytest.mark.timeout(900)  # it downloads what it builds and installs with

ROOT = pathlib.Path(__file__).parents[1]
PIP = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore", "PIP_QUIET": "2"}
PROGRAM = textwrap.dedent(
    """
    import sys
    from perdure import tune

    def train(config):
        tune.report({"loss": config["x"]})

    if __name__ == "__main__":
        tuner = tune.Tuner(
            train,
            param_space={"x": tune.grid_search([1, 2])},
            run_config=tune.RunConfig(name="installed", storage_path=sys.argv[1], verbose=0),
        )
        print(sorted(result.metrics["loss"] for result in tuner.fit()))
    """
)


def run(*command: str | pathlib.Path, cwd: pathlib.Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment | PIP, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The wheel, made out of the source distribution as an installer makes it."""
    place = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", place, ROOT, cwd=place)
    return place


def test_the_wheel_and_the_source_distribution_hold_what_they_should(built: pathlib.Path) -> None:
    (wheel,) = built.glob("perdure-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "perdure/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests", "docs", "benchmarks"))]
    (source,) = built.glob("perdure-*.tar.gz")
    inside = {name.partition("/")[2] for name in tarfile.open(source).getnames()}
    assert {"README.md", "LICENSE", "Makefile", "tests/conftest.py", "docs/index.md"} <= inside


def test_it_installs_alone_and_runs(built: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (wheel,) = built.glob("perdure-*.whl")
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    run(python, "-m", "pip", "install", wheel, cwd=tmp_path)
    script = tmp_path / "program.py"
    script.write_text(PROGRAM, encoding="utf-8")
    assert run(python, script, tmp_path / "results", cwd=tmp_path) == "[1, 2]\n"
    assert "installed" in run(home / "bin" / "perdure", "ls", tmp_path / "results", cwd=tmp_path)
    assert run(python, "-m", "pip", "check", cwd=tmp_path) == ""
