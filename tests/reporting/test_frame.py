"""The table is cut to the room there is and says what it leaves out."""

import pytest

from perdure.core.events import SearchEnded, StopRequested
from perdure.reporting.base import RunInfo, TableOptions
from perdure.reporting.frame import build, frame_text, grid_lines, text_of
from perdure.reporting.tally import Tally


def frame(story, info=None, *, options=None, **kwargs):
    options = options or TableOptions()
    tally = Tally(metric=options.metric or "accuracy", mode="max", total=20)
    tally.fold(story.events)
    info = info or RunInfo(name="digits", path="/results/digits", metric="accuracy", mode="max", total=20)
    return build(tally.snapshot(), info, options, elapsed_s=72.0, **kwargs)


def test_everything_at_a_glance(story):
    story.whole(0, 0.5)
    story.start(1)
    story.report(1, 3, accuracy=0.75)
    story.start(2)
    story.fail(2)
    text = frame_text(frame(story, width=100))
    assert text == [
        "digits  /results/digits",
        "2 of 20 trials ended: 1 running, 1 terminated, 1 error",
        "01:12 elapsed, about 4.2 s left   CPU 1/8",
        "Best accuracy 0.75: train_t1 at iteration 3 (lr=0.05)",
        "trial     status      iter   time  accuracy        lr",
        "-----------------------------------------------------",
        "train_t1  RUNNING        3  1.5 s      0.75      0.05",
        "train_t0  TERMINATED     1  0.5 s       0.5       0.1",
        "train_t2  ERROR                              0.033333",
        "1 trial failed:",
        "  train_t2  ValueError: rate 2",
    ]


@pytest.mark.parametrize("trials", [1_000, 10_000])
def test_many_trials_are_folded(story, trials):
    for n in range(trials - 50):
        story.whole(n, n / trials)
    for n in range(trials - 50, trials):
        story.start(n)
    text = frame_text(frame(story, width=100))
    rows = [line for line in text if line.startswith("train_t")]
    assert len(rows) == 20
    assert len(text) < 30
    assert sum("RUNNING" in row for row in rows) == 15
    assert f"... {trials - 20} more trials (35 running, {trials - 55} terminated)" in text


def test_a_low_screen_gets_fewer_rows(story):
    for n in range(30):
        story.start(n)
    shown = frame(story, width=100, height=15)
    assert len(frame_text(shown)) <= 15


def test_rows_stay_where_they_are_while_trials_report(story):
    for n in range(3):
        story.start(n)
    story.report(2, 1, accuracy=0.9)
    story.report(0, 1, accuracy=0.1)
    assert frame(story, width=80).grid.columns[0].cells == ["train_t0", "train_t1", "train_t2"]


def test_sort_by_metric(story):
    story.whole(0, 0.2)
    for n, accuracy in ((1, 0.1), (2, 0.3)):
        story.start(n)
        story.report(n, 1, accuracy=accuracy)
    shown = frame(story, width=80, options=TableOptions(sort_by_metric=True))
    assert shown.grid.columns[0].cells == ["train_t2", "train_t0", "train_t1"]


@pytest.mark.parametrize("width", [200, 100, 60, 40, 24, 10])
def test_no_line_is_wider_than_the_screen(story, width):
    for n in range(3):
        story.start(n, lr=0.123456789, units=64, activation="relu", optimiser="a very long name of an optimiser")
        story.report(n, 1, loss=0.25, accuracy=0.5, epochs=3)
    story.start(3)
    story.fail(3)
    shown = frame(story, width=width)
    lines = [text_of(line) for line in shown.header + shown.footer]
    assert max(map(len, lines)) <= width
    if width >= 40:
        assert max(map(len, grid_lines(shown.grid))) <= width


def test_parameters_outlast_metrics_nobody_asked_for(story):
    story.start(0, lr=0.1)
    story.report(0, 1, accuracy=0.5, some_other_metric=1.0, yet_another_metric=2.0)
    headings = [column.heading for column in frame(story, width=55).grid.columns]
    assert "lr" in headings
    assert "some_other_metric" not in headings


def test_chosen_columns_and_headings(story):
    story.start(0, lr=0.1, units=3)
    story.report(0, 1, accuracy=0.5, loss=0.25)
    options = TableOptions(metric_columns={"loss": "Loss!"}, parameter_columns={"units": "n"})
    headings = [column.heading for column in frame(story, width=100, options=options).grid.columns]
    assert headings == ["trial", "status", "iter", "time", "Loss!", "n"]


def test_control_characters_and_line_breaks_in_values_do_no_harm(story):
    story.start(0, note="two\nlines \x1b[31m")
    (cell,) = frame(story, width=100).grid.columns[-1].cells
    assert cell == "two lines  [31m"


def test_tagged_values_are_shown_as_what_they_stand_for(story):
    story.start(0, optimiser={"$py": "<class 'Adam'>"}, shape={"$tuple": [1, 2]})
    story.report(0, 1, accuracy={"$float": "nan"})
    shown = frame(story, width=100)
    assert " Adam " in grid_lines(shown.grid)[2]
    assert "(1, 2)" in grid_lines(shown.grid)[2]
    assert "nan" in grid_lines(shown.grid)[2]


def test_budget_and_stopping_are_told(story):
    story.start(0)
    story.tell(StopRequested(at=0, reason="time_budget"))
    info = RunInfo(name="digits", path="/p", time_budget_s=600)
    text = frame_text(frame(story, info, width=100))
    assert "01:12 elapsed of a budget of 10:00   CPU 1/8" in text
    assert "Stopping (time_budget) at the next report of 1 trial." in text


def test_an_unknown_total_is_not_made_up(story):
    story.start(0)
    tally = Tally(metric=None)
    tally.fold(story.events)
    text = frame_text(build(tally.snapshot(), RunInfo(name="d", path="/p"), TableOptions(), elapsed_s=1, width=80))
    assert "1 trial so far, 0 ended: 1 running" in text
    tally.fold([SearchEnded(at=0)])
    text = frame_text(build(tally.snapshot(), RunInfo(name="d", path="/p"), TableOptions(), elapsed_s=1, width=80))
    assert "0 of 1 trial ended: 1 running" in text
