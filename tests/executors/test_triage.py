import signal

import pytest

from perdure.executors.triage import OutOfMemoryWatch, death, signal_name


def test_deaths_in_words():
    assert "SIGSEGV" in death(None, signal.SIGSEGV).message
    assert "exit code 3" in death(3, None).message
    assert "out of memory" in death(None, 9, out_of_memory=True).message
    assert death(None, 9).signal == 9
    assert death(3, None).exit_code == 3


def test_signals_without_a_name():
    assert signal_name(250) == "signal 250"


@pytest.fixture
def counter(tmp_path, monkeypatch):
    path = tmp_path / "memory.events"
    path.write_text("oom 9\noom_kill 2\n")
    monkeypatch.setattr(
        "perdure.executors.triage._counters", lambda: [(tmp_path / "none", "oom_kill"), (path, "oom_kill")]
    )
    return path


def test_each_kill_is_told_once(counter):
    watch = OutOfMemoryWatch()
    assert not watch.took_one()
    counter.write_text("oom 9\noom_kill 4\n")
    assert [watch.took_one() for _ in range(3)] == [True, True, False]


def test_a_counter_that_went_away_tells_nothing(counter):
    watch = OutOfMemoryWatch()
    counter.unlink()
    assert not watch.took_one()


def test_this_machine_is_read_without_error():
    assert OutOfMemoryWatch().took_one() is False
