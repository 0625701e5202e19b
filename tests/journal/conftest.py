from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from perdure.journal import codec
from perdure.journal.claim import CLAIM_NAME, ClaimInfo, read_claim
from perdure.journal.file import FileJournal
from perdure.testing.journal import report

ForgeClaim = Callable[..., ClaimInfo]


@pytest.fixture
def forge_claim() -> ForgeClaim:
    """Change what the claim in a directory says, as another driver could have written it: (directory, **changes)."""

    def forge(directory: Path, **changes: object) -> ClaimInfo:
        found = read_claim(directory)
        assert found is not None
        changed = msgspec.structs.replace(found, **changes)
        line = codec.seal(msgspec.json.encode(changed)[:-1]).rstrip(b"\n")
        with (directory / CLAIM_NAME).open("r+b", buffering=0) as file:  # in one write: its driver may be reading it
            file.write(line.ljust(os.fstat(file.fileno()).st_size - 1) + b"\n")
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
    """A directory with a journal of two epochs that ended in good order, with 5 records and 3."""
    directory = tmp_path / "experiment"
    for numbers in ((1, 2, 3, 4, 5), (6, 7, 8)):
        with FileJournal(directory) as journal:
            for number in numbers:
                journal.append([report(number)])
    return directory
