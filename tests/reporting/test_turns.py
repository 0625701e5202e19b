"""What befalls trials besides results and ends: pauses, clones, damaged checkpoints, requests from outside."""

from __future__ import annotations

import pytest

from perdure.core.events import (
    Action,
    AttemptEnded,
    AttemptPlanned,
    CheckpointInfo,
    Decision,
    ErrorInfo,
    Outcome,
    Reported,
    Source,
    TrialActed,
)
from perdure.core.transitions import SKIPPED
from perdure.reporting.live import LiveDisplay
from perdure.reporting.notebook import NotebookDisplay
from perdure.reporting.plain import PlainDisplay


@pytest.fixture
def told(info, story, screen, clock):
    """What plain lines say from the second one on, without the time."""

    def make(verbose=1):
        stream = screen()
        display = PlainDisplay(stream=stream, monotonic=clock, threaded=False, verbose=verbose)
        display.start(info, state=story.state)
        story.display = display

        def lines():
            clock.now += 2.0
            display.tick(clock.now)
            return [line.split("] ", 1)[-1] for line in stream.getvalue().splitlines()[1:]]

        return lines

    return make


def save(story, n, number, iteration):
    saved = CheckpointInfo(number=number, directory=f"checkpoint_{number:06d}", attempt=1, iteration=iteration)
    story.tell(
        Reported(at=0, trial=f"t{n}", attempt=story.attempts[n], iteration=iteration, metrics={}, checkpoint=saved)
    )


def exploit(story):
    """Have the first of two trials go on from the checkpoint of the second."""
    story.start(0, lr=0.1)
    story.start(1, lr=0.2)
    save(story, 1, 3, 4)
    donor = Source(trial="t1", number=3)
    story.tell(
        TrialActed(
            at=0,
            action=Action(trial="t0", decision=Decision.PAUSE, config={"lr": 0.07}, donor=donor, resume=True),
        )
    )
    story.end(0, Outcome.PAUSED)
    story.tell(AttemptPlanned(at=0, trial="t0", attempt=2, start=donor, segment=1, iteration=4))


CLONED = "train_t0 goes on from train_t1's checkpoint 3, iteration 5 with lr=0.07"


@pytest.mark.parametrize(("verbose", "expected"), [(1, []), (2, ["train_t0 paused after 0 iterations", CLONED])])
def test_a_clone_is_told_in_detail_only(told, story, verbose, expected):
    lines = told(verbose)
    exploit(story)
    assert [line for line in lines() if "iteration 4" not in line] == expected


def fall_back(story):
    """Have a trial with two checkpoints lose its process, and then find the newer one damaged."""
    story.start(0)
    save(story, 0, 5, 5)
    save(story, 0, 6, 6)
    story.end(0, Outcome.INTERRUPTED)
    newest = Source(trial="t0", number=6)
    story.tell(
        AttemptPlanned(at=0, trial="t0", attempt=2, start=newest, iteration=6),
        AttemptEnded(
            at=0,
            trial="t0",
            attempt=2,
            outcome=Outcome.REJECTED,
            rejected=newest,
            error=ErrorInfo(kind="CheckpointCorruptError", message="it is damaged"),
        ),
        AttemptPlanned(at=0, trial="t0", attempt=3, start=Source(trial="t0", number=5), iteration=5),
    )


def test_after_a_damaged_checkpoint_it_is_said_where_the_trial_goes_on(told, story):
    lines = told()
    fall_back(story)
    assert lines() == ["train_t0 goes on from checkpoint 5, iteration 6"]


def test_a_trial_whose_last_checkpoint_is_damaged_has_failed(told, story):
    lines = told()
    story.start(0)
    save(story, 0, 0, 1)
    story.end(0, Outcome.INTERRUPTED)
    only, error = Source(trial="t0", number=0), ErrorInfo(kind="CheckpointCorruptError", message="it is damaged")
    story.tell(
        AttemptPlanned(at=0, trial="t0", attempt=2, start=only, iteration=1),
        AttemptEnded(at=0, trial="t0", attempt=2, outcome=Outcome.REJECTED, rejected=only, error=error),
    )
    assert lines() == ["train_t0 failed after 1 iteration: CheckpointCorruptError: it is damaged"]


@pytest.mark.parametrize(
    ("decision", "hold", "expected"),
    [
        (Decision.PAUSE, True, "request: train_t0, train_t1 are to pause"),
        (Decision.STOP, None, "request: train_t0, train_t1 are to end"),
        (Decision.CONTINUE, False, "request: train_t0, train_t1 are to go on"),
    ],
)
def test_requests_are_told(told, story, decision, hold, expected):
    lines = told()
    for n in range(2):
        story.start(n)
    first, second = (Action(trial=f"t{n}", decision=decision, hold=hold) for n in range(2))
    story.tell(TrialActed(at=0, action=first, more=(second,), request="r1"))
    assert lines() == [expected]


@pytest.mark.parametrize("request_id", ["", SKIPPED])
def test_what_nobody_asked_for_is_no_request(told, story, request_id):
    lines = told()
    story.start(0)
    story.tell(TrialActed(at=0, action=Action(trial="t0", decision=Decision.PAUSE), request=request_id))
    assert lines() == []


def test_a_terminal_and_a_notebook_tell_the_same(info, story, screen, clock):
    shown, stream = [], screen(terminal=True)
    displays = [
        NotebookDisplay(show=shown.append, threaded=False, monotonic=clock),
        LiveDisplay(stream=stream, threaded=False, monotonic=clock),
    ]
    for display in displays:
        display.start(info, state=story.state)
    fall_back(story)
    story.tell(TrialActed(at=0, action=Action(trial="t0", decision=Decision.PAUSE, hold=True), request="r1"))
    for display in displays:
        display.observe(story.events)
        display.tick(clock.now + 2)
    for text in (shown[-1], stream.getvalue()):
        assert "train_t0 goes on from checkpoint 5, iteration 6" in text
        assert "train_t0 is to pause" in text
