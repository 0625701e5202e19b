"""Where no kernel kills a process with its parent, nobody outlives a driver of which a fork holds all the sockets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil

from tests.crash.harness import ROOT, assert_gone, family, kill

DRIVER = """
import os, sys, time
import psutil
from perdure import tune

def trainable(config):
    while True:
        time.sleep(0.02)
        tune.report({"pid": os.getpid()})

class Forks(tune.Callback):
    forked = False

    def on_trial_result(self, **_):
        if not self.forked and len(psutil.Process().children()) >= 2:  # template and loggers
            self.forked = True
            if not (pid := os.fork()):
                time.sleep(600)
                os._exit(0)
            print(pid, flush=True)

tune.Tuner(trainable, run_config=tune.RunConfig(storage_path=sys.argv[1], callbacks=[Forks()], verbose=0)).fit()
"""
ELSEWHERE = """
import os
from perdure.storage import children
children._prctl = None
vars(os).pop("pidfd_open", None)
"""
"""Makes a system of this one that does not tell of a parent's death."""


def test_all_go_with_a_killed_driver(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(ELSEWHERE)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
        "PERDURE_LOGGERS_BUSY": "0",
    }
    command = [sys.executable, "-c", DRIVER, str(tmp_path / "storage")]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        fork = int(driver.stdout.readline())
        others = [process for process in family(driver) if process.pid != fork]
        kill(driver.pid)
        try:
            assert len(others) == 3, "template, worker, loggers"
            assert_gone(others)
            assert psutil.pid_exists(fork), "the sockets were held all the while"
        finally:
            for pid in (fork, *(process.pid for process in others)):
                kill(pid)
