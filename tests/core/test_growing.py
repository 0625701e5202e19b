"""Finished trials that a restore runs again, and what changes with a definition: as transitions."""

from __future__ import annotations

import pytest

from perdure.core.events import (
    Action,
    Change,
    Decision,
    DefinitionChanged,
    DriverStopped,
    Outcome,
    SearchEnded,
    Spec,
    StopRequested,
    TrialActed,
    TrialRequeued,
)
from perdure.core.state import Status
from perdure.core.transitions import SKIPPED
from tests.core.experiment import Experiment


def finished_experiment() -> Experiment:
    """One trial that was stopped at iteration 2, with a checkpoint of it, in a session that came to its end."""
    experiment = Experiment()
    experiment.state.keep_finished = True
    experiment.create("a")
    experiment.start("a")
    experiment.report("a", save=True)
    experiment.report("a", save=True, decision=Decision.STOP)
    experiment.end("a", Outcome.STOPPED)
    experiment.apply(SearchEnded(at=1.0))
    experiment.apply(DriverStopped(at=1.0, finished=True))
    return experiment


def again(experiment: Experiment, *, cut_short: bool) -> None:
    """Run the trial again in a session that comes to its end, or does not."""
    experiment.driver()
    round_ = experiment.state.round + (0 if experiment.state.round_open else 1)
    experiment.apply(TrialRequeued(at=2.0, trial="a", round=round_))
    experiment.start("a")
    experiment.report("a", save=True, decision=Decision.STOP)
    experiment.end("a", Outcome.STOPPED)
    if not cut_short:
        experiment.apply(DriverStopped(at=3.0, finished=True))


def changed(what: str = "stop", **spec: object) -> DefinitionChanged:
    return DefinitionChanged(
        at=2.0,
        changes=(Change(what=what, before=1, after=2),),
        definition={what: 2},
        trainable="other",
        spec=Spec(**spec),  # type: ignore[arg-type]
        pickles={"tuner-000002.pkl": "digest"},
    )


def test_an_extended_trial_goes_on_in_its_segment_from_its_latest_checkpoint() -> None:
    experiment = finished_experiment()
    experiment.driver()
    experiment.apply(TrialRequeued(at=2.0, trial="a", round=1))
    assert experiment.status("a") is Status.PENDING
    experiment.start("a")
    trial = experiment.trial("a")
    assert (trial.segment, trial.iteration, trial.judged) == (0, 2, 2)
    experiment.report("a")
    assert (trial.iteration, trial.judged) == (3, 3)


@pytest.mark.parametrize(("cut_short", "next_round"), [(True, 1), (False, 2)])
def test_a_round_goes_on_until_a_session_has_come_to_its_end(cut_short: bool, next_round: int) -> None:
    experiment = finished_experiment()
    again(experiment, cut_short=cut_short)
    experiment.driver()
    state = experiment.state
    assert state.round + (0 if state.round_open else 1) == next_round
    assert experiment.trial("a").round == 1


def test_a_round_comes_to_its_end_though_a_trial_is_set_aside() -> None:
    experiment = finished_experiment()
    experiment.create("b")
    experiment.driver()
    experiment.apply(TrialRequeued(at=2.0, trial="a", round=1))
    experiment.apply(TrialActed(at=2.0, action=Action(trial="b", decision=Decision.PAUSE), request=SKIPPED))
    experiment.start("a")
    experiment.report("a", save=True, decision=Decision.STOP)
    experiment.end("a", Outcome.STOPPED)
    experiment.apply(DriverStopped(at=3.0, finished=False))
    assert not experiment.state.round_open


def test_a_trial_that_is_left_alone_stays_so_with_other_resources() -> None:
    experiment = finished_experiment()
    experiment.create("b")
    experiment.apply(TrialActed(at=2.0, action=Action(trial="b", decision=Decision.PAUSE), request=SKIPPED))
    resized = Action(trial="b", decision=Decision.CONTINUE, resources={"CPU": 2.0})
    experiment.apply(TrialActed(at=2.0, action=resized))
    assert experiment.trial("b").skipped
    let_go_on = Action(trial="b", decision=Decision.CONTINUE, hold=False, resume=True)
    experiment.apply(TrialActed(at=2.0, action=let_go_on))
    assert not experiment.trial("b").skipped
    assert experiment.status("b") is Status.PENDING


def test_what_is_created_in_a_round_is_of_it() -> None:
    experiment = finished_experiment()
    again(experiment, cut_short=True)
    experiment.create("b")
    assert experiment.trial("b").round == 1


def test_another_definition_begins_another_round_and_asks_the_searcher_again() -> None:
    experiment = finished_experiment()
    again(experiment, cut_short=True)
    experiment.apply(StopRequested(at=3.0, reason="stopper"))
    assert experiment.state.search_ended
    experiment.apply(changed(num_samples=9))
    state = experiment.state
    assert not state.round_open
    assert not state.search_ended
    assert state.stopping is None
    assert (state.trainable, state.spec.num_samples) == ("other", 9)
    assert state.pickles == {"tuner-000002.pkl": "digest"}


def test_a_definition_that_was_only_not_known_before_changes_nothing() -> None:
    experiment = finished_experiment()
    again(experiment, cut_short=True)
    experiment.apply(
        DefinitionChanged(at=3.0, changes=(), definition={"stop": 1}, trainable="f", spec=Spec(), pickles={})
    )
    assert experiment.state.round_open
    assert experiment.state.search_ended


def test_other_limits_count_though_nobody_knows_what_was_asked_for_before() -> None:
    experiment = finished_experiment()
    again(experiment, cut_short=True)
    experiment.apply(
        DefinitionChanged(
            at=3.0, changes=(), definition={"num_samples": 9}, trainable="f", spec=Spec(num_samples=9), pickles={}
        )
    )
    assert not experiment.state.search_ended
