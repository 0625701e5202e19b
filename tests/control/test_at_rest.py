"""Requests to an experiment that nobody drives: the command takes the claim itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.control.door import Door
from perdure.core.requests import AnyRequest, PauseTrials, Pin, StopExperiment
from perdure.core.state import Status
from perdure.errors import CheckpointError, CheckpointMissingError, RequestRefusedError
from perdure.journal.claim import read_claim
from perdure.result_grid import ResultGrid
from perdure.testing.written import WrittenExperiment
from perdure.tune import Checkpoint
from tests.control.conftest import Command, Elsewhere

ROOT = Path(__file__).parents[2]


def test_stop_pause_and_resume(orphaned: Elsewhere, perdure: Command) -> None:
    assert perdure("stop", orphaned.path).out.startswith("Nothing runs: the experiment is interrupted")
    ran = perdure("stop", orphaned.path, 0)
    assert (ran.code, ran.out.split(": ")[1]) == (0, "TERMINATED\n"), ran.err
    ran = perdure("pause", orphaned.path, 1)
    assert (ran.code, ran.out.split(": ")[1]) == (0, "PAUSED, until it is told to resume\n"), ran.err
    assert (orphaned.status(0), orphaned.status(1)) == (Status.TERMINATED, Status.PAUSED)
    claim = read_claim(orphaned.path)
    assert claim is not None
    assert claim.released
    assert not list((orphaned.path / "control").iterdir())
    ran = perdure("resume-trial", orphaned.path, 1)
    assert (ran.code, orphaned.status(1)) == (0, Status.PENDING)
    rows = [trial.row_count for trial in orphaned.history().trials.values()]
    (orphaned.storage / "end").touch()
    assert perdure("resume", orphaned.path).code == 0
    history = orphaned.history()
    stopped, resumed = [trial.row_count for trial in history.trials.values()]
    assert stopped == rows[0]
    assert resumed - rows[1] in (0, 1), "one row may have been saved with a checkpoint, and not yet be journaled"
    assert {trial.status for trial in history.trials.values()} == {Status.TERMINATED}


def test_collecting(orphaned: Elsewhere, perdure: Command) -> None:
    first, second = orphaned.history().trials.values()
    assert perdure("stop", orphaned.path, 0).code == 0
    assert perdure("pin", orphaned.path, f"{second.name}/checkpoint_000000").code == 0
    preview = perdure("gc", orphaned.path, "--keep-best", 0, "--json").json
    would_go = {(each["trial"], each["number"]) for each in preview["checkpoints"]}
    assert {number for trial, number in would_go if trial == first.id} == first.checkpoints.keys()
    stays = second.checkpoints.keys() - {number for trial, number in would_go if trial == second.id}
    assert {0, max(second.checkpoints)} <= stays, "the pinned one, and the latest of an unfinished trial"
    assert all(Path(each["path"]).exists() for each in preview["checkpoints"])
    applied = perdure("gc", orphaned.path, "--keep-best", 0, "--apply", "--json").json
    assert applied == {**preview, "applied": True}
    assert not any(Path(each["path"]).exists() for each in preview["checkpoints"])
    directory = orphaned.path / second.directory
    assert {info.number for info in second.checkpoints.values() if (directory / info.directory).exists()} == stays
    assert perdure("verify", orphaned.path).code == 0
    assert perdure("gc", orphaned.path, "--keep-best", 0).out.startswith("0 checkpoints")
    (orphaned.storage / "end").touch()
    assert perdure("resume", orphaned.path).code == 0


def test_the_best_are_kept_by_the_metric(orphaned: Elsewhere, perdure: Command) -> None:
    trial = next(iter(orphaned.history().trials.values()))
    assert perdure("stop", orphaned.path, 0).code == 0
    assert perdure("gc", orphaned.path, 0, "--keep-best", 2, "--apply").code == 0
    left = set(next(iter(orphaned.history().trials.values())).checkpoints)
    best = set(sorted(trial.checkpoints)[-2:])  # `step` is the metric, and the most is the best
    durable = {number for number in trial.checkpoints if trial.is_durable(number)}
    assert left == best | ({max(durable)} if durable and not best & durable else set())


def test_it_says_what_to_keep(orphaned: Elsewhere, perdure: Command) -> None:
    ran = perdure("gc", orphaned.path)
    assert (ran.code, ran.err) == (
        2,
        "perdure: perdure gc: say what to keep of each trial, with --keep-best N, --keep-latest N, or both.\n",
    )


def test_a_handle_is_pinned_from_a_notebook(orphaned: Elsewhere) -> None:
    result = ResultGrid(orphaned.history())[1]
    assert result.checkpoint is not None
    result.checkpoint.pin()
    number = max(result_numbers(orphaned, 1))
    assert pinned(orphaned, 1) == (number,)
    result.checkpoint.pin()
    assert pinned(orphaned, 1) == (number,)
    result.checkpoint.unpin()
    assert pinned(orphaned, 1) == ()


def result_numbers(experiment: Elsewhere, number: int) -> list[int]:
    return list(list(experiment.history().trials.values())[number].checkpoints)


def pinned(experiment: Elsewhere, number: int) -> tuple[int, ...]:
    return list(experiment.history().state.trials.values())[number].pinned


def test_what_cannot_be_pinned(orphaned: Elsewhere, tmp_path: Path, perdure: Command) -> None:
    with pytest.raises(CheckpointError, match="not a checkpoint that an experiment keeps"):
        Checkpoint(tmp_path).pin()
    with pytest.raises(CheckpointMissingError):
        Checkpoint(orphaned.path / "t" / "checkpoint_000001").pin()
    trial = next(iter(orphaned.history().trials.values()))
    ran = perdure("pin", orphaned.path, f"{trial.name}/999")
    assert (ran.code, "has no checkpoint '999'" in ran.err) == (2, True)


def test_what_nobody_had_read_is_answered_along_with_it(orphaned: Elsewhere, perdure: Command) -> None:
    first, second = orphaned.history().trials
    door = Door(orphaned.path)
    door.post(PauseTrials(trials=(first,)))
    door.post(StopExperiment(epoch=orphaned.history().state.epoch))  # of the driver that was killed
    assert perdure("pin", orphaned.path, second).code == 0
    assert orphaned.status(0) is Status.PAUSED
    assert orphaned.history().state.stopping is None
    assert not list((orphaned.path / "control").iterdir())


def _pin(path: str, number: int) -> None:
    from perdure.control.asking import ask

    ask(Path(path), Pin(trial=next(iter(Elsewhere(Path(path).parent).history().trials)), number=number))


def test_several_at_once(orphaned: Elsewhere) -> None:
    """One takes the claim at a time; each is answered."""
    script = f"from tests.control.test_at_rest import _pin; import sys; _pin({str(orphaned.path)!r}, int(sys.argv[1]))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    asking = [
        subprocess.Popen([sys.executable, "-c", script, str(number)], cwd=ROOT, env=environment) for number in range(3)
    ]
    assert [process.wait(timeout=120) for process in asking] == [0, 0, 0]
    assert sorted(pinned(orphaned, 0)) == [0, 1, 2]


def test_what_cannot_be_done_says_so(orphaned: Elsewhere) -> None:
    from perdure.control.asking import ask

    with pytest.raises(RequestRefusedError, match=r"Nothing was changed: there is no trial nobody\."):
        ask(orphaned.path, PauseTrials(trials=("nobody",)))
    assert orphaned.history().state.answered == {}


def test_a_request_that_cannot_be_read_is_told_of_at_once(orphaned: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    from perdure.control.asking import ask
    from perdure.errors import StorageError

    epoch = orphaned.history().state.epoch
    post = Door.post

    def lost(door: Door, request: AnyRequest) -> str:
        name = post(door, request)
        (orphaned.path / "control" / f"{name}.json").unlink()
        return name

    monkeypatch.setattr(Door, "post", lost)
    with pytest.raises(StorageError, match=r"was not answered: the file is gone or cannot be read\."):
        ask(orphaned.path, PauseTrials(trials=("nobody",)))
    assert orphaned.history().state.epoch == epoch + 1, "one look is enough"


def test_a_trial_without_checkpoints_has_none_to_unpin(tmp_path: Path, perdure: Command) -> None:
    written = WrittenExperiment(tmp_path / "exp")
    trial = written.trial()
    written.attempt(trial)
    written.end(trial)
    written.close()
    ran = perdure("unpin", written.path, trial)
    assert (ran.code, "has no checkpoint yet" in ran.err) == (1, True), ran.err
