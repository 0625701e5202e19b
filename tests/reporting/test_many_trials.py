"""Displays of a thousand trials and more: sorted, folded, and no dearer than those of few."""

import io
import re

import pytest
from rich.console import Console

from perdure.core.events import ErrorInfo, Outcome
from perdure.reporting.base import RunInfo, TableOptions
from perdure.reporting.live import LiveDisplay
from perdure.reporting.plain import PlainDisplay
from perdure.reporting.tally import KEPT, Tally

WIDTH, HEIGHT = 100, 30


@pytest.fixture
def info():
    return RunInfo(name="digits", path="/results/digits", metric="accuracy", mode="max", total=1200)


def thousand(story):
    """8 run, 92 are paused, 100 failed in two ways, 800 ended, and 200 are still to come."""
    for n in range(900):
        story.start(n)
        story.report(n, 1, accuracy=(n * 37 % 1000) / 1000)
        if n % 9 == 0:
            story.fail(n, ErrorInfo(kind="OSError", message=f"disk {n}") if n % 2 else None)
        else:
            story.end(n)
    for n in range(900, 1000):
        story.start(n)
        story.report(n, 3, accuracy=n / 10_000)
        if n >= 908:
            story.end(n, Outcome.PAUSED)


class Terminal:
    """A terminal of 100 by 30, and what stands on it."""

    def __init__(self, info, story, **options):
        self.text = io.StringIO()
        console = Console(file=self.text, width=WIDTH, height=HEIGHT, force_terminal=True, color_system=None)
        self.display = LiveDisplay(console=console, threaded=False, options=TableOptions(**options))
        story.display = self.display
        self.display.start(info, state=story.state)

    def screen(self, now):
        """Redraw, and return the lines of the table as it stands."""
        self.text.seek(0)
        self.text.truncate()
        self.display.tick(now)
        return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).rstrip() for line in self.text.getvalue().split("\n")]


def test_the_table_fits_the_screen_and_says_what_it_leaves_out(story, info):
    terminal = Terminal(info, story)
    thousand(story)
    terminal.screen(1e9)  # the news
    lines = terminal.screen(2e9)
    assert len(lines) <= HEIGHT
    assert max(map(len, lines)) <= WIDTH
    text = "\n".join(lines)
    assert "900 of 1200 trials ended: 8 running, 92 paused, 800 terminated, 100 errors" in text
    assert "Best accuracy 0.999" in text
    running = [line for line in lines if re.search(r"train_t\d+ +RUNNING", line)]
    assert [line.split()[0] for line in running] == [f"train_t{n}" for n in range(900, 908)]
    shown = sum(bool(re.search(r"train_t\d+ +[A-Z]+ ", line)) for line in lines)
    assert f"... {1000 - shown} more trials" in text
    assert "100 trials failed:" in text
    assert re.search(r"\.\.\. \d+ more$", text, re.M)
    terminal.display.leave()


def test_sorted_by_the_metric(story, info):
    terminal = Terminal(info, story, sort_by_metric=True)
    thousand(story)
    terminal.screen(1e9)
    lines = terminal.screen(2e9)
    table = [line.split() for line in lines if re.search(r"train_t\d+ +[A-Z]+ ", line)]
    values = [float(row[row.index("s") + 1]) for row in table]  # behind "0.5 s"
    assert values == sorted(values, reverse=True)
    assert values[0] == 0.999
    terminal.display.leave()


def test_each_kind_of_failure_is_told_once_with_the_users_traceback(story, info):
    terminal = Terminal(info, story)
    thousand(story)
    text = "\n".join(terminal.screen(1e9))
    assert text.count('File "train.py", line 31, in train') == 1
    assert text.index("Traceback (most recent call last)") < text.index("trials failed:")
    terminal.text.seek(0)
    terminal.display.close()
    outcome = terminal.text.getvalue()
    assert "49 more failures came the same way as that of train_t0: ValueError" in outcome
    assert "49 more failures came the same way as that of train_t9: OSError" in outcome


@pytest.mark.parametrize("many", [1_000, 5_000])
def test_a_redraw_copies_what_a_table_holds_however_many_trials_there_are(story, many):
    tally = Tally(metric="accuracy", mode="max", state=story.state)
    story.display = _Folds(tally)
    for n in range(many):
        story.start(n)
        story.report(n, 1, accuracy=n / many)
        if n % 2:
            story.end(n, Outcome.PAUSED)
    shown = tally.snapshot()
    assert len(shown.running) <= 2 * KEPT
    assert len(shown.waiting) <= 2 * KEPT
    assert shown.best.trial == f"t{many - 1}"
    assert {line.number for line in shown.running} >= set(range(0, 2 * KEPT, 2))  # the oldest
    assert shown.counts["RUNNING"] == many // 2


class _Folds:
    def __init__(self, tally):
        self.observe = tally.fold


def test_as_many_rows_as_are_asked_for(story, info):
    thousand(story)
    display = PlainDisplay(stream=io.StringIO(), threaded=False, options=TableOptions(max_rows=300))
    assert display.options.max_rows > KEPT
    fresh = type(story)(display=display).begin()
    display.start(info, state=fresh.state)
    thousand(fresh)
    assert len(display.snapshot().best_finished) == 300


def test_a_line_a_minute_in_a_log(story, info, screen, clock):
    log = screen()
    display = PlainDisplay(stream=log, threaded=False, monotonic=clock)
    story.display = display
    display.start(info, state=story.state)
    story.start(0)
    story.report(0, 1, accuracy=0.5)
    for _ in range(600):  # ten minutes, looked at each second
        clock.now += 1
        display.tick(clock.now)
    assert log.getvalue().count("0 of 1200 trials ended: 1 running") == 10


def test_the_time_left_comes_from_the_trials_that_ended(story, info, screen, clock):
    log = screen()
    display = PlainDisplay(stream=log, threaded=False, monotonic=clock)
    story.display = display
    display.start(info, state=story.state)
    for n in range(10):
        story.start(n)
        story.report(n, 20, accuracy=0.5)  # ten seconds
        story.end(n)
    story.start(10)
    story.report(10, 8, accuracy=0.5)  # four
    clock.now += 60
    display.tick(clock.now)
    # 1189 trials of 10 s, and 6 s of the one that runs, one after the other
    assert "about 3 h 18 m left" in log.getvalue()
