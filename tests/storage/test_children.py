"""Fresh interpreters beside the driver, and what they take over from it."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from perdure.storage import children


def run(text, *, flags=()):
    """Run a line of Python in an interpreter that an interpreter with these flags starts, and return what it prints."""
    source = (
        f"import os, sys; sys.path[:] = {children.absolute_path()!r}; from perdure.storage import children; "
        "os.execv(sys.executable, children.command('builtins:exec', sys.argv[1]))"
    )
    return subprocess.run(
        [sys.executable, *flags, "-c", source, text], stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def test_it_finds_what_the_driver_finds(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, Path("of-no-use"), "relative"])
    ran = subprocess.run(
        children.command("builtins:exec", "import sys; print(sys.path)"), stdout=subprocess.PIPE, text=True, check=True
    )
    expected = [entry for entry in sys.path if isinstance(entry, str)]
    assert ran.stdout.strip() == repr([*expected[:-1], os.path.abspath("relative")])


def test_it_is_as_isolated_as_the_driver():
    text = "print(sys.flags.isolated, sys.flags.dont_write_bytecode, sys.flags.optimize)"
    assert run(text, flags=["-I", "-B", "-OO"]) == "1 1 2\n"
    assert run(text, flags=["-s"]).startswith("0 ")


def test_signals_that_stop_the_experiment_do_not_end_it_while_it_starts():
    ours, theirs = socket.socketpair()
    text = (
        "from perdure.storage import children; import socket; children.ignore_interrupts(); "
        f"socket.socket(fileno={theirs.fileno()}).send(b'there')"
    )
    with ours, theirs:
        process = children.launch("builtins:exec", text, fd=theirs.fileno())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            process.send_signal(number)
        assert process.wait(60) == 0
        assert ours.recv(10) == b"there"
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(children.INTERRUPTS), "nor are they blocked here"
