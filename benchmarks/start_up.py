"""How soon a one-trial experiment says something, and what all of its processes need.

`import_s`: `from ... import tune` in a fresh interpreter. `first_result_s`: from the start of the process to the moment
the trial's first `report` has returned. `whole_s`: from the start of the process to its end. `peak_pss_mb` and
`peak_rss_mb`: the largest sums over the process and all its descendants, looked at every 10 ms (in runs of their own:
looking costs time); PSS counts a page that several processes share once, RSS each time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from comparison import Goal, Part, environment, main

PROGRAM = """
import sys, time
from {engine} import tune

def trainable(config):
    tune.report({{"loss": 1.0}})
    with open({mark!r}, "w") as mark:
        mark.write(repr(time.time()))

if __name__ == "__main__":
    tune.Tuner(trainable, run_config=tune.RunConfig(storage_path={storage!r}, name="experiment")).fit()
"""
IMPORT = "import time; t = time.perf_counter(); from {engine} import tune; print(time.perf_counter() - t)"


def start(engine: str, directory: Path) -> tuple[float, subprocess.Popen, Path]:
    mark = directory / "mark"
    program = directory / "program.py"
    program.write_text(PROGRAM.format(engine=engine, mark=str(mark), storage=str(directory / "storage")))
    started = time.time()
    process = subprocess.Popen([sys.executable, str(program)], env=environment(engine), stdout=subprocess.DEVNULL)
    return started, process, mark


def importing(engine: str, directory: Path) -> dict[str, float]:
    command = [sys.executable, "-c", IMPORT.format(engine=engine)]
    seconds = sorted(float(subprocess.check_output(command, env=environment(engine))) for _ in range(5))
    return {"import_s": seconds[2]}


def running(engine: str, directory: Path) -> dict[str, float]:
    started, process, mark = start(engine, directory)
    process.wait()
    ended = time.time()
    return {"first_result_s": float(mark.read_text()) - started, "whole_s": ended - started}


def memory(engine: str, directory: Path) -> dict[str, float]:
    _, process, _ = start(engine, directory)
    peak_pss = peak_rss = 0
    most = 0
    while process.poll() is None:
        began = time.perf_counter()
        tree = descendants(process.pid)
        sums = [memory_of(pid) for pid in tree]
        peak_pss = max(peak_pss, sum(pss for pss, _ in sums))
        peak_rss = max(peak_rss, sum(rss for _, rss in sums))
        most = max(most, len(tree))
        time.sleep(max(0.0, 0.010 - (time.perf_counter() - began)))
    return {"peak_pss_mb": peak_pss / 2**20, "peak_rss_mb": peak_rss / 2**20, "processes": most}


def descendants(root: int) -> list[int]:
    """Return the process and everything that comes from it."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                stat = Path(f"/proc/{name}/stat").read_bytes()
            except OSError:
                continue
            children.setdefault(int(stat.rpartition(b")")[2].split()[1]), []).append(int(name))
    tree, todo = [], [root]
    while todo:
        pid = todo.pop()
        tree.append(pid)
        todo += children.get(pid, [])
    return tree


def memory_of(pid: int) -> tuple[int, int]:
    """Return (PSS, RSS) in bytes; zeros for a process that is gone."""
    pss = rss = 0
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Rss:"):
                rss = int(line.split()[1]) << 10
            elif line.startswith(b"Pss:"):
                pss = int(line.split()[1]) << 10
    except OSError:
        pass
    return pss, rss


PARTS = {"importing": Part(importing), "running": Part(running), "memory": Part(memory)}
GOALS = [
    Goal("import_s", at_most=0.1),
    Goal("first_result_s", times=15),
    Goal("whole_s", times=12),
    Goal("peak_pss_mb", times=10),
    Goal("peak_rss_mb", times=10),
]

if __name__ == "__main__":
    main(__file__, PARTS, GOALS)
