"""How many results a second two trials get through that do nothing but report, with the default loggers on.

`results_per_s` counts everything until `fit()` returns, the loggers' files complete. `round_trip_us` is what the
machine could do at best: a message of the same size there and back over a socket pair between two processes,
measured in the same run, one pair at a time; `round_trips_per_result` is how many of them fit into the time of one
result.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from comparison import Goal, Part, main, stopwatch, tune_of

TRIALS = 2
REPORTS = {"perdure": 20_000, "ray": 1_500}
ROUND_TRIPS = 20_000
MESSAGE, ANSWER = 160, 24


def reporting(engine: str, directory: Path) -> dict[str, float]:
    tune = tune_of(engine)
    count = REPORTS[engine]

    def trainable(config):
        for step in range(count):
            tune.report({"loss": 1.0 / (step + 1)})

    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(num_samples=TRIALS),
        run_config=tune.RunConfig(storage_path=str(directory), name="experiment", verbose=0),
    )
    before = round_trip_s()
    with stopwatch() as elapsed:
        results = tuner.fit()
        seconds = elapsed()
    after = round_trip_s()
    assert results.num_errors == 0
    per_result, trip = seconds / (TRIALS * count), (before + after) / 2
    return {
        "results_per_s": 1 / per_result,
        "round_trip_us": trip * 1e6,
        "round_trips_per_result": per_result / trip,
    }


def round_trip_s() -> float:
    """Return the seconds of one message there and back, Python on both sides."""
    here, there = socket.socketpair()
    child = os.fork()
    if not child:
        here.close()
        while there.recv(4096):
            there.sendall(bytes(ANSWER))
        os._exit(0)
    there.close()
    message = bytes(MESSAGE)
    with stopwatch() as elapsed:
        for _ in range(ROUND_TRIPS):
            here.sendall(message)
            here.recv(4096)
        seconds = elapsed()
    here.close()
    os.waitpid(child, 0)
    return seconds / ROUND_TRIPS


PARTS = {"reporting": Part(reporting)}
GOALS = [Goal("results_per_s", times=15, lower_is_better=False)]

if __name__ == "__main__":
    main(__file__, PARTS, GOALS)
