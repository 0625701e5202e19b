"""A process dies on the way of a request: it is met once, or, if nobody had read it, not at all."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from perdure.control.door import Door
from perdure.core.events import TrialActed
from perdure.core.requests import PauseTrials
from perdure.core.state import Status
from perdure.journal.file import FileJournalReader
from perdure.testing.faults import fault_environment
from tests.control.conftest import Elsewhere
from tests.crash.harness import ROOT, wait_until


def answers(elsewhere: Elsewhere) -> list[str]:
    events = (event for _, event in FileJournalReader(elsewhere.path).read())
    return [event.request for event in events if isinstance(event, TrialActed) and event.request]


def settled(elsewhere: Elsewhere) -> bool:
    """Whether nothing is left of any request, on the disk or in the state."""
    state = elsewhere.history().state
    return not state.answered and not list((elsewhere.path / "control").glob("*"))


@pytest.mark.parametrize("point", ["request.read", "turn.committed", "request.removed"])
def test_a_driver_that_dies_while_it_answers(elsewhere: Elsewhere, point: str) -> None:
    driver = elsewhere.start()
    elsewhere.kill(driver)
    first = next(iter(elsewhere.history().trials))
    name = Door(elsewhere.path).post(PauseTrials(trials=(first,)))
    dying = elsewhere.spawn(**fault_environment(point))
    assert dying.wait(timeout=120) == -9, (elsewhere.storage / "output.txt").read_text()
    driver = elsewhere.spawn()
    wait_until(lambda: answers(elsewhere) == [name] and settled(elsewhere))
    assert elsewhere.status(0) is Status.PAUSED
    driver.terminate()
    assert driver.wait(timeout=120) == 143  # as SIGTERM ends a program
    assert answers(elsewhere) == [name]


@pytest.mark.parametrize(
    ("point", "asked"),
    [
        ("request.begin", 0),
        ("request.posted", 1),
        ("request.read", 1),
        ("journal.written", 1),
        ("request.removed", 1),
    ],
)
def test_a_command_that_dies_while_it_stands_in(orphaned: Elsewhere, point: str, asked: int) -> None:
    """What it had asked is met by the next one, once; what it asks itself is met as well."""
    first, second = list(orphaned.history().trials)[:2]
    died = command(orphaned, "pause", first, environment=fault_environment(point))
    assert died.returncode == -9, died.stderr
    done = command(orphaned, "pause", second)
    assert done.returncode == 0, done.stderr
    assert orphaned.status(1) is Status.PAUSED
    assert orphaned.status(0) is (Status.PAUSED if asked else Status.PENDING)
    assert len(answers(orphaned)) == asked + 1
    assert settled(orphaned)


def test_a_command_that_dies_while_it_removes(orphaned: Elsewhere) -> None:
    """What it had retired is no checkpoint any more, and the next one removes the rest."""
    first, second = list(orphaned.history().trials.values())[:2]
    assert command(orphaned, "stop", first.id).returncode == 0
    collect = ["gc", first.id, "--keep-latest", "0", "--apply"]
    died = command(orphaned, *collect, environment=fault_environment("delete.manifest"))
    assert died.returncode == -9
    assert next(iter(orphaned.history().trials.values())).checkpoints == {}
    assert list((orphaned.path / first.directory).glob("checkpoint_*"))
    assert command(orphaned, "pin", second.id).returncode == 0
    assert not list((orphaned.path / first.directory).glob("checkpoint_*"))
    assert command(orphaned, "verify").returncode == 0


def command(
    experiment: Elsewhere, name: str, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "perdure", name, str(experiment.path), *arguments],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
