from __future__ import annotations

import ipaddress
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from perdure.storage import processes


@pytest.fixture
def sleeper() -> object:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_the_start_time_is_the_kernels() -> None:
    started = processes.process_start(os.getpid())
    assert started is not None
    assert abs(psutil.boot_time() + started - psutil.Process().create_time()) < 2


def test_a_process_is_alive_until_it_is_not(sleeper: subprocess.Popen[bytes]) -> None:
    start = processes.process_start(sleeper.pid)
    assert processes.is_alive(sleeper.pid, start)
    assert processes.is_alive(sleeper.pid)
    sleeper.send_signal(signal.SIGSTOP)
    assert processes.is_alive(sleeper.pid, start), "a stopped process is alive"
    sleeper.kill()
    while processes.is_alive(sleeper.pid, start):  # a zombie is not: nobody has waited for it yet
        time.sleep(0.01)
    sleeper.wait()
    assert not processes.is_alive(sleeper.pid, start)
    assert processes.process_start(sleeper.pid) is None


def test_another_process_of_the_same_pid_is_not_it(sleeper: subprocess.Popen[bytes]) -> None:
    start = processes.process_start(sleeper.pid)
    assert start is not None
    assert not processes.is_alive(sleeper.pid, start - 1)


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1])
def test_no_process_has_such_a_pid(pid: int) -> None:
    assert not processes.is_alive(pid)


def test_a_command_with_parentheses_does_not_confuse_it(tmp_path: object) -> None:
    program = f"{tmp_path}/) S 1 (x"
    os.symlink("/bin/sleep", program)
    process = subprocess.Popen([program, "60"])
    try:
        assert processes.is_alive(process.pid, processes.process_start(process.pid))
        started = processes.process_start(process.pid)
        assert started is not None
        assert abs(psutil.boot_time() + started - time.time()) < 30
    finally:
        process.kill()
        process.wait()


def test_a_boot_and_a_host_have_names() -> None:
    assert processes.boot_id() == processes.boot_id() != ""
    assert processes.hostname() == os.uname().nodename


def test_the_address_is_one() -> None:
    ipaddress.ip_address(processes.node_ip())
