from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from perdure.journal import codec
from perdure.journal.claim import CLAIM_NAME, ClaimInfo, read_claim
from perdure.journal.file import FileJournal
from perdure.testing.journal import report

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}


ForgeClaim = Callable[..., ClaimInfo]


@pytest.fixture
def forge_claim() -> ForgeClaim:
    """Change what the claim in a directory says, as another driver could have written it: (directory, **changes)."""

    def forge(directory: Path, **changes: object) -> ClaimInfo:
        found = read_claim(directory)
        assert found is not None
        changed = msgspec.structs.replace(found, **changes)
        (directory / CLAIM_NAME).write_bytes(codec.seal(msgspec.json.encode(changed)[:-1]))
        return changed

    return forge


@pytest.fixture
def make_dead(forge_claim: ForgeClaim) -> Callable[[Path], None]:
    """Have the claim in a directory say that its driver is a process that is gone."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()

    def make(directory: Path) -> None:
        forge_claim(directory, pid=child.pid, token="dead")

    return make


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """A directory with a journal of two epochs that ended in good order, the first with 5 records, the second with 3."""
    directory = tmp_path / "experiment"
    for numbers in ((1, 2, 3, 4, 5), (6, 7, 8)):
        with FileJournal(directory) as journal:
            for number in numbers:
                journal.append([report(number)])
    return directory


@dataclasses.dataclass
class Driver:
    """A driver in a process of its own that appends report 1, 2, 3, ... and prints each number once it is kept."""

    process: subprocess.Popen[str]

    def wait_for(self, number: int) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if int(line) >= number:
                return
        pytest.fail(f"the driver ended before it had written {number}")

    def kill(self) -> int:
        """Kill it, and return the last number it had acknowledged."""
        self.process.kill()
        assert self.process.stdout is not None
        lines = [line for line in self.process.stdout if line.endswith("\n")]
        self.process.wait()
        return int(lines[-1]) if lines else 0


PROGRAM = """
import sys, time
from perdure.journal.file import FileJournal
from perdure.testing.journal import report
directory, options = sys.argv[1], eval(sys.argv[2])
before = options.pop("before", "")
pause_s = options.pop("pause_s", 0)
journal = FileJournal(directory, **options)
exec(before)
number = journal.position.sequence
while True:
    number += 1
    journal.append([report(number)])
    print(number, flush=True)
    time.sleep(pause_s)
"""


class Drivers:
    """Starts drivers, and ends them all."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, directory: Path, **options: object) -> Driver:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(directory), repr(options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
        self._processes.append(process)
        return Driver(process)

    @staticmethod
    def wait_until(true: Callable[[], object], timeout_s: float = 20.0) -> None:
        end = time.monotonic() + timeout_s
        while not true():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.01)

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()


@pytest.fixture
def drivers() -> Iterator[Drivers]:
    started = Drivers()
    yield started
    started.end()
