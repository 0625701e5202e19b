"""Requests to an experiment whose driver is another process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.core.events import Noticed
from perdure.core.state import Status
from perdure.journal.file import FileJournalReader
from perdure.result_grid import ResultGrid
from tests.control.conftest import Command, Elsewhere
from tests.crash.harness import ROOT, wait_until


def notices(path: Path) -> list[str]:
    return [event.text for _, event in FileJournalReader(path).read() if isinstance(event, Noticed)]


def test_stop_a_trial_and_then_the_session(elsewhere: Elsewhere, perdure: Command) -> None:
    driver = elsewhere.start()
    ran = perdure("stop", elsewhere.path, 1)
    assert ran.code == 0, ran.err
    elsewhere.wait_for(1, Status.TERMINATED)
    again = perdure("stop", elsewhere.path, 1)
    assert again.code == 1
    assert "is TERMINATED already" in again.err
    assert elsewhere.status(0) is Status.RUNNING
    ran = perdure("stop", elsewhere.path, "--json")
    assert (ran.code, ran.json["driven"]) == (0, True)
    assert driver.wait(timeout=120) == 0
    assert (elsewhere.status(0), elsewhere.status(1)) == (Status.PENDING, Status.TERMINATED)
    assert not list((elsewhere.path / "control").iterdir())
    (elsewhere.storage / "end").touch()
    ran = perdure("resume", elsewhere.path, "--json")
    assert (ran.code, ran.json["experiment"]["condition"]) == (0, "finished")
    assert elsewhere.status(0) is Status.TERMINATED


def test_a_resume_that_sigterm_ends_still_prints_its_document(elsewhere: Elsewhere) -> None:
    driver = elsewhere.start()
    elsewhere.kill(driver)
    command = [sys.executable, "-m", "perdure", "resume", str(elsewhere.path), "--json"]
    rows = elsewhere.rows()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as resumed:
        wait_until(lambda: resumed.poll() is not None or elsewhere.rows() > rows + 2)
        resumed.send_signal(signal.SIGTERM)
        out, err = resumed.communicate(timeout=120)
    assert resumed.returncode == 143, err.decode()
    assert json.loads(out)["experiment"]["condition"] == "interrupted"


def test_a_paused_trial_waits_for_a_person_and_so_does_the_run(elsewhere: Elsewhere, perdure: Command) -> None:
    driver = elsewhere.start()
    assert perdure("pause", elsewhere.path, 0).code == 0
    elsewhere.wait_for(0, Status.PAUSED)
    (elsewhere.storage / "end").touch()
    elsewhere.wait_for(1, Status.TERMINATED)
    wait_until(lambda: any("perdure resume-trial" in text for text in notices(elsewhere.path)))
    assert sum("perdure resume-trial" in text for text in notices(elsewhere.path)) == 1
    assert driver.poll() is None
    ran = perdure("resume-trial", elsewhere.path, 0, "--json")
    assert (ran.code, ran.json["asked"], ran.json["trials"][0]["held"]) == (0, "resume", False)
    elsewhere.end(driver)
    history = elsewhere.history()
    assert [trial.status for trial in history.trials.values()] == [Status.TERMINATED] * 2
    for trial in history.trials.values():
        assert [row.metrics["step"] for row in trial.rows()] == list(range(1, trial.row_count + 1))


def test_it_stays_paused_when_the_driver_dies(elsewhere: Elsewhere, perdure: Command) -> None:
    driver = elsewhere.start()
    assert perdure("pause", elsewhere.path, 0).code == 0
    elsewhere.kill(driver)
    driver = elsewhere.start()
    assert elsewhere.status(0) is Status.PAUSED
    assert perdure("stop", elsewhere.path).code == 0
    assert driver.wait(timeout=120) == 0
    assert elsewhere.status(0) is Status.PAUSED


def test_a_pin_outlives_what_num_to_keep_says(elsewhere: Elsewhere, perdure: Command) -> None:
    """From a trial, and from outside; num_to_keep is 2."""
    driver = elsewhere.start("pins=yes")
    trials = list(elsewhere.history().trials.values())
    ran = perdure("pin", elsewhere.path, trials[0].name, "--json")
    assert ran.code == 0, ran.err
    kept = ran.json["checkpoint"]
    wait_until(lambda: elsewhere.rows_of_each()[0] > kept["iteration"] + 3)
    elsewhere.end(driver)
    history = elsewhere.history()
    first, second = history.trials.values()
    assert {0, kept["number"]} < first.checkpoints.keys()
    assert len(first.checkpoints) == 4
    assert Path(kept["path"], "step").read_text() == str(kept["iteration"])
    assert len(second.checkpoints) == 3
    for trial in (first, second):
        on_disk = sorted(path.name for path in (elsewhere.path / trial.directory).glob("checkpoint_*"))
        assert on_disk == [info.directory for info in trial.checkpoints.values()]
    ResultGrid(history)[0].best_checkpoints[0][0].unpin()
    ran = perdure("unpin", elsewhere.path, f"{first.name}/{kept['number']}", "--json")
    assert (ran.code, ran.json["checkpoint"]["path"], ran.json["checkpoint"]["pinned"]) == (0, kept["path"], False)
    assert list(elsewhere.history().trials[first.id].checkpoints) == list(first.checkpoints)[2:]
    assert not (elsewhere.path / first.directory / "checkpoint_000000").exists()
    assert not Path(kept["path"]).exists()


def test_what_is_no_request_is_refused_and_removed(elsewhere: Elsewhere, perdure: Command) -> None:
    driver = elsewhere.start()
    control = elsewhere.path / "control"
    control.mkdir(exist_ok=True)
    requests = {
        "aaaaaaaa": "no JSON",
        "bbbbbbbb": '{"type": "stop", "trials": []}',
        "cccccccc": json.dumps({"type": "pause", "trials": ["nobody"]}),
    }
    for name, text in requests.items():  # whole, as the driver may be looking
        (elsewhere.storage / name).write_text(text)
        (elsewhere.storage / name).rename(control / f"{name}.json")
    wait_until(lambda: not list(control.iterdir()))
    events = [event for _, event in FileJournalReader(elsewhere.path).read() if hasattr(event, "request")]
    refused = {event.request: event.reason for event in events if event.request}
    assert sorted(refused) == ["aaaaaaaa", "bbbbbbbb", "cccccccc"]
    assert refused["cccccccc"] == "there is no trial nobody."
    elsewhere.end(driver)


def test_collecting_beside_a_driver(elsewhere: Elsewhere, perdure: Command) -> None:
    driver = elsewhere.start("keep=0")
    ran = perdure("gc", elsewhere.path, "--keep-latest", 1, "--apply", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["checkpoints"]
    paths = [Path(each["path"]) for each in ran.json["checkpoints"]]
    wait_until(lambda: not any(path.exists() for path in paths))
    elsewhere.end(driver)
    assert perdure("verify", elsewhere.path).code == 0


def test_a_driver_that_does_not_answer_is_named(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    import signal

    from perdure.control.asking import ask
    from perdure.core.requests import PauseTrials
    from perdure.errors import DriverSilentError

    driver = elsewhere.start()
    trial = next(iter(elsewhere.history().trials))
    driver.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(DriverSilentError, match=f"pid {driver.pid}.*The request stays"):
            ask(elsewhere.path, PauseTrials(trials=(trial,)), patience_s=0.2)
    finally:
        driver.send_signal(signal.SIGCONT)
    elsewhere.wait_for(0, Status.PAUSED)
