"""P5 with whole experiments: a second driver beside one that lives, is stalled, is dead, or is on another host."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import msgspec
import pytest

from perdure.errors import ExperimentLockedError
from perdure.history import ExperimentHistory
from perdure.journal import codec
from perdure.journal.claim import CLAIM_NAME, read_claim
from perdure.journal.file import FileJournal
from tests import gate
from tests.crash.harness import (
    NAME,
    assert_whole,
    gate_of,
    output_of,
    read_experiment,
    rows_reported,
    wait_for_end,
    wait_until,
)
from tests.faults.machines import driver, needs_another_host, python_of

SLOW = ("steps=8", "pause=0.15", "samples=2")


@pytest.fixture(autouse=True)
def _lasting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last step of such an experiment waits until a test waits for its end."""
    monkeypatch.setenv(gate.VARIABLE, str(gate_of(tmp_path)))
    gate.shut(gate_of(tmp_path), 15)


def refusal(storage: Path) -> str:
    """Start a second driver, which has to be refused, and return what it says."""
    before = len(output_of(storage).read_text())
    with driver(storage, *SLOW) as second:
        assert second.wait(timeout=120) == 1
    return output_of(storage).read_text()[before:].strip().splitlines()[-1]


def assert_refused_for_a_while(storage: Path, host: str) -> None:
    """A driver of this host is refused, as long as the lease of the one on `host` lasts, which writes no more now.

    The lease is made longer for that: a busy machine may take all of it to look.
    """
    path = storage / NAME / CLAIM_NAME
    as_written = path.read_bytes()
    claim = read_claim(storage / NAME)
    assert claim is not None
    lasting = msgspec.structs.replace(claim, lease_until=time.time() + 3600)
    path.write_bytes(codec.seal(msgspec.json.encode(lasting)[:-1]))  # in place: it is the same file still
    with pytest.raises(ExperimentLockedError, match=rf"host {host}, pid \d+.*its claim holds for another \d+ s"):
        FileJournal(storage / NAME)
    path.write_bytes(as_written)


def test_a_driver_that_lives_keeps_a_second_one_out(tmp_path: Path) -> None:
    with driver(tmp_path, *SLOW) as first:
        wait_until(lambda: rows_reported(tmp_path) >= 2)
        advice = rf"perdure stop .*; if it does not answer, kill {first.pid}"
        with pytest.raises(ExperimentLockedError, match=rf"pid {first.pid}, started 2.*{advice}"):
            FileJournal(tmp_path / NAME)
        assert_not_disturbed(wait_for_end(first, tmp_path))


def test_a_driver_that_is_stalled_on_this_host_keeps_a_second_one_out(tmp_path: Path) -> None:
    with driver(tmp_path, *SLOW, lease_s=1.0) as first:
        wait_until(lambda: rows_reported(tmp_path) >= 2)
        first.suspend()
        told = refusal(tmp_path)
        claim = read_claim(tmp_path / NAME)
        assert claim is not None
        assert "ExperimentLockedError" in told
        assert f"host {claim.host}, pid {first.pid}, started 2" in told
        assert f"if it does not answer, kill {first.pid}" in told
        first.resume()
        assert_not_disturbed(wait_for_end(first, tmp_path))


def assert_not_disturbed(history: ExperimentHistory) -> None:
    assert_whole(history, samples=2, steps=8)
    assert all(len(trial.attempts) == 1 for trial in history.trials.values())


def test_a_dead_drivers_experiment_is_taken_over_at_once(tmp_path: Path) -> None:
    """Well before its lease of an hour is over."""
    with driver(tmp_path, *SLOW, lease_s=3600) as first:
        wait_until(lambda: rows_reported(tmp_path) >= 4)
        first.send_signal(signal.SIGKILL)
        first.wait()
        with driver(tmp_path, *SLOW) as second:
            assert_whole(wait_for_end(second, tmp_path), samples=2, steps=8)


def test_a_driver_halted_on_another_host_is_taken_over_when_its_lease_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its workers go on saving; it stops at its next write, and nothing it wrote after counts."""
    needs_another_host()
    options = ("steps=3", "pause=0.01", "samples=2")
    of_first, of_second = gate_of(tmp_path), tmp_path.parent / "second.gate"
    gate.shut_for_each(of_first, 1)
    gate.shut(of_second, 0)
    with driver(tmp_path, *options, lease_s=5.0, host="first") as first:
        wait_until(lambda: rows_reported(tmp_path) >= 2)
        halted = python_of(first)
        halted.suspend()
        assert_refused_for_a_while(tmp_path, "first")
        wait_until(lambda: not read_claim(tmp_path / NAME).alive)  # type: ignore[union-attr]
        monkeypatch.setenv(gate.VARIABLE, str(of_second))
        with driver(tmp_path, *options, host="second") as second:
            wait_until(lambda: hosts_of_workers(tmp_path) == ["second", "second"])
            # Its workers commit a checkpoint of the same number as the new ones will.
            gate.open_(of_first)
            wait_until(lambda: len(list((tmp_path / NAME).glob("*/checkpoint_000001"))) == 2)
            gate.shut(of_second, 3)
            wait_until(lambda: rows_reported(tmp_path) >= 5)
            halted.resume()
            assert first.wait(timeout=120) == 1
            gate.open_(of_second)
            history = wait_for_end(second, tmp_path)
    assert "ClaimLostError" in output_of(tmp_path).read_text()
    assert "This driver no longer owns the experiment" in output_of(tmp_path).read_text()
    for place in (tmp_path / NAME).glob("*/.staging-*"):
        place.rmdir()  # a worker of the first made it for a checkpoint that it never saved: a restore would sweep it
    assert_whole(history, samples=2, steps=3)
    hosts = {attempt.host for trial in history.trials.values() for attempt in trial.attempts}
    assert hosts == {"first", "second"}


def hosts_of_workers(storage: Path) -> list[str]:
    trials = read_experiment(storage / NAME).state.trials.values()
    return [trial.live.host for trial in trials if trial.live is not None and trial.live.pid]


def test_a_driver_that_died_on_another_host_is_taken_over_when_its_lease_is_over(tmp_path: Path) -> None:
    needs_another_host()
    with driver(tmp_path, *SLOW, lease_s=5.0, host="first") as first:
        wait_until(lambda: rows_reported(tmp_path) >= 4)
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert_refused_for_a_while(tmp_path, "first")
    wait_until(lambda: not read_claim(tmp_path / NAME).alive)  # type: ignore[union-attr]
    with driver(tmp_path, *SLOW) as second:
        assert_whole(wait_for_end(second, tmp_path), samples=2, steps=8)
    assert len(read_experiment(tmp_path / NAME).trials) == 2
