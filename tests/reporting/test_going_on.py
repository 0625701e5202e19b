"""A session that goes on with an experiment says so, and what it found."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from perdure import tune
from perdure.core.events import CheckpointInfo, DriverStarted, Outcome, Reported
from perdure.reporting.base import RunInfo
from perdure.reporting.live import LiveDisplay
from perdure.reporting.notebook import NotebookDisplay
from perdure.reporting.plain import PlainDisplay
from perdure.reporting.sentences import stands
from perdure.reporting.standing import Standing, standing_of


@pytest.fixture
def found(story):
    """An experiment of six trials whose driver was killed: three finished, one at work, one of two created ones due."""
    for n in range(3):
        story.whole(n, 0.5)
    story.start(3)
    for iteration in range(1, 19):
        saved = None
        if iteration == 17:
            saved = CheckpointInfo(number=0, directory="checkpoint_000000", attempt=1, iteration=17)
        story.tell(
            Reported(at=0, trial="t3", attempt=1, iteration=iteration, metrics={"accuracy": 0.1}, checkpoint=saved)
        )
    story.create(4)
    story.tell(DriverStarted(at=0, epoch=2, host="h", pid=2, process_start=0, capacity={"CPU": 8.0}))
    return story


@pytest.fixture
def going_on(found):
    return RunInfo(
        name="digits", path="/p", metric="accuracy", mode="max", total=6, standing=standing_of(found.state, 6)
    )


SENTENCE = "Going on with digits in /p: 3 of 6 trials finished, 1 goes on at iteration 18, 2 not yet started"


def test_plain_lines(found, going_on, screen, clock):
    stream = screen()
    display = PlainDisplay(stream=stream, monotonic=clock, threaded=False)
    display.start(going_on, list(found.events), found.state)
    assert stream.getvalue() == f"[00:00] {SENTENCE}\n"


def test_a_terminal(found, going_on, clock):
    console = Console(file=io.StringIO(), force_terminal=True, width=120, height=30, color_system=None)
    display = LiveDisplay(console=console, monotonic=clock, threaded=False)
    display.start(going_on, list(found.events), found.state)
    display.tick(clock.now + 1)
    assert console.file.getvalue().count(SENTENCE) == 1


def test_a_notebook(found, going_on):
    shown = []
    display = NotebookDisplay(show=shown.append, threaded=False)
    display.start(going_on, list(found.events), found.state)
    display.tick(1e9)
    assert [text.count(SENTENCE) for text in shown] == [1, 1]


@pytest.mark.parametrize(
    ("standing", "text"),
    [
        (Standing(finished=3, total=3), "3 of 3 trials finished, nothing is left to run"),
        (Standing(finished=1, errors=1), "1 trial finished (1 error)"),
        (
            Standing(finished=2, goes_on_at=(4, 2, 9), again=1, paused=2, total=8),
            "2 of 8 trials finished, 3 go on at iterations 2 to 9, 1 starts again without a checkpoint, 2 paused",
        ),
        (
            Standing(again=2, unstarted=1, total=3),
            "0 of 3 trials finished, 2 start again without a checkpoint, 1 not yet started",
        ),
    ],
)
def test_what_there_may_be(standing, text):
    assert stands(standing) == text


def test_an_interrupted_trial_without_a_checkpoint_starts_again(story):
    story.start(0)
    story.report(0, 1, accuracy=0.5)
    story.end(0, Outcome.INTERRUPTED)
    assert standing_of(story.state, None) == Standing(again=1)


def test_a_restore_says_that_it_goes_on(tmp_path, capsys):
    def train(config):
        tune.report({"loss": config["x"]})
        if config["x"] == 2:
            raise ValueError("no")

    def told(fit):
        fit()
        return capsys.readouterr().out

    run = tune.RunConfig(name="kd", storage_path=str(tmp_path), executor="inline")
    space = {"x": tune.grid_search([1, 2])}
    assert "] Experiment kd in " in told(tune.Tuner(train, param_space=space, run_config=run).fit)
    again = told(tune.Tuner.restore(str(tmp_path / "kd"), train).fit)
    assert ": 2 of 2 trials finished (1 error), nothing is left to run\n" in again
    assert again.startswith("[00:0") and "] Going on with kd in " in again.splitlines()[0]


def test_failures_of_earlier_sessions_are_no_news(story, info, screen, clock):
    for n in range(3):
        story.start(n)
        story.fail(n)
    history = list(story.events)
    stream = screen()
    display = PlainDisplay(stream=stream, monotonic=clock, threaded=False)
    display.start(info, history, story.state)
    story.display = display
    for n in range(3, 5):
        story.start(n)
        story.fail(n)
    display.close()
    text = stream.getvalue()
    assert text.count("Traceback") == 1, "a log of this session alone has it"
    assert "1 more failure came the same way as that of train_t3" in text
    assert "5 trials failed:" in text


def test_a_session_that_runs_nothing_tells_of_no_failure(story, info, screen, clock):
    for n in range(3):
        story.start(n)
        story.fail(n)
    stream = screen()
    display = PlainDisplay(stream=stream, monotonic=clock, threaded=False)
    display.start(info, list(story.events), story.state)
    display.close()
    assert "the same way" not in stream.getvalue()
    assert stream.getvalue().count("3 trials failed:") == 1
