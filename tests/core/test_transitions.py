"""What becomes of a trial, by what happened to it."""

from __future__ import annotations

import pytest

from perdure.core.commands import Finish, Launch, MakeDurable, Retire, Suggest, Wake
from perdure.core.events import (
    Action,
    CheckpointsRetired,
    CheckpointsUnsafe,
    Decision,
    Outcome,
    SearchEnded,
    Source,
    TrialActed,
    TrialRequeued,
)
from perdure.core.invariants import violations
from perdure.core.planner import plan, source_of
from perdure.core.state import Status
from perdure.errors import InternalError
from tests.core.experiment import Experiment, without_agenda


def running(**spec: object) -> Experiment:
    experiment = Experiment(**spec)
    experiment.create("a")
    experiment.start("a")
    return experiment


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome.FINISHED, Status.TERMINATED),
        (Outcome.STOPPED, Status.TERMINATED),
        (Outcome.PAUSED, Status.PAUSED),
        (Outcome.FAILED, Status.ERROR),
        (Outcome.LOST, Status.ERROR),
        (Outcome.INTERRUPTED, Status.PENDING),
    ],
)
def test_where_an_attempt_leaves_its_trial(outcome: Outcome, status: Status) -> None:
    experiment = running()
    experiment.report("a", save=True)
    experiment.end("a", outcome)
    assert experiment.status("a") is status
    assert experiment.state.used["CPU"] == 0


@pytest.mark.parametrize(("max_failures", "attempts"), [(0, 1), (2, 3)])
def test_a_trial_is_retried_as_often_as_it_may_be(max_failures: int, attempts: int) -> None:
    experiment = running(max_failures=max_failures)
    while experiment.status("a") is not Status.ERROR:
        experiment.end("a", Outcome.FAILED)
        if experiment.status("a") is Status.PENDING:
            experiment.start("a")
    assert experiment.trial("a").attempts == attempts


def test_minus_one_retries_for_ever() -> None:
    experiment = running(max_failures=-1)
    for _ in range(50):
        experiment.end("a", Outcome.LOST)
        experiment.start("a")
    assert experiment.status("a") is Status.RUNNING


def test_a_retry_starts_at_the_latest_checkpoint_and_judges_no_row_twice() -> None:
    experiment = running(max_failures=1)
    experiment.report("a", save=True)
    experiment.report("a")
    experiment.report("a")
    experiment.end("a", Outcome.LOST)
    assert source_of(experiment.state, experiment.trial("a")) == Source(trial="a", number=0)
    experiment.start("a")
    assert experiment.trial("a").iteration == 1
    assert experiment.trial("a").judged == 3


def test_a_new_driver_puts_running_trials_back_without_counting_a_failure() -> None:
    experiment = running()
    experiment.report("a", save=True)
    experiment.driver()
    assert experiment.status("a") is Status.PENDING
    assert experiment.trial("a").failures == 0
    assert experiment.plan()[-1] == Launch("a")


def test_a_stop_that_was_journaled_holds_over_a_crash() -> None:
    experiment = running()
    experiment.report("a", decision=Decision.STOP)
    experiment.driver()
    assert experiment.status("a") is Status.TERMINATED


def test_a_stop_that_owes_a_checkpoint_goes_back_for_it() -> None:
    experiment = running()
    experiment.report("a", save=True)
    experiment.report("a", decision=Decision.STOP, owed=True)
    experiment.driver()
    trial = experiment.trial("a")
    assert (trial.status, trial.decision, trial.decided_at) == (Status.PENDING, Decision.STOP, 2)
    experiment.start("a")
    experiment.report("a", decision=Decision.STOP, owed=True)
    experiment.save("a")
    experiment.end("a", Outcome.STOPPED)
    assert experiment.status("a") is Status.TERMINATED


def test_a_damaged_checkpoint_falls_back_to_the_one_before() -> None:
    experiment = running()
    experiment.report("a", save=True)
    experiment.report("a", save=True)
    experiment.driver()
    experiment.start("a")
    experiment.end("a", Outcome.REJECTED, rejected=Source(trial="a", number=1))
    assert source_of(experiment.state, experiment.trial("a")) == Source(trial="a", number=0)
    experiment.start("a")
    experiment.end("a", Outcome.REJECTED, rejected=Source(trial="a", number=0))
    assert experiment.status("a") is Status.ERROR
    assert experiment.trial("a").failures == 0


def test_from_scratch_only_if_told_to() -> None:
    experiment = running(restart_without_checkpoint=True)
    experiment.report("a", save=True)
    experiment.driver()
    experiment.start("a")
    experiment.end("a", Outcome.REJECTED, rejected=Source(trial="a", number=0))
    assert experiment.status("a") is Status.PENDING
    assert source_of(experiment.state, experiment.trial("a")) is None


def test_a_resumable_stop_leaves_trials_to_a_restore() -> None:
    experiment = running()
    experiment.create("b")
    experiment.stop(resumable=True)
    experiment.report("a", save=True)
    experiment.end("a", Outcome.PAUSED)
    assert experiment.status("a") is Status.PENDING
    assert experiment.plan_all()[-1] == Finish(finished=False)


def test_a_final_stop_terminates_all() -> None:
    experiment = running()
    experiment.create("b")
    experiment.stop(resumable=False)
    assert experiment.status("b") is Status.TERMINATED
    experiment.report("a", decision=Decision.STOP)
    experiment.end("a", Outcome.STOPPED)
    assert experiment.plan_all()[-1] == Finish(finished=True)


def test_a_final_stop_is_carried_out_after_a_crash() -> None:
    experiment = running()
    experiment.stop(resumable=False)
    experiment.driver()
    assert experiment.status("a") is Status.TERMINATED


def test_a_clone_holds_its_donor_until_it_has_a_durable_checkpoint_of_its_own() -> None:
    experiment = Experiment(num_to_keep=1)
    experiment.create("donor", "clone")
    experiment.start("donor", "clone")
    experiment.report("donor", save=True)
    donor = Source(trial="donor", number=0)
    action = Action(trial="clone", decision=Decision.PAUSE, donor=donor, config={"lr": 0.2}, resume=True)
    experiment.report("clone", save=True, actions=(action,))
    for _ in range(3):
        experiment.report("donor", save=True)
    experiment.durable("donor", 0)
    experiment.durable("donor", 3)
    assert Source(trial="donor", number=0) not in _retired(experiment)
    experiment.end("clone", Outcome.PAUSED)
    assert experiment.status("clone") is Status.PENDING
    experiment.start("clone")
    clone = experiment.trial("clone")
    assert (clone.segment, clone.iteration, clone.config) == (1, 1, {"lr": 0.2})
    experiment.report("clone", save=True)
    assert Source(trial="donor", number=0) not in _retired(experiment)
    experiment.durable("clone", 1)
    assert Source(trial="donor", number=0) in _retired(experiment)


def test_a_clone_that_dies_before_its_first_checkpoint_starts_at_the_donor_again() -> None:
    experiment = Experiment(max_failures=1)
    experiment.create("donor", "clone")
    experiment.start("donor", "clone")
    experiment.report("donor", save=True)
    experiment.report("clone", save=True)
    donor = Source(trial="donor", number=0)
    action = Action(trial="clone", decision=Decision.PAUSE, donor=donor, config={}, resume=True)
    experiment.apply(TrialActed(at=0.0, action=action))
    experiment.end("clone", Outcome.PAUSED)
    experiment.start("clone")
    experiment.end("clone", Outcome.LOST)
    assert source_of(experiment.state, experiment.trial("clone")) == donor
    experiment.start("clone")
    assert experiment.trial("clone").segment == 1


def test_a_paused_trial_waits_to_be_woken() -> None:
    experiment = running()
    experiment.report("a", save=True, decision=Decision.PAUSE)
    experiment.end("a", Outcome.PAUSED)
    experiment.apply(SearchEnded(at=0.0))
    assert experiment.plan_all()[-1] == Wake()
    assert plan(experiment.state, declined=[Wake()]) == [Finish(finished=False)]
    experiment.apply(TrialActed(at=0.0, action=Action(trial="a", decision=Decision.CONTINUE, resume=True)))
    assert experiment.plan()[-1] == Launch("a")


@pytest.mark.parametrize("outcome", [Outcome.LOST, Outcome.FAILED])
def test_a_trial_that_was_to_pause_is_paused_though_its_worker_dies_first(outcome: Outcome) -> None:
    experiment = running(max_failures=1)
    experiment.report("a", save=True, decision=Decision.PAUSE)
    experiment.end("a", outcome)
    assert (experiment.status("a"), experiment.trial("a").failures) == (Status.PAUSED, 1)
    experiment.apply(TrialActed(at=0.0, action=Action(trial="a", decision=Decision.CONTINUE, resume=True)))
    experiment.start("a")
    experiment.report("a", save=True, decision=Decision.PAUSE)
    experiment.end("a", outcome)
    assert experiment.status("a") is Status.ERROR


def test_a_journal_in_which_such_a_trial_was_started_at_once_can_be_read() -> None:
    """Until November 2026 the pause was forgotten."""
    experiment = running(max_failures=1)
    experiment.report("a", save=True, decision=Decision.PAUSE)
    experiment.end("a", Outcome.LOST)
    experiment.start("a")
    assert experiment.status("a") is Status.RUNNING
    assert violations(experiment.state) == []


def test_a_paused_trial_may_go_on_before_a_new_one_is_started() -> None:
    experiment = Experiment()
    experiment.create("a", "b")
    experiment.start("a")
    experiment.report("a", save=True, decision=Decision.PAUSE)
    experiment.end("a", Outcome.PAUSED)
    assert experiment.plan_all() == [Wake(early=True)]
    assert plan(experiment.state, declined=[Wake(early=True)]) == [Launch("b")]
    experiment.start("b")
    assert experiment.plan_all() == [Wake(early=True)]
    assert plan(experiment.state, declined=[Wake(early=True)]) == [Suggest()]
    assert plan(experiment.state, may_suggest=False) == []  # "b" may bring the searcher on


def test_who_was_running_when_a_driver_died_goes_on_before_who_waited() -> None:
    experiment = Experiment()
    experiment.create("a", "b")
    experiment.start("a", "b")
    experiment.report("a", save=True, decision=Decision.PAUSE)
    experiment.end("a", Outcome.PAUSED)
    experiment.apply(TrialActed(at=0.0, action=Action(trial="a", decision=Decision.CONTINUE, resume=True)))
    experiment.driver()
    assert list(experiment.state.ahead) == ["b", "a"]


def test_who_had_been_told_to_pause_when_a_driver_died_goes_on_after_who_waited() -> None:
    experiment = Experiment()
    experiment.create("a", "b")
    experiment.start("a", "b")
    experiment.report("a", save=True, decision=Decision.PAUSE)
    experiment.end("a", Outcome.PAUSED)
    experiment.report("b", save=True, decision=Decision.PAUSE)
    go_on = [Action(trial=name, decision=Decision.CONTINUE, resume=True) for name in ("b", "a")]
    experiment.apply(TrialActed(at=0.0, action=go_on[0], more=tuple(go_on[1:])))
    experiment.driver()
    assert list(experiment.state.ahead) == ["a", "b"]


def test_a_trial_is_woken_that_has_to_be_paused_once_more_first() -> None:
    experiment = Experiment()
    experiment.create("a")
    experiment.start("a")
    experiment.report("a", save=True)
    experiment.report("a", decision=Decision.PAUSE, owed=True)
    experiment.driver()
    experiment.apply(TrialActed(at=0.0, action=Action(trial="a", decision=Decision.CONTINUE, resume=True)))
    experiment.start("a")
    experiment.report("a", save=True, decision=Decision.PAUSE)
    experiment.end("a", Outcome.PAUSED)
    assert experiment.status("a") is Status.PENDING


def test_a_clone_that_is_not_resumed_waits_for_its_turn() -> None:
    experiment = Experiment()
    experiment.create("donor", "clone")
    experiment.start("donor", "clone")
    experiment.report("donor", save=True)
    donor = Source(trial="donor", number=0)
    action = Action(trial="clone", decision=Decision.PAUSE, donor=donor, config={})
    experiment.report("clone", save=True, decision=Decision.PAUSE, actions=(action,))
    experiment.end("clone", Outcome.PAUSED)
    assert experiment.status("clone") is Status.PAUSED
    experiment.apply(TrialActed(at=0.0, action=Action(trial="clone", decision=Decision.CONTINUE, resume=True)))
    assert source_of(experiment.state, experiment.trial("clone")) == donor


def test_what_is_decided_together_is_one_record() -> None:
    experiment = Experiment()
    experiment.create("a", "b")
    experiment.start("a", "b")
    for name in ("a", "b"):
        experiment.report(name, save=True, decision=Decision.PAUSE)
        experiment.end(name, Outcome.PAUSED)
    go_on = [Action(trial=name, decision=Decision.CONTINUE, resume=True) for name in ("b", "a")]
    experiment.apply(TrialActed(at=0.0, action=go_on[0], more=tuple(go_on[1:])))
    assert list(experiment.state.ahead) == ["b", "a"]


def test_other_resources_hold_from_the_next_attempt_on() -> None:
    experiment = Experiment(capacity={"CPU": 4.0})
    experiment.create("a")
    experiment.start("a")
    more = Action(trial="a", decision=Decision.PAUSE, resources={"CPU": 3.0}, resume=True)
    experiment.report("a", save=True, decision=Decision.PAUSE, actions=(more,))
    assert experiment.state.used == {"CPU": 1.0}
    experiment.end("a", Outcome.PAUSED)
    experiment.start("a")
    assert experiment.state.used == {"CPU": 3.0}
    experiment.end("a", Outcome.FINISHED)
    assert experiment.state.used["CPU"] == 0.0


def test_a_trial_that_does_not_run_has_other_resources_at_once() -> None:
    experiment = Experiment(capacity={"CPU": 2.0})
    experiment.create("b", "a")
    experiment.start("b")
    experiment.apply(TrialActed(at=0.0, action=Action(trial="a", decision=Decision.CONTINUE, resources={"CPU": 9.0})))
    assert Launch("a") not in experiment.plan()  # there is no room


@pytest.mark.parametrize("from_scratch", [False, True])
def test_a_restore_may_run_an_errored_trial_again(from_scratch: bool) -> None:
    experiment = running()
    experiment.state.keep_finished = True
    experiment.report("a", save=True)
    experiment.end("a", Outcome.FAILED)
    experiment.apply(TrialRequeued(at=0.0, trial="a", from_scratch=from_scratch))
    assert (source_of(experiment.state, experiment.trial("a")) is None) is from_scratch
    experiment.start("a")
    assert experiment.trial("a").iteration == (0 if from_scratch else 1)


def test_an_event_that_cannot_have_happened_tells_the_story() -> None:
    experiment = running()
    experiment.end("a", Outcome.FINISHED)
    with pytest.raises(InternalError, match="Trial a is TERMINATED"):
        experiment.end("a", Outcome.FINISHED)


def test_room_is_never_exceeded_and_never_wasted() -> None:
    experiment = Experiment(capacity={"CPU": 2.0})
    assert experiment.plan() == [Suggest()]
    experiment.create("a", "b", "c")
    experiment.start("a", "b")
    assert experiment.plan() == []
    experiment.end("a", Outcome.FINISHED)
    assert experiment.plan() == [Launch("c")]


def test_what_never_fits_is_not_waited_for() -> None:
    """Nothing runs, so there will never be more room: the runner is to say what is wrong."""
    experiment = Experiment(capacity={"CPU": 1.0})
    experiment.create("a", "b")
    action = Action(trial="a", decision=Decision.CONTINUE, resources={"CPU": 2.0})
    experiment.apply(TrialActed(at=0.0, action=action))
    assert experiment.plan() == [Launch("a")]
    nothing = Experiment(capacity={"CPU": 0.0})
    assert nothing.plan() == [Suggest()]


def test_a_finished_trial_costs_little() -> None:
    experiment = running()
    for _ in range(20):
        experiment.report("a", save=True)
    experiment.end("a", Outcome.FINISHED)
    experiment.durable("a", *range(20))
    trial = experiment.trial("a")
    assert (trial.config, trial.last, list(trial.checkpoints)) == (None, None, [19])


def test_a_trial_that_saves_faster_than_the_disk_still_gets_a_durable_checkpoint() -> None:
    experiment = running(num_to_keep=1)
    syncing: list[Source] = []
    for _ in range(9):
        experiment.report("a", save=True)
        for command in experiment.plan():
            if isinstance(command, Retire):
                assert not set(syncing) & set(command.items), "what is being synced was thrown away"
                experiment.apply(CheckpointsRetired(at=0.0, items=command.items))
            if isinstance(command, MakeDurable):
                syncing += command.items
    assert syncing == [Source(trial="a", number=0)]
    experiment.durable("a", 0)
    assert [c.items for c in experiment.plan() if isinstance(c, MakeDurable)] == [(Source(trial="a", number=8),)]


def test_what_the_disk_refused_is_never_the_only_one_kept() -> None:
    experiment = running(num_to_keep=1)
    experiment.report("a", save=True)
    experiment.durable("a", 0)
    experiment.report("a", save=True)
    experiment.apply(CheckpointsUnsafe(at=0.0, items=(Source(trial="a", number=1),)))
    assert _retired(experiment) == ()
    experiment.report("a", save=True)
    experiment.durable("a", 2)
    assert [item.number for item in _retired(experiment)] == [0, 1]


def test_a_replay_gives_the_same_state() -> None:
    experiment = running(num_to_keep=1, max_failures=1)
    experiment.report("a", save=True)
    experiment.report("a", save=True)
    experiment.end("a", Outcome.LOST)
    experiment.start("a")
    experiment.report("a")
    assert without_agenda(experiment.replayed()) == without_agenda(experiment.state)


def _retired(experiment: Experiment) -> tuple[Source, ...]:
    return tuple(item for command in experiment.plan() if isinstance(command, Retire) for item in command.items)


def test_a_trial_whose_clone_is_decided_with_an_adopted_row_goes_on_as_the_clone() -> None:
    experiment = Experiment()
    experiment.create("donor", "a")
    experiment.start("donor", "a")
    experiment.report("donor", save=True)
    experiment.driver()  # the row that "a" had saved with its checkpoint had not reached the journal
    source = Source(trial="donor", number=0)
    clone = Action(trial="a", decision=Decision.PAUSE, donor=source, config={"lr": 0.2}, resume=True)
    experiment.report("a", save=True, adopted=True, decision=Decision.PAUSE, actions=(clone,))
    assert experiment.status("a") is Status.PENDING
    experiment.start("a")
    assert experiment.trial("a").live is not None
    assert source_of(experiment.state, experiment.trial("a")) == source
    experiment.end("a", Outcome.PAUSED)
    assert experiment.status("a") is Status.PAUSED, "that it may go on is said once"


def test_a_trial_whose_pause_is_decided_with_an_adopted_row_has_had_its_turn() -> None:
    experiment = Experiment()
    experiment.create("a", "b")
    experiment.start("a", "b")
    experiment.report("b", save=True, decision=Decision.PAUSE)
    experiment.end("b", Outcome.PAUSED)
    experiment.apply(TrialActed(at=0.0, action=Action(trial="b", decision=Decision.CONTINUE, resume=True)))
    experiment.driver()
    assert list(experiment.state.ahead) == ["a", "b"]
    again = Action(trial="a", decision=Decision.PAUSE, resources={"CPU": 2.0}, resume=True)
    experiment.report("a", save=True, adopted=True, decision=Decision.PAUSE, actions=(again,))
    assert list(experiment.state.ahead) == ["b", "a"]
