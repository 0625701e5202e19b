"""Which display is chosen, and that looking for it costs nothing."""

import subprocess
import sys

import pytest

from perdure import tune
from perdure.reporting import choose_display
from perdure.reporting.base import ProgressReporter
from perdure.reporting.live import LiveDisplay
from perdure.reporting.notebook import NotebookDisplay
from perdure.reporting.plain import PlainDisplay
from perdure.reporting.reporters import CLIReporter, JupyterNotebookReporter
from perdure.reporting.silent import SilentDisplay
from perdure.reporting.views import ReporterDisplay


class Own(CLIReporter):
    def report(self, trials, done, *sys_info):
        pass


class OwnBase(ProgressReporter):
    def report(self, trials, done, *sys_info):
        pass


@pytest.mark.parametrize(
    ("verbose", "reporter", "terminal", "expected"),
    [
        (0, None, True, SilentDisplay),
        (0, CLIReporter(), False, SilentDisplay),
        (1, None, True, LiveDisplay),
        (None, None, True, LiveDisplay),
        (1, None, False, PlainDisplay),
        (3, CLIReporter(), True, LiveDisplay),
        (1, CLIReporter(), False, PlainDisplay),
        (1, Own(), True, ReporterDisplay),
        (1, OwnBase(), False, ReporterDisplay),
    ],
)
def test_choice(verbose, reporter, terminal, expected, screen, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    assert type(choose_display(verbose, reporter, screen(terminal=terminal))) is expected


def test_a_dumb_terminal_gets_lines(screen, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert type(choose_display(1, None, screen(terminal=True))) is PlainDisplay


def test_trials_in_this_process_get_lines(screen, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    assert type(choose_display(1, None, screen(terminal=True), live=False)) is PlainDisplay


def test_a_notebook_reporter_shows_html():
    assert type(choose_display(1, JupyterNotebookReporter(), sys.stdout)) is NotebookDisplay


def test_silence_is_silent(story, info, capfd):
    display = choose_display(0, None)
    display.start(info)
    display.observe(story.events)
    display.output("t0", "hello")
    display.tick(1.0)
    display.close("interrupt")
    assert capfd.readouterr() == ("", "")


class Quiet(CLIReporter):
    def should_report(self, trials, done=False):
        return False


@pytest.mark.parametrize(("verbose", "reporter"), [(0, None), (1, Quiet())])
def test_what_is_wrong_with_a_logger_is_said_where_nothing_else_is_shown(verbose, reporter, info, story, caplog, capfd):
    display = choose_display(verbose, reporter)
    display.start(info, state=story.state)
    display.warn("A logger failed.\nTraceback")
    display.close()
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "A logger failed.\nTraceback")
    ]
    assert capfd.readouterr().out == ""


def test_rich_is_loaded_only_where_a_table_is_drawn():
    code = (
        "import sys, io, perdure.reporting.reporters\n"
        "from perdure.reporting import choose_display\n"
        "display = choose_display(1, None, io.StringIO())\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'rich'], 'rich was imported'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


@pytest.mark.parametrize(("verbose", "told"), [(None, 1), (True, 1), (False, 0), (0, 0), (3, 3)])
def test_how_much_may_be_asked_for_as_a_truth_value(verbose, told, screen):
    asked = tune.RunConfig(verbose=verbose).verbose
    assert getattr(choose_display(asked, None, screen()), "verbose", 0) == told
