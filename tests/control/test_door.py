"""Requests as files: what is damaged is refused, and never another request."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.control.door import CONTROL, Door
from perdure.core.events import Source
from perdure.core.requests import AnyRequest, Collect, PauseTrials, Pin, StopExperiment, StopTrials


def read_twice(experiment: Path) -> list[AnyRequest | None]:
    """Return what a driver sees that looks twice."""
    door = Door(experiment)
    list(door.read())
    return [request for _, request in door.read()]


@pytest.mark.parametrize(
    "request_",
    [
        StopExperiment(epoch=3),
        StopTrials(trials=("a_00001",)),
        PauseTrials(trials=("a_00001", "a_00002")),
        Pin(trial="a_00001", number=4, pinned=False),
        Pin(trial="a_00001"),
        Collect(items=(Source(trial="a_00001", number=2),)),
    ],
    ids=repr,
)
def test_a_damaged_request_is_no_other_one(tmp_path: Path, request_: AnyRequest) -> None:
    file = tmp_path / CONTROL / f"{Door(tmp_path).post(request_)}.json"
    assert read_twice(tmp_path) == [request_]
    whole = file.read_bytes()
    for at in range(len(whole)):
        for damaged in (whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], whole[:at]):
            file.write_bytes(damaged)
            assert read_twice(tmp_path) in ([None], [request_]), damaged


def test_a_request_written_by_hand_or_by_an_older_perdure_has_no_digest(tmp_path: Path) -> None:
    (tmp_path / CONTROL).mkdir()
    (tmp_path / CONTROL / "0123456789abcdef.json").write_text('{"type": "stop", "trials": ["a_00001"]}')
    assert read_twice(tmp_path) == [StopTrials(trials=("a_00001",))]
