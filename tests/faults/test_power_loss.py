"""P1 and P2 over a real power cut: an ext4 file system loses what had not reached the disk, and its machine its memory.

After the cut another boot of the same machine goes on, which trusts nothing that has no digest.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest

from perdure.cli.verify import examine
from perdure.core.events import Noticed
from perdure.journal.epochs import read_head
from perdure.journal.file import FileJournalReader
from perdure.storage.processes import hostname
from tests import gate
from tests.crash.harness import (
    NAME,
    assert_nothing_kept_was_done_again,
    assert_whole,
    read_experiment,
    rows_reported,
    wait_for_end,
    wait_until,
)
from tests.faults.disks import Disk, disk
from tests.faults.machines import driver, needs_another_host

STEPS, SAMPLES = 30, 2  # of which no last one begins before the power is cut
LOST_AT_MOST_S = 2.0
"""A second between two syncs of the journal, and another one for a sync itself; on a busy machine that takes longer."""


def kept_in(log: Path) -> set[tuple[str, int]]:
    """Return (trial, step) of each row for which `report` has returned."""
    lines = [line.split() for line in log.read_text().splitlines()]
    return {(trial, int(step)) for trial, what, step in lines if what == "kept"}


def written(storage: Path) -> tuple[int, int]:
    """Return how far the journal goes: its epoch, and its length."""
    journal = max((storage / NAME).glob("journal-*.jsonl"))
    return int(journal.stem[-6:]), journal.stat().st_size


def wait_for_the_disk(storage: Path, until: tuple[int, int]) -> None:
    """Wait until the driver says that the journal has reached the disk up to there, and a checkpoint of each trial."""

    def reached() -> bool:
        head = read_head(storage / NAME)
        trials = read_experiment(storage / NAME).trials.values()
        return (
            head is not None
            and (head.epoch, head.offset) >= until
            and all(any(trial.is_durable(number) for number in trial.checkpoints) for trial in trials)
        )

    wait_until(reached)


def hold(directory: Path, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Have no trial begin more than so many steps, until the gate is opened; it is not on the disk that is lost."""
    monkeypatch.setenv(gate.VARIABLE, str(directory / "gate"))
    gate.shut_for_each(directory / "gate", steps)


def crash(machine: Disk, process: psutil.Popen) -> None:
    """Cut the power of the disk, then end every process of the machine that it was in."""
    machine.cut_power()
    members = [*process.children(recursive=True), process]
    for member in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.send_signal(signal.SIGKILL)
    psutil.wait_procs(members, timeout=10)


def unmount_and_mount(machine: Disk) -> None:
    def gone() -> bool:
        try:
            machine.unmount()
        except OSError:  # the last process is still on its way out
            return False
        return True

    def is_back() -> bool:
        """While a dying process keeps its mount namespace, and so the old mount, a new one is as dead as that."""
        try:
            machine.mount()
        except OSError:  # the loop device is on its way out
            return False
        try:
            for path in machine.path.rglob("journal*"):
                path.read_bytes()
        except OSError:
            wait_until(gone)
            return False
        return True

    wait_until(gone)
    wait_until(is_back)


@pytest.mark.parametrize(
    ("api", "options"),
    [
        ("function", ("keep=1",)),
        ("class", ("keep=2", "bulk=2000000")),
        ("function", ("keep=1", "durability=strict")),
    ],
    ids=["small", "large", "strict"],
)
def test_a_power_cut_costs_at_most_the_last_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api: str, options: tuple[str, ...]
) -> None:
    needs_another_host()
    strict = "durability=strict" in options
    options = (f"steps={STEPS}", f"samples={SAMPLES}", "pause=0.12", *options)
    with disk(tmp_path) as machine:
        storage = machine.path / "results"
        storage.mkdir()
        log = tmp_path / "results.steps"
        monkeypatch.setenv("WORKLOAD_LOG", str(log))
        log.touch()
        hold(tmp_path, monkeypatch, STEPS - 1)
        for boot, rows in enumerate((8, 36)):
            if not strict:  # what the cut before this one took back is promised anew when it is reported anew
                log.write_text("")
            with driver(storage, *options, api=api, host=hostname()) as process:
                wait_until(lambda rows=rows: rows_reported(storage) >= rows)  # type: ignore[misc]
                promised = kept_in(log)
                if not strict:
                    until = written(storage)
                    time.sleep(LOST_AT_MOST_S)
                    wait_for_the_disk(storage, until)
                crash(machine, process)
            unmount_and_mount(machine)
            history = read_experiment(storage / NAME)
            found = {(trial.id, row.iteration) for trial in history.trials.values() for row in trial.rows()}
            assert promised <= found, f"boot {boot} lost {sorted(promised - found)}"
        gate.open_(tmp_path / "gate")
        with driver(storage, *options, api=api, host=hostname()) as process:
            history = wait_for_end(process, storage)
        assert_whole(history, samples=SAMPLES, steps=STEPS)
        if strict:  # every acknowledged row was gone on from
            assert kept_in(log)
            assert_nothing_kept_was_done_again(tmp_path / "results")  # whose log that is
        findings = examine(storage / NAME)
        assert all(whole >= 1 for whole in findings.trials.values())
        told = [event.text for _, event in FileJournalReader(storage / NAME).read() if isinstance(event, Noticed)]
        for problem in findings.problems:  # a last checkpoint that had not reached the disk, of a trial that had ended
            if problem.part == "snapshot":
                continue  # nobody waits for the disk with one: the journal has everything
            assert problem.part == "checkpoint"
            assert any(Path(problem.file).name in text for text in told), problem
        for trial in history.trials.values():
            assert trial.attempts[-1].start is not None, f"{trial.id} began again from scratch"


def test_a_driver_whose_disk_is_gone_ends_and_a_copy_of_the_disk_goes_on_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy holds the blocks that the file system had written by then, and nothing of the caches."""
    needs_another_host()
    options = ("steps=20", "samples=2", "pause=0.1", "keep=1")
    hold(tmp_path, monkeypatch, 19)
    with disk(tmp_path) as machine:
        storage = machine.path / "results"
        storage.mkdir()
        with driver(storage, *options, host="original") as process:
            wait_until(lambda: rows_reported(storage) >= 12)
            wait_for_the_disk(storage, written(storage))
            machine.cut_power()
            shutil.copyfile(tmp_path / "image", tmp_path / "copy-of-image")
            gate.open_(tmp_path / "gate")
            assert process.wait(timeout=120) != 0, "a driver whose disk is gone does not go on"
        copy = Disk(tmp_path / "copy-of-image", tmp_path / "copy")
        copy.path.mkdir()
        copy.mount()
        try:
            # Its driver was on another machine, and nobody here can tell that it ended.
            (copy.path / "results" / NAME / "claim.json").unlink()
            with driver(copy.path / "results", *options, host="elsewhere") as process:
                history = wait_for_end(process, copy.path / "results")
            assert_whole(history, samples=2, steps=20)
        finally:
            copy.unmount()
