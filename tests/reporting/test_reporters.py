"""Ray Tune's reporters: their arguments steer the tables, and subclasses take over."""

import pytest

from perdure.errors import ConfigurationError
from perdure.reporting.base import ProgressReporter
from perdure.reporting.plain import PlainDisplay
from perdure.reporting.reporters import CLIReporter, JupyterNotebookReporter
from perdure.reporting.views import ReporterDisplay


class Recorder(ProgressReporter):
    def __init__(self):
        self.reports = []
        self.known = None

    def setup(self, start_time=None, total_samples=None, metric=None, mode=None, **kwargs):
        self.known = (total_samples, metric, mode)

    def report(self, trials, done, *sys_info):
        self.reports.append(([(t.trial_id, t.status, dict(t.last_result)) for t in trials], done, sys_info))


def shown_by(reporter, story, info, clock, *, events=None):
    display = ReporterDisplay(reporter, threaded=False, monotonic=clock)
    display.start(info)
    display.observe(story.events if events is None else events)
    clock.now += 1
    display.tick(clock.now)
    return display


def test_a_users_reporter_sees_every_trial(story, info, clock):
    story.whole(0, 0.5)
    story.start(1)
    story.report(1, 4, accuracy=0.25)
    story.create(2)
    recorder = Recorder()
    display = shown_by(recorder, story, info, clock)
    assert recorder.known == (20, "accuracy", "max")
    trials, done, sys_info = recorder.reports[-1]
    assert [(trial, status) for trial, status, _ in trials] == [
        ("t0", "TERMINATED"),
        ("t1", "RUNNING"),
        ("t2", "PENDING"),
    ]
    row = trials[1][2]
    assert (row["accuracy"], row["training_iteration"], row["config"]) == (0.25, 4, {"lr": 0.05})
    assert not done
    assert sys_info == ("00:01 elapsed", "In use: CPU 1/8")
    display.close()
    assert recorder.reports[-1][1] is True


def test_should_report_decides(story, info, clock):
    class Rarely(Recorder):
        def should_report(self, trials, done=False):
            return done

    recorder = Rarely()
    display = shown_by(recorder, story, info, clock)
    assert recorder.reports == []
    display.close()
    assert [done for _, done, _ in recorder.reports] == [True]


def test_a_reporter_that_raises_is_switched_off(story, info, clock, caplog):
    class Broken(Recorder):
        calls = 0

        def report(self, trials, done, *sys_info):
            self.calls += 1
            raise RuntimeError("no such thing")

    broken = Broken()
    display = shown_by(broken, story, info, clock)
    clock.now += 1
    display.tick(clock.now)
    display.close()
    assert broken.calls == 1
    assert "no such thing" in caplog.text


def test_a_subclass_may_call_the_printing_it_replaces(story, info, clock, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")

    class Mine(CLIReporter):
        def report(self, trials, done, *sys_info):
            print("mine:")
            super().report(trials, done, *sys_info)

    story.whole(0, 0.5)
    story.start(1, lr=0.3)
    story.fail(1)
    reporter = Mine(max_report_frequency=0, metric="accuracy", mode="max")
    shown_by(reporter, story, info, clock).close()
    text = capsys.readouterr().out
    assert text.startswith("mine:\n00:00 elapsed\n")
    assert "train_t0  TERMINATED     1  0.5 s       0.5  0.1" in text
    assert "train_t1  ERROR" in text


def test_report_frequency(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("perdure.reporting.reporters.time.monotonic", lambda: now[0])
    reporter = CLIReporter(max_report_frequency=5)
    assert [reporter.should_report([]), reporter.should_report([])] == [True, False]
    now[0] += 5
    assert reporter.should_report([])
    assert reporter.should_report([], done=True)


def test_columns_can_be_given_and_added():
    reporter = CLIReporter(metric_columns=["loss"], parameter_columns={"model/lr": "lr"})
    reporter.add_metric_column("accuracy", "acc")
    reporter.add_parameter_column("units")
    assert reporter.options.metric_columns == {"loss": "loss", "accuracy": "acc"}
    assert reporter.options.parameter_columns == {"model/lr": "lr", "units": "units"}
    with pytest.raises(ConfigurationError, match="'loss' has a column"):
        reporter.add_metric_column("loss")


def test_arguments_reach_the_table(story, info, screen, clock):
    for n in range(9):
        story.whole(n, n / 10)
    stream = screen()
    options = CLIReporter(max_progress_rows=3, metric_columns={"accuracy": "acc"}, parameter_columns=[]).options
    display = PlainDisplay(stream=stream, threaded=False, monotonic=clock, options=options)
    display.start(info)
    display.observe(story.events)
    display.close()
    lines = stream.getvalue().splitlines()
    start = lines.index("trial     status      iter   time  acc")
    assert [line.split()[0] for line in lines[start + 2 : start + 6]] == ["train_t8", "train_t7", "train_t6", "..."]


@pytest.mark.parametrize("arguments", [{"mode": "most"}, {"max_progress_rows": 0}])
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(ConfigurationError):
        CLIReporter(**arguments)


def test_a_notebook_table_is_html_and_escaped(story, info, clock):
    shown = []
    from perdure.reporting.notebook import NotebookDisplay

    display = NotebookDisplay(show=shown.append, threaded=False, monotonic=clock)
    display.start(info)
    display.observe(story.events)
    story.display = display
    story.start(0, note="<script>alert(1)</script>")
    story.report(0, 1, accuracy=0.5)
    story.fail(0)
    clock.now += 1
    display.tick(clock.now)
    display.close()
    assert "<table>" in shown[-1]
    assert "&lt;script&gt;" in shown[-1]
    assert "<script>" not in shown[-1]
    assert "Results are in /results/digits" in shown[-1]


def test_a_notebook_reporter_shows_what_it_is_given(story, info, clock, monkeypatch):
    shown = []
    monkeypatch.setattr("perdure.reporting.notebook.cell", lambda: shown.append)

    class Mine(JupyterNotebookReporter):
        def report(self, trials, done, *sys_info):
            super().report(trials, done, *sys_info)

    story.whole(0, 0.5)
    shown_by(Mine(max_report_frequency=0), story, info, clock).close()
    assert "train_t0" in shown[-1]
