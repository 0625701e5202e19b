"""An experiment that runs in another process, and commands that ask it for something."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from perdure.cli.main import main
from perdure.core.state import Status
from perdure.history import ExperimentHistory, read_experiment
from tests.control.workload import NAME, TRIALS
from tests.crash.harness import ROOT, assert_gone, family, wait_until


class Ran(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Ran]


class Elsewhere:
    """The experiment, as seen from outside of its driver."""

    def __init__(self, storage: Path) -> None:
        self.storage = storage
        self.path = storage / NAME
        self.drivers: list[subprocess.Popen[bytes]] = []

    def start(self, *options: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a driver, and wait until every trial has reported a few times."""
        before = self.rows_of_each()
        driver = self.spawn(*options, **environment)
        wait_until(lambda: driver.poll() is not None or self._all_go_on(before))
        return driver

    def _all_go_on(self, before: list[int]) -> bool:
        now = self.rows_of_each()
        return len(now) == TRIALS and all(
            self.status(number) is Status.PAUSED or rows >= (before[number] if before else 0) + 3
            for number, rows in enumerate(now)
        )

    def spawn(self, *options: str, **environment: str) -> subprocess.Popen[bytes]:
        self.storage.mkdir(exist_ok=True)
        with (self.storage / "output.txt").open("ab") as output:
            driver = subprocess.Popen(
                [sys.executable, "-m", "tests.control.workload", str(self.storage), *options],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
            )
        self.drivers.append(driver)
        return driver

    def end(self, driver: subprocess.Popen[bytes]) -> None:
        """Have the trials come to their end, and wait for the driver's."""
        (self.storage / "end").touch()
        assert driver.wait(timeout=120) == 0, (self.storage / "output.txt").read_text()

    def kill(self, driver: subprocess.Popen[bytes]) -> None:
        """Kill the driver, and wait until all that it started is gone, too: that may be in the middle of a file."""
        others = family(driver)
        driver.kill()
        driver.wait()
        assert_gone(others)

    def history(self) -> ExperimentHistory:
        return read_experiment(self.path)

    def rows(self) -> int:
        return sum(self.rows_of_each())

    def rows_of_each(self) -> list[int]:
        try:
            return [trial.row_count for trial in self.history().trials.values()]
        except FileNotFoundError:
            return []

    def status(self, number: int) -> Status:
        return list(self.history().trials.values())[number].status

    def wait_for(self, number: int, status: Status) -> None:
        wait_until(lambda: self.status(number) is status)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    """An experiment in a process of its own, which is made sure to be gone."""
    made = Elsewhere(tmp_path / "results")
    yield made
    for driver in made.drivers:
        if driver.poll() is None:
            driver.kill()
            driver.wait()


@pytest.fixture(scope="session")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage with two trials that were running when their driver was killed."""
    made = Elsewhere(tmp_path_factory.mktemp("killed") / "results")
    made.kill(made.start("keep=0"))
    return made.storage


@pytest.fixture
def orphaned(killed: Path, elsewhere: Elsewhere) -> Elsewhere:
    """A copy of it."""
    shutil.copytree(killed, elsewhere.storage)
    return elsewhere


@pytest.fixture
def perdure(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command in this process."""
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*argv: object) -> Ran:
        capfd.readouterr()
        code = main([str(argument) for argument in argv])
        out, err = capfd.readouterr()
        return Ran(code, out, err)

    return run
