"""How long it takes to look at a large experiment: 10,000 trials of 100 reports, a journal of a million rows.

The journal is written by hand, through the real one: no trial runs. Each figure is of a fresh process and includes
reading the journal from the disk (from the page cache, where it was just written).

open     `open_s`: `ResultGrid.from_path` and its first result
last     `last_s`: opened, and the dataframe of each trial's last row
all      `all_s`: opened, and the dataframe of all rows, two metrics and two parameters; `all_rows` of them
one      `one_s`: `Result.from_path` of one trial and its dataframe
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from comparison import Goal, Part, main

TRIALS, REPORTS = 10_000, 100
AT_A_TIME = 8
AT = 1_767_225_600.0


def write(path: Path, trials: int = TRIALS, reports: int = REPORTS) -> None:
    """Write the journal of an experiment whose trials ran eight at a time."""
    from perdure.core.events import (
        AttemptEnded,
        AttemptPlanned,
        AttemptStarted,
        DriverStarted,
        DriverStopped,
        ExperimentCreated,
        Outcome,
        Reported,
        SearchEnded,
        Spec,
        TrialCreated,
    )
    from perdure.journal.file import FileJournal

    with FileJournal(path) as journal:
        journal.append(
            [
                ExperimentCreated(
                    at=AT, name=path.name, trainable="train", spec=Spec(metric="loss", mode="min"), version="0"
                ),
                DriverStarted(at=AT, epoch=journal.epoch, host="here", pid=1, process_start=0.0),
            ]
        )
        for first in range(0, trials, AT_A_TIME):
            numbers = range(first, min(first + AT_A_TIME, trials))
            events: list = []
            for n in numbers:
                trial, config = f"abcde_{n:05d}", {"lr": 0.1 / (n + 1), "width": n % 7}
                events += [
                    TrialCreated(
                        at=AT,
                        trial=trial,
                        number=n,
                        name=f"train_{trial}",
                        directory=f"train_{trial}",
                        config=config,
                        searched=config,
                        tag=f"{n}_lr",
                    ),
                    AttemptPlanned(at=AT, trial=trial, attempt=1),
                    AttemptStarted(at=AT, trial=trial, attempt=1, host="here", pid=n, process_start=0.0),
                ]
            events += [
                Reported(
                    at=AT + first + step / 100,
                    trial=f"abcde_{n:05d}",
                    attempt=1,
                    iteration=step,
                    metrics={"loss": 1.0 / (step + n), "accuracy": 1.0 - 1.0 / (step + 1)},
                    time_this_iter_s=0.01,
                    time_total_s=step / 100,
                    time_since_restore_s=step / 100,
                )
                for step in range(1, reports + 1)
                for n in numbers
            ]
            events += [
                AttemptEnded(at=AT + first, trial=f"abcde_{n:05d}", attempt=1, outcome=Outcome.FINISHED)
                for n in numbers
            ]
            journal.append(events)
        journal.append([SearchEnded(at=AT), DriverStopped(at=AT, finished=True)])


def timed(path: Path, code: str) -> dict[str, float]:
    """Run code on the experiment `path` in a fresh process, in which everything is imported already."""
    program = (
        "import json, sys, time, pandas\n"
        "from perdure.result import Result\nfrom perdure.result_grid import ResultGrid\n"
        "import perdure.frames, perdure.journal.file\n"
        "path = sys.argv[1]\n"
        "began = time.perf_counter()\n"
        f"{code}\n"
        "print(json.dumps(figures))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, str(path)]
    out = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment, text=True).stdout
    return json.loads(out)


def results(engine: str, directory: Path) -> dict[str, float]:
    path = directory / "experiment"
    began = time.perf_counter()
    write(path)
    figures = {
        "write_s": time.perf_counter() - began,
        "journal_mb": sum(file.stat().st_size for file in path.glob("journal-*.jsonl")) / 1e6,
    }
    spent = "time.perf_counter() - began"
    grid = "grid = ResultGrid.from_path(path)\n"
    figures |= timed(path, f"{grid}grid[0].metrics\nfigures = {{'open_s': {spent}}}")
    last = f"{grid}frame = grid.get_dataframe()\nassert len(frame) == {TRIALS}\n"
    figures |= timed(path, f"{last}figures = {{'last_s': {spent}}}")
    every = f"{grid}frame = grid.all_rows_dataframe()\n"
    figures |= timed(path, f"{every}figures = {{'all_s': {spent}, 'all_rows': len(frame)}}")
    trial = path / f"train_abcde_{TRIALS // 2:05d}"
    trial.mkdir()
    one = f"frame = Result.from_path(path).metrics_dataframe\nassert len(frame) == {REPORTS}\n"
    figures |= timed(trial, f"{one}figures = {{'one_s': {spent}}}")
    return figures


PARTS = {"results": Part(results, on_ray=False)}
GOALS = [Goal("all_s", at_most=5.0), Goal("last_s", at_most=5.0)]

if __name__ == "__main__":
    main(__file__, PARTS, GOALS)
