"""`perdure tail`: an experiment seen from another terminal."""

import codecs
import json
import os
import pty
import select
import subprocess
import sys

import pytest


@pytest.fixture
def running(new_experiment):
    """One trial runs, another failed; the driver is this process."""
    experiment = new_experiment()
    experiment.start(0)
    experiment.report(0, 1, accuracy=0.5)
    experiment.start(1)
    experiment.fail(1)
    return experiment


@pytest.fixture
def follow():
    started = []

    def start(*argv, **kwargs):
        command = [sys.executable, "-m", "perdure", "tail", "-f", *map(str, argv)]
        environment = {"PYTHONPATH": ":".join(sys.path), "PATH": "", "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
        process = subprocess.Popen(command, env=environment, **{"stdout": subprocess.PIPE, **kwargs})
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def until(stream, text):
    """Read lines up to the one that holds `text`."""
    lines = []
    for line in stream:
        lines.append(line.decode())
        if text in lines[-1]:
            return lines
    raise AssertionError(f"{text!r} never came: {lines}")


def test_without_follow_it_shows_how_things_stand(perdure, running):
    ran = perdure("tail", running.path)
    assert ran.code == 0
    assert "1 running, 1 error" in ran.out
    assert "Best accuracy 0.5: train_ab12c_00000 at iteration 1" in ran.out
    assert "ValueError: learning rate too large" in ran.out
    assert perdure("tail", running.path, "--json").json["counts"]["RUNNING"] == 1


def test_without_a_driver_nothing_runs_and_nothing_will_end(perdure, interrupted):
    ran = perdure("tail", interrupted)
    assert "INTERRUPTED" in ran.out
    assert "running" not in ran.out
    assert " left" not in ran.out


def test_plain_lines_in_a_pipe(running, follow):
    process = follow(running.path)
    until(process.stdout, "Experiment digits")
    running.report(0, 2, accuracy=0.75)
    running.end(0)
    told = "".join(until(process.stdout, "train_ab12c_00000 terminated"))
    assert "failed" not in told  # what had happened before is counted, not told as news
    running.finish()
    rest = process.stdout.read().decode()
    assert "2 trials, 1 terminated, 1 error" in rest
    assert "Best accuracy 0.75" in rest
    assert process.wait(60) == 0


def test_json_lines(running, follow):
    process = follow(running.path, "--json")
    assert json.loads(process.stdout.readline())["condition"] == "running"
    running.report(0, 2, accuracy=0.75)
    told = json.loads(process.stdout.readline())
    assert (told["event"], told["iteration"], told["metrics"]) == ("reported", 2, {"accuracy": 0.75})
    running.end(0)
    assert json.loads(process.stdout.readline())["status"] == "TERMINATED"
    running.finish()
    assert process.stdout.read() == b""
    assert process.wait(60) == 0


def test_a_live_table_in_a_terminal(running, follow):
    ours, theirs = pty.openpty()
    try:
        process = follow(running.path, stdout=theirs)
        os.close(theirs)
        screen = _screen_until(ours, "accuracy 0.5")
        assert "1 running" in screen
        running.report(0, 2, accuracy=0.75)
        _screen_until(ours, "accuracy 0.75")
        running.end(0)
        running.finish()
        assert "2 trials, 1 terminated, 1 error" in _screen_until(ours, "Results are in")
        assert process.wait(60) == 0
    finally:
        os.close(ours)


def _screen_until(terminal, text):
    """Return what was written to a terminal up to `text`, without its styles."""
    import re

    seen, decoder = "", codecs.getincrementaldecoder("utf-8")()  # a character may come in two pieces
    while text not in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen):
        ready, _, _ = select.select([terminal], [], [], 60)
        assert ready, f"{text!r} never came: {seen!r}"
        seen += decoder.decode(os.read(terminal, 65536))
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)


def test_of_a_finished_experiment_the_outcome_is_told_at_once(finished, follow):
    process = follow(finished)
    assert "2 terminated, 1 error" in process.stdout.read().decode()
    assert process.wait(60) == 0
