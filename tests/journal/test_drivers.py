"""Drivers in processes of their own: killed, stopped, refused, and taken over from."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from perdure.errors import ClaimLostError, ExperimentLockedError
from perdure.journal import epochs
from perdure.journal.base import START
from perdure.journal.claim import ClaimInfo, read_claim
from perdure.journal.file import FileJournal, FileJournalReader, verify_journal
from perdure.storage import processes
from perdure.testing.journal import report

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}


@dataclasses.dataclass
class Driver:
    """A driver in a process of its own that appends report 1, 2, 3, ... and prints each number once it is kept."""

    process: subprocess.Popen[str]
    directory: Path

    def wait_for(self, number: int) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if int(line) >= number:
                return
        pytest.fail(f"the driver ended before it had written {number}")

    def halt(self) -> None:
        """Stop it with SIGSTOP, and wait until every thread of it stands still, and none in the middle of a renewal.

        One that had looked at the claim and not yet written it would write it over a new driver's when it goes on.
        """
        while True:
            os.kill(self.process.pid, signal.SIGSTOP)
            os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)
            claim = read_claim(self.directory)
            assert claim is not None
            renewed_at = claim.lease_until - claim.lease_s
            if time.time() - renewed_at < claim.lease_s / 6:  # the next renewal is not due yet
                return
            os.kill(self.process.pid, signal.SIGCONT)
            time.sleep(0.01)

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
        return Driver(process, directory)

    @staticmethod
    def wait_until(true: Callable[[], object], timeout_s: float = 120.0) -> None:
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


def numbers(directory: Path) -> list[int]:
    return [event.iteration for _, event in FileJournalReader(directory).read()]  # type: ignore[union-attr]


def test_a_driver_that_is_killed_keeps_all_it_acknowledged(tmp_path: Path, drivers: Drivers) -> None:
    acknowledged = 0
    for _ in range(4):
        driver = drivers.start(tmp_path)
        driver.wait_for(acknowledged + 200)
        acknowledged = driver.kill()
        kept = numbers(tmp_path)
        assert kept == list(range(1, len(kept) + 1))
        assert len(kept) >= acknowledged
        acknowledged = len(kept)
    assert [damage for damage in verify_journal(tmp_path) if damage.refused] == []


def test_a_killed_driver_is_taken_over_at_once(tmp_path: Path, drivers: Drivers) -> None:
    driver = drivers.start(tmp_path, lease_s=3600.0)
    driver.wait_for(1)
    driver.process.kill()  # not waited for: a zombie is dead
    drivers.wait_until(lambda: not processes.is_alive(driver.process.pid))
    with FileJournal(tmp_path) as journal:
        assert journal.epoch == 2


def test_a_killed_driver_is_taken_over_although_its_child_holds_the_lock(tmp_path: Path, drivers: Drivers) -> None:
    # A child that was not forked by Python closes nothing; inheriting the descriptor by exec is the same.
    before = (
        "import os, subprocess; os.set_inheritable(journal._claim._descriptor, True); "
        "child = subprocess.Popen(['sleep', '60'], close_fds=False, stdout=-3, stderr=-3); "
        "open(directory + '/child', 'w').write(str(child.pid))"
    )
    driver = drivers.start(tmp_path, lease_s=3600.0, before=before)
    driver.wait_for(1)
    child = int((tmp_path / "child").read_text())
    last = driver.kill()
    try:
        journal = FileJournal(tmp_path)
    finally:
        os.kill(child, signal.SIGKILL)
    drivers.wait_until(lambda: not processes.is_alive(child))
    with journal, (tmp_path / "claim.json").open("rb") as file:
        with pytest.raises(BlockingIOError):  # the new driver holds a lock of its own
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        journal.append([report(1000)])
    assert numbers(tmp_path)[-1] == 1000
    assert len(numbers(tmp_path)) > last


def test_a_second_driver_is_refused_with_host_pid_and_start_time(tmp_path: Path, drivers: Drivers) -> None:
    driver = drivers.start(tmp_path, pause_s=0.01)
    driver.wait_for(1)
    claim = read_claim(tmp_path)
    assert claim is not None
    started = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(claim.started_at))
    with pytest.raises(ExperimentLockedError) as caught:
        FileJournal(tmp_path)
    for part in (processes.hostname(), f"pid {driver.process.pid}", started, f"kill {driver.process.pid}"):
        assert part in str(caught.value)
    driver.wait_for(5)  # and it goes on


def test_a_stopped_driver_is_alive_and_goes_on_when_it_is_continued(tmp_path: Path, drivers: Drivers) -> None:
    """On its own host nobody could have taken over, so Ctrl-Z and fg cost nothing."""
    driver = drivers.start(tmp_path, lease_s=0.5, pause_s=0.01)
    driver.wait_for(10)
    driver.halt()
    time.sleep(0.8)
    with pytest.raises(ExperimentLockedError):
        FileJournal(tmp_path)
    kept = len(numbers(tmp_path))
    os.kill(driver.process.pid, signal.SIGCONT)
    driver.wait_for(kept + 5)
    assert driver.process.poll() is None


def test_a_driver_that_is_not_halted_keeps_a_short_lease(tmp_path: Path, drivers: Drivers) -> None:
    driver = drivers.start(tmp_path, lease_s=1.0, pause_s=0.01)
    driver.wait_for(1)
    first = read_claim(tmp_path)
    assert first is not None
    drivers.wait_until(lambda: read_claim(tmp_path).lease_until > first.lease_until + 1.0)  # type: ignore[union-attr]
    assert driver.process.poll() is None


def test_a_driver_on_another_host_takes_over_when_the_lease_is_over(
    tmp_path: Path,
    drivers: Drivers,
    forge_claim: Callable[..., ClaimInfo],
) -> None:
    """The claim is rewritten to look as if it were another host's; the driver behind it is halted, not dead."""
    driver = drivers.start(tmp_path, lease_s=0.5, pause_s=0.01)
    driver.wait_for(10)
    driver.halt()
    forge_claim(tmp_path, host="elsewhere", boot_id="another", lease_until=time.time() + 60)
    with pytest.raises(ExperimentLockedError, match="host elsewhere.*holds for another"):
        FileJournal(tmp_path)
    forge_claim(tmp_path, host="elsewhere", boot_id="another", lease_until=time.time() - 0.1)
    with FileJournal(tmp_path) as journal:
        journal.append([report(1000)])
        os.kill(driver.process.pid, signal.SIGCONT)
        _, errors = driver.process.communicate(timeout=120)
        assert "ClaimLostError" in errors
        journal.append([report(1001)])
    kept = numbers(tmp_path)
    assert kept == [*range(1, len(kept) - 1), 1000, 1001]


def test_a_claim_that_was_taken_over_is_noticed_in_the_background(
    tmp_path: Path,
    drivers: Drivers,
    forge_claim: Callable[..., ClaimInfo],  # type: ignore[no-untyped-def]
) -> None:
    journal = FileJournal(tmp_path, lease_s=0.6)
    journal.append([report(1)])
    forged = forge_claim(tmp_path, token="another driver's", host="elsewhere")

    def refused() -> bool:
        if read_claim(tmp_path) != forged:  # the thread had looked a moment before it was forged, and wrote after
            forge_claim(tmp_path, **dataclasses.asdict(forged))
        try:
            journal.append([])
        except ClaimLostError as error:
            return "host elsewhere" in str(error)
        return False

    drivers.wait_until(refused)
    journal.close()
    claim = read_claim(tmp_path)
    assert claim is not None
    assert (claim.host, claim.released) == ("elsewhere", False)


def test_readers_and_drivers_agree_after_many_deaths(tmp_path: Path, drivers: Drivers) -> None:
    """A reader that follows through all deaths sees what one that comes late sees."""
    reader, seen = FileJournalReader(tmp_path), [(START, None)]
    for round_number in range(3):
        driver = drivers.start(tmp_path)
        driver.wait_for(50 * (round_number + 1))
        seen.extend(reader.read(seen[-1][0]))
        driver.kill()
    seen.extend(reader.read(seen[-1][0]))
    assert seen[1:] == list(FileJournalReader(tmp_path).read())
    assert epochs.list_epochs(tmp_path) == [1, 2, 3]
