"""What is left to do for a trial at its end, and what a restart from scratch may go back to."""

from __future__ import annotations

import pytest

from perdure.core.commands import Retire
from perdure.core.events import (
    AttemptEnded,
    CheckpointsDurable,
    Outcome,
    Source,
    TrialRequeued,
)
from perdure.core.planner import plan, source_of
from perdure.core.state import State, Status
from perdure.core.transitions import apply
from tests.core.experiment import Experiment


def test_a_restart_from_scratch_never_goes_back_to_an_old_checkpoint() -> None:
    experiment = Experiment(max_failures=-1)
    experiment.state.keep_finished = True
    experiment.create("a")
    experiment.start("a")
    experiment.report("a", save=True)
    experiment.end("a", Outcome.FINISHED)
    experiment.apply(TrialRequeued(at=0.0, trial="a", from_scratch=True))
    experiment.start("a")
    experiment.end("a", Outcome.FAILED)
    assert source_of(experiment.state, experiment.trial("a")) is None
    experiment.driver()
    experiment.apply(TrialRequeued(at=0.0, trial="a"))
    assert source_of(experiment.state, experiment.trial("a")) is None
    experiment.start("a")
    experiment.report("a", save=True)
    experiment.end("a", Outcome.FAILED)
    assert source_of(experiment.state, experiment.trial("a")) == Source(trial="a", number=1)


def in_one_turn() -> tuple[Experiment, State]:
    """A trial that keeps one checkpoint ends in the very turn in which its last one has become durable."""
    experiment = Experiment(num_to_keep=1)
    experiment.create("a")
    experiment.start("a")
    experiment.report("a", save=True)
    experiment.durable("a", 0)
    experiment.report("a", save=True)
    experiment.plan_all()
    state = experiment.state
    apply(state, AttemptEnded(at=0.0, trial="a", attempt=1, outcome=Outcome.FINISHED))
    apply(state, CheckpointsDurable(at=0.0, items=(Source(trial="a", number=1),)))
    experiment.let_go(state)
    return experiment, state


def test_a_trial_that_is_let_go_still_retires_what_nobody_keeps() -> None:
    _, state = in_one_turn()
    assert Retire((Source(trial="a", number=0),)) in plan(state)


def test_a_driver_that_died_before_it_retired_does_so_at_the_next_start() -> None:
    experiment, state = in_one_turn()
    experiment.driver()
    assert Retire((Source(trial="a", number=0),)) in plan(state)


@pytest.mark.parametrize("outcome", [Outcome.PAUSED, Outcome.INTERRUPTED, Outcome.STOPPED])
def test_a_stop_for_good_leaves_no_trial_paused(outcome: Outcome) -> None:
    experiment = Experiment()
    experiment.create("a")
    experiment.start("a")
    experiment.stop(resumable=False)
    experiment.end("a", outcome)
    assert experiment.status("a") is Status.TERMINATED
