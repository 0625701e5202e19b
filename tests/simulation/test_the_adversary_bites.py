"""Each promise is broken on purpose, in the product's own code, and the simulation says so within some hundred seeds.

A check that nothing can fail is worth nothing. These are the ways in which the product would fail: a line forgotten,
two lines in the wrong order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import perdure.checkpoints.manager as manager
import perdure.control.door as door
import perdure.core.planner as planner
import perdure.core.requests as requests
import perdure.core.retention as retention
import perdure.core.transitions as transitions
import perdure.testing.simulation.workers as workers
from perdure.control.desk import Desk
from perdure.control.door import Door
from perdure.core.commands import Command
from perdure.core.events import (
    Action,
    AnyEvent,
    CheckpointInfo,
    CheckpointPinned,
    DriverStarted,
    ErrorInfo,
    Event,
    Reported,
    RequestRefused,
    Source,
    StopRequested,
)
from perdure.core.state import State, Trial
from perdure.journal.file import FileJournal
from perdure.judge import Judge
from perdure.runner import Runner
from perdure.storage.local import write_new
from perdure.testing.simulation import BrokenPromiseError, Case, simulate
from perdure.trainable.messages import AttemptKey, Report
from tests.simulation.test_clones import population
from tests.simulation.test_failed_sync import failing_syncs
from tests.simulation.test_requests import asked, stopped_at_a_restart

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


def _trusts_a_second_sync(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(manager, "write_anew", nothing)


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


def _judges_a_row_again(patch: pytest.MonkeyPatch) -> None:
    """A row that a trial reports again, after going back to an older checkpoint, is put to the plugins anew."""
    report = Judge.report

    def anew(self: Judge, trial: Trial, key: AttemptKey, row: Report, *, adopted: bool = False) -> Reported:
        judged, trial.judged = trial.judged, -1
        try:
            return report(self, trial, key, row, adopted=adopted)
        finally:
            trial.judged = judged

    patch.setattr(Judge, "report", anew)


def _hears_the_dead(patch: pytest.MonkeyPatch) -> None:
    """A message that comes late, or twice, is taken for one of the attempt that lives now."""
    receive = Runner.receive

    def anyone(self: Runner, key: AttemptKey, message: object) -> None:
        trial = self.state.trials.get(key.trial)
        live = None if trial is None else trial.live
        receive(self, key if live is None else AttemptKey(key.trial, live.attempt), message)

    patch.setattr(Runner, "receive", anyone)


def _forgets_pauses_at_a_restart(patch: pytest.MonkeyPatch) -> None:
    begin = transitions.HANDLERS[DriverStarted]

    def forget(state: State, event: Event) -> None:
        for trial in list(state.held):
            transitions._let_loose(state, state.trials[trial])
        begin(state, event)

    patch.setitem(transitions.HANDLERS, DriverStarted, forget)


def _forgets_what_it_answered(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(transitions, "_answer", nothing)


def _removes_requests_before_their_answers_are_on_the_disk(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Runner, "synced", property(lambda self: self.emitted))


def _takes_requests_for_removed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Door, "remove", lambda self, names: True)


def _never_syncs_requests(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(door, "write_new", lambda path, data, sync: write_new(path, data))


def _looks_for_no_requests(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Desk, "attend", nothing)


def _does_half_of_what_is_asked(patch: pytest.MonkeyPatch) -> None:
    act = requests._acted
    patch.setattr(requests, "_acted", lambda trials, *rest, **options: act(trials[:1], *rest, **options))


def _changes_something_all_the_same(patch: pytest.MonkeyPatch) -> None:
    """What runs is told to end at its next report, by a request that is refused."""
    refuse = transitions.HANDLERS[RequestRefused]

    def stop(state: State, event: Event) -> None:
        refuse(state, event)
        state.agenda.stop.update(state.live)

    patch.setitem(transitions.HANDLERS, RequestRefused, stop)


def _ends_whatever_session(patch: pytest.MonkeyPatch) -> None:
    answer = requests.answer

    def this_one(state: State, request: requests.AnyRequest, **options: Any) -> AnyEvent:
        if isinstance(request, requests.StopExperiment):
            request = requests.StopExperiment(epoch=state.epoch)
        return answer(state, request, **options)

    patch.setattr("perdure.control.desk.answer", this_one)


def _ends_no_session(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(transitions.HANDLERS, StopRequested, lambda state, event: transitions._answer(state, event.request))


def _tells_no_trial_to_stop(patch: pytest.MonkeyPatch) -> None:
    """What is decided about a trial that runs does not come true with its next row."""
    decide = transitions._decide

    def only_at_rest(state: State, trial: Trial, action: Action) -> None:
        if trial.live is None:
            decide(state, trial, action)

    patch.setattr(transitions, "_decide", only_at_rest)


def _forgets_a_stop_over_a_damaged_checkpoint(patch: pytest.MonkeyPatch) -> None:
    reject = transitions._reject

    def forget(state: State, trial: Trial, source: Source, error: ErrorInfo | None) -> None:
        trial.decision = None
        reject(state, trial, source, error)

    patch.setattr(transitions, "_reject", forget)


def _never_lets_go(patch: pytest.MonkeyPatch) -> None:
    """A trial that was let go stays paused, for the scheduler to wake, though it would have run."""
    hold_back = transitions._hold_back

    def forget(state: State, trial: Trial) -> None:
        resume = trial.resume
        hold_back(state, trial)
        trial.resume = resume

    patch.setattr(transitions, "_hold_back", forget)


def _heeds_the_scheduler_about_held_trials(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Trial, "set_aside", property(lambda self: self.skipped))


REQUESTS = [
    (_forgets_pauses_at_a_restart, "people hold"),
    (_forgets_what_it_answered, "is answered twice"),
    (_removes_requests_before_their_answers_are_on_the_disk, "is removed, and"),
    (_takes_requests_for_removed, "is said to be gone for good"),
    (_never_syncs_requests, "nobody has answered"),
    (_looks_for_no_requests, "a driver lives, and nobody answers"),
    (_does_half_of_what_is_asked, "is answered by"),
    (_changes_something_all_the_same, "was refused, and changed something"),
    (_ends_whatever_session, "is answered by"),
    (_ends_no_session, "somebody has ended the session"),
    (_tells_no_trial_to_stop, "reports as if it were not"),
    (_never_lets_go, "nobody wakes"),
    (_heeds_the_scheduler_about_held_trials, "is held all the same"),
]
"""Ways to fail people who ask for something, and what the check says that is for each."""


def _thinks_that_it_is_where_it_was(patch: pytest.MonkeyPatch) -> None:
    begin = transitions.HANDLERS[DriverStarted]

    def stay(state: State, event: Event) -> None:
        capacity = state.capacity
        begin(state, event)
        state.capacity = capacity or state.capacity

    patch.setitem(transitions.HANDLERS, DriverStarted, stay)


SAID = [(_judges_a_row_again, "was judged twice"), (_hears_the_dead, "has two live attempts")]
"""Ways to fail that more than one check catches, and what the one says that is for them."""

MUTATIONS: list[Callable[[pytest.MonkeyPatch], None]] = [
    _answers_before_it_writes,
    _never_syncs_the_journal,
    _never_syncs_checkpoints,
    _believes_any_checkpoint,
    _starts_from_an_old_one,
    _protects_nothing,
    _heeds_no_pin,
    _keeps_everything,
    _deletes_before_it_is_known_to_be_retired,
    _runs_more_than_there_is_room_for,
    _ends_too_early,
    _syncs_the_wrong_way_round,
    _forgets_that_it_is_the_newest,
    _thinks_that_it_is_where_it_was,
]


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_a_broken_product_is_caught(
    mutate: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    with pytest.raises(BrokenPromiseError, match=r"python -m perdure\.testing\.simulation \d+"):
        for seed in range(SEEDS):
            simulate(seed)


def test_a_donor_that_is_let_go_is_caught_in_the_populations_of_test_clones(monkeypatch: pytest.MonkeyPatch) -> None:
    """One in ten of them needs its donor so late; of all experiments one in four hundred."""
    _lets_donors_go(monkeypatch)
    with pytest.raises(BrokenPromiseError, match="a clone of"):
        for seed in range(SEEDS):
            simulate(seed, case=population(seed))


def test_a_second_sync_that_is_trusted_is_caught_where_syncs_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one of three hundred such experiments; of all of them in one of some ten thousand."""
    _trusts_a_second_sync(monkeypatch)
    with pytest.raises(BrokenPromiseError, match="was durable, and a power cut took it"):
        for seed in range(350, SEEDS):  # the first one is among the next few, as long as nothing draws otherwise
            simulate(seed, case=failing_syncs(seed))


def test_a_stop_that_is_forgotten_is_caught_where_it_comes_at_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one of twenty such experiments; of those of test_requests in one of some thousands."""
    _forgets_a_stop_over_a_damaged_checkpoint(monkeypatch)
    assert any("runs again" in str(_failure(seed, stopped_at_a_restart(seed))) for seed in range(SEEDS))


@pytest.mark.parametrize(("mutate", "said"), SAID)
def test_it_is_caught_by_the_check_that_is_for_it(
    mutate: Callable[[pytest.MonkeyPatch], None], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    assert any(said in str(_failure(seed)) for seed in range(SEEDS))


def _failure(seed: int, case: Case | None = None) -> BrokenPromiseError | None:
    try:
        simulate(seed, case=case)
    except BrokenPromiseError as error:
        return error
    return None


@pytest.mark.parametrize(("mutate", "said"), REQUESTS)
def test_people_who_are_failed_notice(
    mutate: Callable[[pytest.MonkeyPatch], None], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the experiments of test_requests somebody asks for something each time."""
    mutate(monkeypatch)
    assert any(said in str(_failure(seed, asked(seed))) for seed in range(SEEDS))
