"""What requests do to trials and checkpoints, and that each is answered once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from perdure.core.commands import Await, Finish, Launch, Retire
from perdure.core.events import (
    Action,
    AnyEvent,
    CheckpointPinned,
    CheckpointsRetired,
    Decision,
    Outcome,
    RequestRefused,
    RequestsCleared,
    SearchEnded,
    Source,
    StopRequested,
    TrialActed,
    TrialRequeued,
)
from perdure.core.requests import (
    AnyRequest,
    Collect,
    PauseTrials,
    Pin,
    ResumeTrials,
    StopExperiment,
    StopTrials,
    answer,
)
from perdure.core.state import Status
from perdure.core.transitions import SKIPPED
from perdure.errors import InternalError
from tests.core.experiment import Experiment


def experiment(**spec: object) -> Experiment:
    made = Experiment(**spec)
    made.create("a", "b")
    made.start("a")
    return made


def ask(made: Experiment, request: AnyRequest, name: str = "r1", *, saves: bool = True) -> AnyEvent:
    event = answer(made.state, request, name=name, at=0.0, saves=saves)
    made.apply(event)
    return event


def refused(made: Experiment, request: AnyRequest, *, saves: bool = True) -> str:
    event = ask(made, request, saves=saves)
    assert isinstance(event, RequestRefused)
    return event.reason


# --- stop -------------------------------------------------------------------------------------------------------------


def test_a_stopped_trial_ends_at_once_or_with_its_attempt() -> None:
    made = experiment()
    ask(made, StopTrials(trials=("a", "b")))
    assert (made.status("a"), made.status("b")) == (Status.RUNNING, Status.TERMINATED)
    made.end("a", Outcome.INTERRUPTED)
    assert made.status("a") is Status.TERMINATED


def test_a_stop_outlives_the_driver() -> None:
    made = experiment()
    ask(made, StopTrials(trials=("a",)))
    made.driver()
    assert made.status("a") is Status.TERMINATED


def test_what_has_ended_is_not_stopped_again() -> None:
    made = experiment()
    made.end("a", Outcome.FINISHED)
    assert "TERMINATED already" in refused(made, StopTrials(trials=("a",)))
    assert "no trial nobody" in refused_as(made, StopTrials(trials=("b", "nobody")), "r2")
    assert made.status("b") is Status.PENDING, "a request is met as a whole or not at all"


def refused_as(made: Experiment, request: AnyRequest, name: str) -> str:
    event = ask(made, request, name)
    assert isinstance(event, RequestRefused)
    return event.reason


def test_a_stop_of_the_session_is_for_the_driver_it_was_meant_for() -> None:
    made = experiment()
    request = StopExperiment(epoch=made.state.epoch)
    made.driver()
    assert "has ended" in refused(made, request)
    event = ask(made, StopExperiment(epoch=made.state.epoch), "r2")
    assert isinstance(event, StopRequested)
    assert made.state.resumable


# --- pause and resume -------------------------------------------------------------------------------------------------


def test_a_paused_trial_stays_paused_over_restarts_until_it_is_resumed() -> None:
    made = experiment()
    ask(made, PauseTrials(trials=("a", "b")))
    made.end("a", Outcome.PAUSED)
    for _ in range(2):
        assert (made.status("a"), made.status("b")) == (Status.PAUSED, Status.PAUSED)
        assert Launch("a") not in made.plan_all()
        made.driver()
    ask(made, ResumeTrials(trials=("a", "b")), "r2")
    assert (made.status("a"), made.status("b")) == (Status.PENDING, Status.PENDING)


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.LOST, Outcome.INTERRUPTED])
def test_whatever_befalls_a_trial_before_it_has_paused_it_pauses(outcome: Outcome) -> None:
    made = experiment(max_failures=1)
    ask(made, PauseTrials(trials=("a",)))
    made.end("a", outcome)
    assert made.status("a") is Status.PAUSED


@pytest.mark.parametrize("saved", [1, 2])
@pytest.mark.parametrize("decided", [StopTrials(trials=("a",)), Action(trial="a", decision=Decision.STOP)])
def test_a_trial_that_is_to_stop_does_though_it_could_not_go_on_from_its_checkpoint(
    decided: StopTrials | Action, saved: int
) -> None:
    made = experiment()
    for _ in range(saved):
        made.report("a", save=True)
    made.driver()
    made.start("a")
    if isinstance(decided, Action):
        made.apply(TrialActed(at=0.0, action=decided))
    else:
        ask(made, decided)
    made.end("a", Outcome.REJECTED, rejected=Source(trial="a", number=saved - 1))
    assert made.status("a") is Status.TERMINATED


@pytest.mark.parametrize("resume", [False, True])
def test_a_trial_that_is_to_pause_does_though_it_could_not_go_on_from_its_checkpoint(resume: bool) -> None:
    made = experiment()
    made.report("a", save=True)
    made.report("a", save=True)
    made.driver()
    made.start("a")
    made.apply(TrialActed(at=0.0, action=Action(trial="a", decision=Decision.PAUSE, resume=resume)))
    made.end("a", Outcome.REJECTED, rejected=Source(trial="a", number=1))
    assert made.status("a") is (Status.PENDING if resume else Status.PAUSED)


def test_one_that_may_not_fail_is_in_error_all_the_same() -> None:
    made = experiment()
    ask(made, PauseTrials(trials=("a",)))
    made.end("a", Outcome.FAILED)
    assert made.status("a") is Status.ERROR
    assert not made.state.held


def test_resumed_before_it_had_paused_it_goes_on_as_soon_as_it_has() -> None:
    made = experiment()
    ask(made, PauseTrials(trials=("a",)))
    ask(made, ResumeTrials(trials=("a",)), "r2")
    made.report("a", decision=Decision.PAUSE)
    made.end("a", Outcome.PAUSED)
    assert made.status("a") is Status.PENDING


def test_the_scheduler_cannot_wake_what_a_person_paused_but_its_word_is_kept() -> None:
    made = experiment()
    made.report("a", save=True, decision=Decision.PAUSE)
    made.end("a", Outcome.PAUSED)
    ask(made, PauseTrials(trials=("a",)))
    made.apply(TrialActed(at=0.0, action=Action(trial="a", decision=Decision.CONTINUE, resume=True)))
    assert made.status("a") is Status.PAUSED
    ask(made, ResumeTrials(trials=("a",)), "r2")
    assert made.status("a") is Status.PENDING


def test_what_the_scheduler_had_paused_is_the_schedulers_again() -> None:
    made = experiment()
    made.report("a", save=True, decision=Decision.PAUSE)
    made.end("a", Outcome.PAUSED)
    assert "paused by the scheduler" in refused(made, ResumeTrials(trials=("a",)))
    ask(made, PauseTrials(trials=("a",)), "r2")
    ask(made, ResumeTrials(trials=("a",)), "r3")
    assert made.status("a") is Status.PAUSED
    made.apply(TrialActed(at=0.0, action=Action(trial="a", decision=Decision.CONTINUE, resume=True)))
    assert made.status("a") is Status.PENDING


def test_a_pause_of_the_scheduler_outlives_that_of_a_person_which_it_came_with() -> None:
    made = experiment()
    ask(made, PauseTrials(trials=("a",)))
    made.report("a", save=True, decision=Decision.PAUSE, agreed=True)
    made.end("a", Outcome.PAUSED)
    ask(made, ResumeTrials(trials=("a",)), "r2")
    assert made.status("a") is Status.PAUSED
    made.apply(TrialActed(at=0.0, action=Action(trial="a", decision=Decision.CONTINUE, resume=True)))
    assert made.status("a") is Status.PENDING


def test_a_trial_that_ended_while_it_was_held_is_the_schedulers_again_when_it_is_run_again() -> None:
    made = experiment()
    made.report("a", save=True)
    ask(made, PauseTrials(trials=("a",)))
    made.end("a", Outcome.PAUSED)
    ask(made, StopTrials(trials=("a",)), "r2")
    made.apply(TrialRequeued(at=0.0, trial="a", round=1))
    made.start("a")
    made.report("a", decision=Decision.PAUSE)
    made.end("a", Outcome.PAUSED)
    assert made.status("a") is Status.PAUSED


def left_alone() -> Experiment:
    """A restore was told to leave the two trials alone; one has run before."""
    made = experiment()
    made.report("a", save=True)
    made.driver()
    for trial in ("a", "b"):
        made.apply(TrialActed(at=0.0, action=Action(trial=trial, decision=Decision.PAUSE), request=SKIPPED))
    return made


def test_what_is_left_alone_stays_so_whatever_else_is_decided_about_it() -> None:
    made = left_alone()
    smaller = Action(trial="a", decision=Decision.CONTINUE, resources={"CPU": 0.5})
    made.apply(TrialActed(at=0.0, action=smaller))
    made.apply(TrialActed(at=0.0, action=Action(trial="a", decision=Decision.CONTINUE, resume=True)))
    made.apply(SearchEnded(at=0.0))
    assert made.status("a") is Status.PAUSED
    assert made.trial("a").skipped
    assert made.plan_all() == [Finish(finished=False)], "the scheduler is not even asked"


def test_what_is_left_alone_goes_on_when_a_person_says_so() -> None:
    made = left_alone()
    ask(made, ResumeTrials(trials=("a",)))
    assert (made.status("a"), made.status("b")) == (Status.PENDING, Status.PAUSED)
    ask(made, PauseTrials(trials=("b",)), "r2")
    ask(made, ResumeTrials(trials=("b",)), "r3")
    assert made.status("b") is Status.PENDING


def test_held_trials_cost_a_plan_nothing() -> None:
    """Neither what may be woken nor what is waited for is looked for among them."""

    class Counted(dict[str, None]):
        looked_at = 0

        def __iter__(self) -> Iterator[str]:
            self.looked_at += 1
            return super().__iter__()

        def __contains__(self, key: object) -> bool:
            self.looked_at += 1
            return super().__contains__(key)

    made = experiment()
    ask(made, PauseTrials(trials=("a", "b")))
    made.end("a", Outcome.PAUSED)
    made.apply(SearchEnded(at=0.0))
    made.plan()
    held, paused = Counted(made.state.held), Counted(made.state.paused)
    made.state.held, made.state.paused = held, paused
    assert made.plan() == [Await(2, "b")]
    assert (held.looked_at, paused.looked_at) == (0, 0)


def test_a_trial_that_would_lose_everything_is_not_paused() -> None:
    made = experiment()
    assert "has not saved a checkpoint" in refused(made, PauseTrials(trials=("a",)), saves=False)
    made.report("a", save=True)
    assert isinstance(ask(made, PauseTrials(trials=("a",)), "r2", saves=False), TrialActed)


def test_nobody_has_paused_it() -> None:
    made = experiment()
    assert "nobody has paused it" in refused(made, ResumeTrials(trials=("a",)))


def test_only_held_trials_left_is_waiting_and_a_stop_ends_it() -> None:
    made = experiment()
    ask(made, PauseTrials(trials=("a", "b")))
    made.end("a", Outcome.PAUSED)
    made.apply(SearchEnded(at=0.0))
    assert made.plan_all() == [Await(2, "b")]
    ask(made, StopExperiment(epoch=made.state.epoch), "r2")
    assert made.plan_all() == [Finish(finished=False)]


# --- pins -------------------------------------------------------------------------------------------------------------


def retired(made: Experiment) -> list[Source]:
    found = [item for command in made.plan() if isinstance(command, Retire) for item in command.items]
    if found:
        made.apply(CheckpointsRetired(at=0.0, items=tuple(found)))
    return found


def test_what_is_pinned_stays_until_it_is_unpinned() -> None:
    made = experiment(num_to_keep=1)
    made.report("a", save=True)
    ask(made, Pin(trial="a", number=0))
    for number in (1, 2):
        made.report("a", save=True)
        made.durable("a", number - 1, number)
    assert retired(made) == [Source(trial="a", number=1)]
    made.driver()
    made.start("a")
    assert retired(made) == []
    ask(made, Pin(trial="a", number=0, pinned=False), "r2")
    assert retired(made) == [Source(trial="a", number=0)]


def test_of_a_finished_trial_the_pin_is_remembered_too() -> None:
    made = experiment(num_to_keep=1)
    made.report("a", save=True)
    ask(made, Pin(trial="a", number=0))
    made.report("a", save=True)
    made.durable("a", 0, 1)
    made.end("a", Outcome.FINISHED)
    assert retired(made) == []
    assert list(made.trial("a").checkpoints) == [0, 1]
    ask(made, Pin(trial="a", number=0, pinned=False), "r2")
    assert retired(made) == [Source(trial="a", number=0)]
    assert list(made.trial("a").checkpoints) == [1]


def test_what_is_not_there_cannot_be_pinned() -> None:
    made = experiment(num_to_keep=1)
    made.report("a", save=True)
    made.report("a", save=True)
    made.durable("a", 0, 1)
    assert retired(made) == [Source(trial="a", number=0)]
    assert "no checkpoint 0" in refused(made, Pin(trial="a", number=0))
    assert "no checkpoint 7" in refused_as(made, Pin(trial="a", number=7), "r2")
    assert "no checkpoint yet" in refused_as(made, Pin(trial="b", pinned=False), "r3")
    assert isinstance(ask(made, Pin(trial="a", number=0, pinned=False), "r4"), CheckpointPinned), "no longer pinned"


# --- collecting -------------------------------------------------------------------------------------------------------


def collected(made: Experiment, *numbers: int, trial: str = "a") -> list[int]:
    event = ask(made, Collect(items=tuple(Source(trial=trial, number=number) for number in numbers)))
    assert isinstance(event, CheckpointsRetired)
    return [item.number for item in event.items]


def test_of_an_unfinished_trial_the_latest_and_the_one_on_the_disk_stay() -> None:
    made = experiment()
    for _ in range(4):
        made.report("a", save=True)
    made.durable("a", 0, 1)
    assert collected(made, 0, 1, 2, 3, 9) == [0, 2]
    assert list(made.trial("a").checkpoints) == [1, 3]


def test_of_a_finished_trial_all_may_go_but_pins_and_donors() -> None:
    made = experiment()
    for _ in range(4):
        made.report("a", save=True)
    made.durable("a", 0, 1, 2, 3)
    ask(made, Pin(trial="a", number=0), "p")
    donor = Source(trial="a", number=2)
    made.apply(TrialActed(at=0.0, action=Action(trial="b", decision=Decision.CONTINUE, donor=donor, config={})))
    made.end("a", Outcome.FINISHED)
    assert collected(made, 0, 1, 2, 3) == [1, 3]


# --- once -------------------------------------------------------------------------------------------------------------


def test_an_answer_is_remembered_until_the_file_is_gone() -> None:
    made = experiment()
    ask(made, PauseTrials(trials=("b",)), "r1")
    refused_as(made, PauseTrials(trials=("nobody",)), "r2")
    made.driver()
    assert list(made.state.answered) == ["r1", "r2"]
    with pytest.raises(InternalError, match="answered twice"):
        made.apply(CheckpointPinned(at=0.0, item=Source(trial="a", number=0), request="r1"))
    made.apply(RequestsCleared(at=0.0, requests=("r1",)))
    assert list(made.state.answered) == ["r2"]
    assert list(made.replayed().answered) == ["r2"]


# --- checkpoints that were asked for ----------------------------------------------------------------------------------


def test_a_checkpoint_that_was_asked_for_is_owed_until_it_is_there() -> None:
    made = experiment()
    made.report("a", save=True)
    made.report("a", owed=True)
    assert made.trial("a").owed == (2,)
    made.end("a", Outcome.INTERRUPTED)
    made.start("a")
    assert made.trial("a").owed == (2,)
    made.report("a", owed=True)
    made.save("a")
    assert made.trial("a").owed == ()


def test_a_damaged_checkpoint_is_owed_again() -> None:
    made = experiment()
    for _ in range(3):
        made.report("a", save=True)
    made.end("a", Outcome.INTERRUPTED)
    made.start("a")
    made.end("a", Outcome.REJECTED, rejected=Source(trial="a", number=2))
    made.start("a")
    made.end("a", Outcome.REJECTED, rejected=Source(trial="a", number=1))
    assert made.trial("a").owed == (2, 3)
    made.start("a")
    made.report("a", save=True)
    assert made.trial("a").owed == (3,)
    made.report("a")  # of a trainable that does not save when it is told to
    made.report("a")
    assert made.trial("a").owed == ()


def test_nothing_is_owed_by_what_it_was_cloned_over() -> None:
    made = experiment()
    made.start("b")
    made.report("b", save=True)
    made.report("a", owed=True)
    donor = Source(trial="b", number=0)
    clone = Action(trial="a", decision=Decision.PAUSE, donor=donor, config={}, resume=True)
    made.apply(TrialActed(at=0.0, action=clone))
    made.end("a", Outcome.PAUSED)
    made.start("a")
    assert made.trial("a").owed == ()
