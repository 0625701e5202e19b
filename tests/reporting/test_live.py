"""The live table: in a recorded console, on a dumb stream, and in a real pseudo-terminal."""

import io
import os
import re
import subprocess
import sys
import textwrap

import pytest
from rich.console import Console

from perdure.core.events import SearchEnded
from perdure.reporting.live import LiveDisplay


@pytest.fixture
def live(info, story, clock):
    def make(*, width=100, height=30, **kwargs):
        console = Console(
            file=io.StringIO(), force_terminal=True, width=width, height=height, color_system=None, record=True
        )
        display = LiveDisplay(console=console, monotonic=clock, threaded=False, **kwargs)
        display.start(info)
        story.display = display
        display.observe(story.events)
        display.console = console

        def tick(seconds=1.0):
            clock.now += seconds
            console.file.seek(0)
            console.file.truncate()
            display.tick(clock.now)
            return [line.rstrip() for line in _visible(console.file.getvalue())]

        display.lines = tick
        return display

    return make


def _visible(text):
    """What one redraw wrote, without the escape sequences that bring the cursor back to its start."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", text).splitlines()


def test_one_table(live, story):
    display = live()
    story.start(0)
    story.report(0, 3, accuracy=0.5)
    lines = display.lines()
    assert lines == [
        "digits  /results/digits",
        "0 of 20 trials ended: 1 running",
        "00:01 elapsed   CPU 1/8",
        "Best accuracy 0.5: train_t0 at iteration 3 (lr=0.1)",
        "",
        "trial     status   iter   time  accuracy   lr",
        "─────────────────────────────────────────────",
        "train_t0  RUNNING     3  1.5 s       0.5  0.1",
    ]
    display.close()


@pytest.mark.parametrize("trials", [1_000, 10_000])
def test_it_never_outgrows_the_screen(live, story, trials):
    display = live(width=80, height=24)
    for n in range(trials):
        if n % 100 == 7:
            story.start(n)
            story.fail(n)
        else:
            story.whole(n, 1 / (n + 1))
    display.lines()  # the first failure's traceback is printed above it
    lines = display.lines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("... ") and "more trials" in line for line in lines)
    display.close()


def test_a_traceback_is_printed_once_above_the_table(live, story):
    display = live()
    for n in range(3):
        story.start(n)
        story.fail(n)
    lines = display.lines()
    assert lines[0] == "train_t0 failed after 0 iterations: ValueError: rate 0"
    assert lines[1] == "  Traceback (most recent call last):"
    assert lines[6] == "  ValueError: rate 0"
    assert lines[7].startswith("digits")
    assert lines[-3:] == [f"  train_t{n}  ValueError: rate {n}" for n in (2, 1, 0)]
    assert not any("Traceback" in line for line in display.lines())
    display.close()


def test_output_is_printed_above_behind_the_trials_name(live, story):
    display = live()
    story.create(0)
    display.output("t0", "10%\r50%\r\x1b[31m100%\x1b[0m [bold]not markup[/bold]")
    assert display.lines()[0] == "(train_t0) 100% [bold]not markup[/bold]"
    display.close()


def test_the_outcome_stays_below_the_table(live, story):
    display = live()
    story.whole(0, 0.5)
    story.tell(SearchEnded(at=0))
    display.close("")
    text = display.console.export_text()
    assert text.rstrip().endswith("Results are in /results/digits")
    assert "Best accuracy 0.5: train_t0 at iteration 1 (lr=0.1)" in text


def test_ascii_terminals_get_ascii(info, story, screen, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    stream = screen(encoding="ascii", terminal=True)
    display = LiveDisplay(stream=stream, threaded=False)
    display.start(info)
    display.observe(story.events)
    story.display = display
    story.start(0, note="größer")
    display.close()
    assert stream.getvalue().isascii()
    assert "-----" in stream.getvalue()


def test_no_color_is_respected(info, story, screen, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = screen(terminal=True)
    display = LiveDisplay(stream=stream, threaded=False)
    display.start(info)
    display.observe(story.events)
    story.display = display
    story.start(0)
    display.close()
    assert "\x1b[3" not in stream.getvalue().replace("\x1b[?25", "")


def test_a_terminal_that_goes_away_ends_nothing(info, story, screen):
    stream = screen(terminal=True)
    display = LiveDisplay(stream=stream, threaded=False)
    display.start(info)
    display.observe(story.events)
    story.display = display
    stream.closed_pipe = True
    story.whole(0, 0.5)
    display.close()


SCRIPT = """
import sys, time
sys.path.insert(0, {here!r})
from conftest import Story
from perdure.reporting.base import RunInfo
from perdure.reporting.choose import choose_display
display = choose_display(1, None, sys.stdout)
assert type(display).__name__ == "LiveDisplay", display
display.start(RunInfo(name="digits", path="/p", metric="accuracy", mode="max"))
story = Story(display=display).begin()
for n in range(4):
    story.whole(n, n / 10)
    print("printed by the driver", n)
    time.sleep(0.4)
display.close()
print("after the run")
"""


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_in_a_real_terminal():
    import fcntl
    import pty
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    script = textwrap.dedent(SCRIPT).format(here=os.path.dirname(__file__))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=slave,
        stderr=slave,
        env={**environment, "TERM": "xterm-256color", "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": ""},
    )
    os.close(slave)
    received = b""
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # the other end was closed
            break
        if not chunk:
            break
        received += chunk
    os.close(master)
    assert process.wait(30) == 0, received.decode()
    text = received.decode()
    assert "\x1b[1A" in text  # it goes back up to redraw
    for n in range(4):
        assert text.count(f"printed by the driver {n}") == 1
    text = "\n".join(_visible(text))
    assert text.rstrip().endswith("after the run")
    assert text.index("Results are in /p") < text.index("after the run")
