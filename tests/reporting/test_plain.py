"""Plain lines: few, whole, in order."""

import dataclasses

import pytest

from perdure.core.events import DriverStopped, ErrorInfo, Noticed, Outcome, StopRequested
from perdure.reporting.base import RunInfo, TableOptions
from perdure.reporting.plain import PlainDisplay


@pytest.fixture
def plain(info, story, screen, clock):
    def make(**kwargs):
        stream = kwargs.pop("stream", None) or screen()
        history, about = kwargs.pop("history", ()), kwargs.pop("info", info)
        display = PlainDisplay(stream=stream, monotonic=clock, threaded=False, **kwargs)
        display.start(about, history, story.state if history else None)
        story.display = display
        if not history:
            display.observe(story.events)

        def tick(seconds=0.25):
            clock.now += seconds
            display.tick(clock.now)
            return stream.getvalue().splitlines()

        display.lines = tick
        display.stream = stream
        return display

    return make


def test_start_end_and_summary(plain, story):
    display = plain()
    story.whole(0, 0.5)
    lines = display.lines()
    assert lines == [
        "[00:00] Experiment digits in /results/digits: 20 trials, maximising accuracy",
        "[00:00] train_t0 terminated after 1 iteration, 0.5 s: accuracy 0.5",
    ]
    story.tell(DriverStopped(at=0, finished=True))
    display.close()
    assert display.stream.getvalue().splitlines()[2:] == [
        "",
        "trial     status      iter   time  accuracy   lr",
        "------------------------------------------------",
        "train_t0  TERMINATED     1  0.5 s       0.5  0.1",
        "",
        "Ended after 0.2 s: 1 trial, 1 terminated",
        "Best accuracy 0.5: train_t0 at iteration 1 (lr=0.1)",
        "Results are in /results/digits",
    ]


def test_without_a_mode_nothing_is_said_to_be_the_best(plain, story, info):
    """`get_best_result()` refuses to say it, too."""
    display = plain(info=dataclasses.replace(info, mode=None))
    story.whole(0, 0.5)
    said = "Experiment digits in /results/digits: 20 trials, accuracy neither minimised nor maximised (no mode)"
    assert display.lines()[0] == f"[00:00] {said}"
    story.tell(DriverStopped(at=0, finished=True))
    display.close()
    assert "Ended after" in display.stream.getvalue()
    assert "Best" not in display.stream.getvalue()


def test_trials_that_end_within_a_second_share_a_line(plain, story):
    display = plain()
    story.whole(0, 0.1)
    display.lines()
    for n in range(1, 13):
        story.whole(n, n / 100)
        display.lines(0.05)
    lines = display.lines(1.0)
    assert lines[2:] == ["[00:01] 13 of 20 trials finished; best accuracy so far 0.12 (train_t12)"]


def test_a_line_about_trials_that_ended_gives_the_total_as_far_as_it_is_known(plain, story):
    display = plain(info=RunInfo(name="digits", path="/p"))
    story.whole(0, 0.1)
    display.lines()
    story.whole(1, 0.1)
    story.start(2)
    story.fail(2)
    story.whole(3, 0.1)
    assert display.lines(1.0)[-1] == "[00:01] 4 trials finished"


def test_ten_thousand_trials_make_a_line_a_second(plain, story):
    display = plain()
    for n in range(10_000):
        story.whole(n, n / 10_000)
        if n % 1000 == 0:
            display.lines(0.25)
    lines = display.lines(1.0)
    assert len(lines) <= 2 + 4


def test_a_status_line_every_minute(plain, story):
    display = plain()
    story.start(0)
    for _ in range(121):
        lines = display.lines(1.0)
    assert lines[1:] == [
        "[01:00] 0 of 20 trials ended: 1 running; CPU 1/8",
        "[02:00] 0 of 20 trials ended: 1 running; CPU 1/8",
    ]


def test_an_error_shows_the_users_traceback_once(plain, story):
    display = plain()
    for n in range(3):
        story.start(n)
        story.fail(n)
    lines = display.lines(2)
    assert lines[1] == "[00:02] train_t0 failed after 0 iterations: ValueError: rate 0"
    assert lines[2] == "  Traceback (most recent call last):"
    assert lines[7] == "  ValueError: rate 0"
    assert lines[8:] == ["[00:02] 2 more failures of kinds shown above"]
    display.close()
    text = display.stream.getvalue()
    assert text.count("Traceback") == 1
    assert "2 more failures came the same way as that of train_t0: ValueError: rate 0" in text
    assert "  train_t2  ValueError: rate 2" in text


def test_of_a_message_that_is_very_long_the_beginning_is_shown(plain, story):
    display = plain()
    story.start(0)
    message = "weights " * 100_000
    story.fail(0, ErrorInfo(kind="ValueError", message=message, traceback=f"Traceback:\nValueError: {message}"))
    lines = display.lines()[1:]
    assert [line[:32] for line in lines[1:]] == ["  Traceback:", "  ValueError: weights weights wei"[:32]]
    assert all(len(line) < 2100 for line in lines)


def test_a_process_without_a_stdout_runs_in_silence(info, story, clock, monkeypatch, caplog):
    monkeypatch.setattr("sys.stdout", None)
    display = PlainDisplay(monotonic=clock, threaded=False)
    display.start(info, (), None)
    display.close()
    assert not caplog.text


def test_a_death_without_a_traceback_is_told_in_a_line(plain, story):
    display = plain()
    story.start(0)
    story.fail(0, ErrorInfo(kind="WorkerDiedError", message="killed by signal 9 (SIGKILL)", signal=9))
    assert display.lines()[1:] == [
        "[00:00] train_t0 failed after 0 iterations: WorkerDiedError: killed by signal 9 (SIGKILL)"
    ]


def test_what_is_left_and_how_to_go_on(plain, story):
    display = plain()
    story.start(0)
    story.create(1)
    story.tell(StopRequested(at=0, reason="interrupt", resumable=True))
    display.close("interrupt")
    text = display.stream.getvalue()
    assert "Stopped after 0.0 s (interrupt): 2 trials, 1 interrupted, 1 pending" in text
    assert 'To go on with the 20 trials left: Tuner.restore("/results/digits", trainable).fit()' in text


def test_after_fail_fast_the_failed_one_may_be_run_again_too(plain, story):
    display = plain()
    story.start(0)
    story.fail(0, ErrorInfo(kind="ValueError", message="no"))
    story.tell(StopRequested(at=0, reason="fail_fast", resumable=True))
    display.close("fail_fast")
    assert display.lines()[-2:] == [
        'To go on with the 19 trials left: Tuner.restore("/results/digits", trainable).fit()',
        'To run the failed ones again, too: Tuner.restore("/results/digits", trainable, resume_errored=True).fit()',
    ]


@pytest.mark.parametrize(
    ("reason", "ends"),
    [("SIGINT", " Ctrl-C again ends at once."), ("SIGTERM", " A second one ends at once."), ("request", "")],
)
def test_a_stop_says_what_it_waits_for(plain, story, reason, ends):
    display = plain()
    story.start(0)
    story.start(1)
    story.tell(StopRequested(at=0, reason=reason, resumable=True))
    assert display.lines()[1:] == [f"[00:00] Stopping ({reason}) at the next report of 2 trials.{ends}"]
    story.end(0, Outcome.PAUSED)
    display.close("SIGINT")  # a second one: what runs is killed
    text = display.stream.getvalue()
    assert "2 trials, 1 interrupted, 1 pending" in text
    assert "train_t1  INTERRUPTED" in text
    assert "running," not in text


def test_a_stop_of_nothing_that_runs_waits_for_nothing(plain, story):
    display = plain()
    story.tell(StopRequested(at=0, reason="stopper"))
    assert display.lines()[1:] == ["[00:00] Stopping (stopper)."]


def test_a_stop_for_good_offers_nothing_to_go_on_with(plain, story):
    display = plain()
    story.start(0)
    story.create(1)
    story.tell(StopRequested(at=0, reason="time_budget"))
    story.end(0, Outcome.STOPPED)
    display.close("time_budget")
    text = display.stream.getvalue()
    assert "Ended after 0.0 s (time_budget): 2 trials, 2 terminated" in text
    assert "To go on" not in text


def test_notices_are_written(plain, story):
    display = plain()
    story.create(0)
    story.tell(Noticed(at=0, text="fell back to checkpoint 3", trial="t0"))
    assert display.lines()[1:] == ["[00:00] note: train_t0: fell back to checkpoint 3"]


@pytest.mark.parametrize(
    ("verbose", "expected"),
    [(1, []), (2, ["[00:00] train_t0 iteration 1: a 1, b 2, c 3, d 4, e 5, f 6, and 2 more"])],
)
def test_results_are_written_when_asked_for(plain, story, verbose, expected):
    display = plain(verbose=verbose)
    story.start(0)
    story.report(0, 1, a=1, b=2, c=3, d=4, e=5, f=6, g=7, h=8)
    assert display.lines()[1:] == expected


def test_verbose_3_writes_all_metrics(plain, story):
    display = plain(verbose=3)
    story.start(0)
    story.report(0, 1, a=1, b=2, c=3, d=4, e=5, f=6, g=7)
    assert display.lines()[1] == "[00:00] train_t0 iteration 1: a 1, b 2, c 3, d 4, e 5, f 6, g 7"


def test_what_was_too_much_is_counted(plain, story):
    display = plain(verbose=2)
    story.start(0)
    for i in range(3000):
        story.report(0, i + 1, accuracy=0.1)
    lines = display.lines()
    assert len(lines) == 1 + 2000 + 1
    assert lines[-1] == "[00:00] ... 1000 lines came faster than they could be shown"


def test_output_of_trials_is_prefixed(plain, story):
    display = plain()
    story.create(0)
    display.output("t0", "epoch 3\n")
    assert display.lines()[1:] == ["(train_t0) epoch 3"]


def test_what_is_wrong_with_a_logger_is_told_line_by_line(plain):
    display = plain()
    display.warn("A logger failed.\n  traceback")
    assert display.lines()[-2:] == ["(loggers) A logger failed.", "(loggers)   traceback"]


def test_earlier_sessions_are_counted_not_told(plain, story, info):
    story.whole(0, 0.5)
    display = plain(history=list(story.events))
    story.whole(1, 0.25)
    lines = display.lines()
    assert lines[1:] == ["[00:00] train_t1 terminated after 1 iteration, 0.5 s: accuracy 0.25"]
    display.close()
    assert "Best accuracy 0.5: train_t0" in display.stream.getvalue()


def test_a_closed_pipe_ends_nothing(plain, story, screen):
    stream = screen()
    display = plain(stream=stream)
    stream.closed_pipe = True
    story.whole(0, 0.5)
    display.lines()
    display.close()


def test_a_stream_without_the_characters_gets_others(plain, story, screen):
    display = plain(stream=screen(encoding="ascii"))
    story.start(0, note="größer")
    story.report(0, 1, accuracy=0.5)
    story.end(0)
    display.lines()
    display.close()
    assert "gr??er" in display.stream.getvalue()


def test_tables_in_between_on_request(plain, story):
    display = plain(options=TableOptions(intermediate_tables=True, interval_s=5))
    story.start(0)
    lines = display.lines(5)
    assert lines[1] == "[00:05] 0 of 20 trials ended: 1 running; CPU 1/8"
    assert lines[3].split() == ["trial", "status", "iter", "time", "accuracy", "lr"]


def test_an_event_it_cannot_follow_silences_the_display_only(plain, story, caplog):
    display = plain()
    story.start(0)
    display.observe([story.events[-1].__class__(at=0, trial="nobody", attempt=1, host="h", pid=1, process_start=0)])
    story.whole(1, 0.5)
    display.close()
    assert "the run goes on" in caplog.text


def test_painting_on_a_thread_shows_the_outcome_before_close_returns(info, story, screen):
    stream = screen()
    display = PlainDisplay(stream=stream)
    display.start(RunInfo(name="digits", path="/p", metric="accuracy", mode="max"))
    display.observe(story.events)
    story.display = display
    story.whole(0, 0.5)
    display.close()
    assert stream.getvalue().splitlines()[-1] == "Results are in /p"
