import os
import signal
import subprocess
import sys
import time

import psutil

from perdure.storage.leftovers import ATTEMPT_VARIABLE, attempt_token, kill_leftovers
from perdure.storage.processes import is_alive, process_start

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def program(**kwargs):
    return subprocess.Popen(SLEEP, start_new_session=True, **kwargs)


def test_an_attempt_that_is_still_there_is_killed_with_its_group():
    source = (
        "import subprocess, sys, time; p = subprocess.Popen(sys.argv[1:]); print(p.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", source, *SLEEP], start_new_session=True, stdout=subprocess.PIPE
    ) as leader:
        child = int(leader.stdout.readline())
        start = process_start(leader.pid)
        assert kill_leftovers([(leader.pid, start)], "") == []
        assert not is_alive(leader.pid, start)
        assert leader.wait() == -signal.SIGKILL
    while is_alive(child):
        time.sleep(0.01)


def test_a_stopped_attempt_is_killed():
    with program() as leader:
        leader.send_signal(signal.SIGSTOP)
        assert kill_leftovers([(leader.pid, process_start(leader.pid))], "") == []
        assert leader.wait() == -signal.SIGKILL


def test_another_process_under_the_same_id_is_left_alone():
    with program() as stranger:
        assert kill_leftovers([(stranger.pid, process_start(stranger.pid) - 5.0)], "") == []
        assert stranger.poll() is None
        stranger.kill()


def test_what_an_attempt_started_is_known_by_its_environment():
    token = attempt_token("/somewhere/experiment")
    other = attempt_token("/somewhere/experiment2")
    with (
        program(env={**os.environ, ATTEMPT_VARIABLE: f"{token}abc/1"}) as mine,
        program(env={**os.environ, ATTEMPT_VARIABLE: f"{other}abc/1"}) as not_mine,
    ):
        until_it_runs(mine.pid)
        until_it_runs(not_mine.pid)
        assert kill_leftovers([], token) == []
        assert mine.wait() == -signal.SIGKILL
        assert not_mine.poll() is None
        not_mine.kill()


def until_it_runs(pid):
    """Wait for exec: before it the process still has its parent's environment."""
    while "time.sleep" not in " ".join(psutil.Process(pid).cmdline()):
        time.sleep(0.01)


def test_nothing_left_is_nothing_done():
    assert kill_leftovers([(2**22 + 1, 1.0)], attempt_token("/nowhere")) == []


def test_this_process_is_never_its_own_leftover():
    assert kill_leftovers([(os.getpid(), process_start(os.getpid()))], "") == []
