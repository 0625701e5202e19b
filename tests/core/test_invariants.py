from __future__ import annotations

import pytest

from perdure.core.events import Decision, Outcome
from perdure.core.invariants import violations
from perdure.core.state import State
from tests.core.experiment import Experiment

INDEXES = ("pending", "ahead", "live", "paused", "wakeable", "held")


def of_each_kind() -> State:
    """Return a state with a trial of each status, and one that a person paused."""
    experiment = Experiment(capacity={"CPU": 9.0})
    experiment.create("runs", "again", "sleeps", "over", "waits")
    experiment.start("runs", "again", "sleeps", "over")
    experiment.end("again", Outcome.INTERRUPTED)
    experiment.report("sleeps", save=True, decision=Decision.PAUSE)
    experiment.end("sleeps", Outcome.PAUSED)
    experiment.end("over", Outcome.FINISHED)
    return experiment.state


@pytest.mark.parametrize("index", INDEXES)
@pytest.mark.parametrize("trial", ["runs", "again", "sleeps", "over", "waits", "nobody"])
def test_an_index_that_misses_a_trial_or_has_one_too_many_is_noticed(index: str, trial: str) -> None:
    state = of_each_kind()
    assert violations(state) == []
    ids = getattr(state, index)
    if trial in ids:
        del ids[trial]
    else:
        ids[trial] = None
    assert violations(state)


@pytest.mark.parametrize("status", ["PENDING", "RUNNING", "PAUSED", "TERMINATED", "ERROR"])
def test_a_wrong_count_of_trials_is_noticed(status: str) -> None:
    state = of_each_kind()
    state.counts[status] = state.counts.get(status, 0) + 1
    assert violations(state)


def test_resources_that_are_not_counted_or_not_there_are_noticed() -> None:
    state = of_each_kind()
    state.used["CPU"] += 1
    assert any("counted" in text for text in violations(state))
    state = of_each_kind()
    state.capacity = {"CPU": 0.5}
    assert any("in use of 0.5" in text for text in violations(state))
