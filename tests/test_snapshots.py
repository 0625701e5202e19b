"""How often the state is saved: seldom enough that it costs next to nothing, or as often as was asked."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from perdure import snapshots
from perdure.core.events import Noticed
from perdure.core.state import State
from perdure.journal.memory import MemoryJournal
from perdure.snapshots import Snapshots


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic


def times_of_saving(
    directory: Path, monkeypatch: pytest.MonkeyPatch, *, one_takes_s: float, period_s: float | None = None
) -> list[float]:
    """Run a loop of ten turns a second for an hour; return when it saved."""
    clock, saved = Clock(), []

    def save_plugins(staging: Path) -> None:
        saved.append(clock.now)
        clock.now += one_takes_s

    monkeypatch.setattr(snapshots, "time", clock)
    written = Snapshots(directory, save_plugins=save_plugins, period_s=period_s)
    journal = MemoryJournal()
    while clock.now < 3600:
        journal.append([Noticed(at=clock.now, text="a turn")])
        written.maybe(State(), journal)
        clock.now += 0.1
    return saved


@pytest.mark.parametrize("one_takes_s", [0.001, 0.4, 3.0, 20.0])
def test_saving_takes_at_most_a_twentieth_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_takes_s: float
) -> None:
    saved = times_of_saving(tmp_path, monkeypatch, one_takes_s=one_takes_s)
    assert len(saved) > 3600 / max(10.0, 20 * one_takes_s) * 0.9  # and no seldomer than it need be
    assert len(saved) * one_takes_s <= 3600 / 20 + one_takes_s


def test_a_period_that_was_asked_for_holds_whatever_it_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = times_of_saving(tmp_path, monkeypatch, one_takes_s=3.0, period_s=5.0)
    assert {round(later - sooner) for sooner, later in itertools.pairwise(saved)} == {5}


def test_the_newest_two_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = times_of_saving(tmp_path, monkeypatch, one_takes_s=0.0, period_s=100.0)
    assert len(saved) > 30
    assert len(list(tmp_path.glob("snapshot-*"))) == 2
