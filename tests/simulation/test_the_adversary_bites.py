"""Each promise is broken on purpose, in the product's own code, and the simulation says so within some hundred seeds.

A check that nothing can fail is worth nothing. These are the ways in which the product would fail: a line forgotten,
two lines in the wrong order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import perdure.checkpoints.manager as manager
import perdure.core.planner as planner
import perdure.core.retention as retention
import perdure.core.transitions as transitions
import perdure.testing.simulation.workers as workers
from perdure.core.commands import Command
from perdure.core.events import CheckpointInfo, CheckpointPinned, Source
from perdure.core.state import State, Trial
from perdure.journal.file import FileJournal
from perdure.runner import Runner
from perdure.testing.simulation import BrokenPromiseError, simulate

SEEDS = 3000
"""At most; most are caught within a hundred."""


def nothing(*_: object, **__: object) -> None:
    pass


def _answers_before_it_writes(patch: pytest.MonkeyPatch) -> None:
    commit = Runner.commit

    def early(self: Runner) -> None:
        effects, self._effects = self._effects, []
        for effect in effects:
            effect()
        commit(self)

    patch.setattr(Runner, "commit", early)


def _never_syncs_the_journal(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FileJournal, "_sync_file", nothing)


def _never_syncs_checkpoints(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(manager, "sync_checkpoints", lambda folders: {})
    patch.setattr(manager, "sync_filesystem", lambda path: True)


def _believes_any_checkpoint(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(workers, "verify_checkpoint", nothing)


def _starts_from_an_old_one(patch: pytest.MonkeyPatch) -> None:
    def oldest(state: State, trial: Trial) -> Source | None:
        first = next(iter(trial.checkpoints), None)
        return None if first is None else Source(trial=trial.id, number=first)

    patch.setattr(planner, "source_of", oldest)
    patch.setattr("perdure.runner.source_of", oldest)


def _protects_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(retention, "protected", lambda infos, durable, in_use: set())


def _heeds_no_pin(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(transitions.HANDLERS, CheckpointPinned, nothing)


def _keeps_everything(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(planner, "unneeded", lambda state, trial: [])


def _lets_donors_go(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(transitions, "_hold", nothing)
    patch.setattr("perdure.core.invariants.is_there", lambda state, source: False)  # it would notice at once


def _deletes_before_it_is_known_to_be_retired(patch: pytest.MonkeyPatch) -> None:
    def at_once(self: Runner, items: tuple[Source, ...]) -> None:
        self._doomed.append((0, items))

    patch.setattr(Runner, "_doom", at_once)


def _runs_more_than_there_is_room_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(planner, "_room", lambda state, trial: True)
    patch.setattr(planner, "_any_room", lambda state: True)


def _ends_too_early(patch: pytest.MonkeyPatch) -> None:
    finish = planner.plan

    def plan(state: State, **options: Any) -> list[Command]:
        if state.created and not state.live:
            state.search_ended = True
            state.ahead.clear()
        return finish(state, **options)

    patch.setattr("perdure.runner.plan", plan)


def _syncs_the_wrong_way_round(patch: pytest.MonkeyPatch) -> None:
    """It says that a checkpoint is on the disk when it has only begun to bring it there."""
    make_durable = manager.CheckpointManager.make_durable

    def hasty(self: manager.CheckpointManager, source: Source, *rest: Any, **options: Any) -> None:
        self._done.append(manager.Durable(source))
        make_durable(self, source, *rest, **options)

    patch.setattr(manager.CheckpointManager, "make_durable", hasty)


def _forgets_that_it_is_the_newest(patch: pytest.MonkeyPatch) -> None:
    """A checkpoint that was adopted after a crash does not count."""

    def commit(state: State, trial: Trial, info: CheckpointInfo) -> None:
        latest = trial.latest
        original(state, trial, info)
        if latest is not None and info.attempt > 1:
            trial.checkpoints.pop(info.number)
            transitions._drop_undurable(state, trial, info.number)

    original = transitions._commit
    patch.setattr(transitions, "_commit", commit)


MUTATIONS: list[Callable[[pytest.MonkeyPatch], None]] = [
    _answers_before_it_writes,
    _never_syncs_the_journal,
    _never_syncs_checkpoints,
    _believes_any_checkpoint,
    _starts_from_an_old_one,
    _protects_nothing,
    _heeds_no_pin,
    _keeps_everything,
    _lets_donors_go,
    _deletes_before_it_is_known_to_be_retired,
    _runs_more_than_there_is_room_for,
    _ends_too_early,
    _syncs_the_wrong_way_round,
    _forgets_that_it_is_the_newest,
]


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_a_broken_product_is_caught(
    mutate: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    with pytest.raises(BrokenPromiseError, match=r"python -m perdure\.testing\.simulation \d+"):
        for seed in range(SEEDS):
            simulate(seed)
