"""Whether the cost of an event grows with the number of trials, and what a trial costs the driver's memory.

Real core, journal (on disk), judge, searcher and runner behind `Tuner.fit()`; the simulated executor, which has no
processes, and no loggers. Trials of ten reports.

events   1,000 against 100,000 trials, eight at a time: `us_per_event_*`, of CPU time of all threads, between the first
         and the last row: nothing here waits, so that is the time, whatever else the machine does.
         `bytes_per_finished`: what resident memory grew by from the 10,000th trial to the last.
live     20,000 trials at a time: `bytes_per_live`, resident memory for each; what the simulated executor keeps of an
         attempt is measured by itself and taken off.
"""

from __future__ import annotations

import ctypes
import gc
import os
import time
from pathlib import Path

from comparison import Goal, Part, main

REPORTS = 10
FEW, MANY = 1_000, 100_000
SETTLED = 10_000
LIVE = 20_000
EVENTS_OF_A_TRIAL = REPORTS + 4  # created, planned, started, ten rows, ended


def rows(config, assignment):
    for step in range(REPORTS):
        yield 0.001, {"loss": config["x"] / (step + 1)}  # of virtual time: about as fast as real trials can


def trainable(config):
    raise AssertionError("the simulated executor runs scripts")


def experiment(directory: Path, name: str, count: int, script, cpus: float):
    from perdure import tune
    from perdure.executors.simulated import SimulatedExecutor

    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    return tune.Tuner(
        trainable,
        param_space={"x": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(num_samples=count, max_concurrent_trials=None),
        run_config=tune.RunConfig(
            storage_path=str(directory),
            name=name,
            verbose=0,
            executor=SimulatedExecutor(script, capacity={"CPU": cpus}),
        ),
    )


def resident() -> int:
    """Return the bytes of memory this process really uses, with what is free given back first."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def timed(directory: Path, count: int) -> tuple[float, float]:
    """Return (microseconds per event, bytes per trial that finished after the 10,000th)."""
    first = last = 0.0
    marks = {}

    def script(config, assignment):
        nonlocal first, last
        if assignment.number in (SETTLED, count - 1) and count > SETTLED:
            marks[assignment.number] = resident()
        first = first or time.process_time()
        yield from rows(config, assignment)
        last = time.process_time()

    experiment(directory, f"of-{count}", count, script, 8.0).fit()
    grown = (marks[count - 1] - marks[SETTLED]) / (count - 1 - SETTLED) if marks else 0.0
    return (last - first) / (count * EVENTS_OF_A_TRIAL) * 1e6, grown


def few(engine: str, directory: Path) -> dict[str, float]:
    return {"us_per_event_few": timed(directory, FEW)[0]}


def many(engine: str, directory: Path) -> dict[str, float]:
    us, grown = timed(directory, MANY)
    return {"us_per_event_many": us, "bytes_per_finished": grown}


def events(engine: str, directory: Path) -> dict[str, float]:
    timed(directory, 100)
    before = timed(directory / "before", FEW)[0]
    figures = many(engine, directory)
    after = timed(directory / "after", FEW)[0]
    us = (before + after) / 2
    return {"us_per_event_few": us, **figures, "many_to_few": figures["us_per_event_many"] / us}


def live_row(config, assignment):
    return 1.0 + assignment.number * 1e-4, {"loss": config["x"]}


def live(engine: str, directory: Path) -> dict[str, float]:
    marks = []

    def script(config, assignment):
        yield live_row(config, assignment)
        if not marks:  # all have started, and one has reported
            come_to_rest()  # whoever follows the journal has read all of it then
            marks.append(resident())

    experiment(directory, "warm", 100, rows, 8.0).fit()
    own, kept = simulators_own()
    before = resident()
    experiment(directory, "live", LIVE, script, float(LIVE)).fit()
    del kept  # held until now: memory that had been given back would be used again, and not show
    return {"bytes_per_live": (marks[0] - before) / LIVE - own, "simulators_own_bytes": own}


def come_to_rest() -> None:
    """Wait until no thread of this process has work."""
    busy = 1.0
    while busy > 0.01:
        before = time.process_time()
        time.sleep(1.0)
        busy = time.process_time() - before


def simulators_own() -> tuple[float, object]:
    """Return the bytes that the simulated executor keeps for an attempt that works towards its first report, and what
    it kept.

    The assignment counts, without the values in it that it shares with the state of its trial.
    """
    from perdure.executors.simulated import SimulatedExecutor
    from perdure.trainable.messages import Assignment

    def script(config, assignment):
        yield live_row(config, assignment)

    executor = SimulatedExecutor(script)
    resources = {"CPU": 1.0}
    shared = [(f"{number:05x}_{number:05d}", f"{number}_x=0.1", {"x": 1.0 / (number + 1)}) for number in range(LIVE)]
    before = resident()
    for number, (trial, tag, config) in enumerate(shared):
        executor.start(
            Assignment(
                trial=trial,
                attempt=1,
                segment=0,
                name=trial,
                number=number,
                tag=tag,
                experiment="live",
                experiment_path="/somewhere/live",
                path=f"/somewhere/live/rows_{trial}_{number}_x=0.1",
                config=config,
                resources=resources,
            )
        )
    assert len(executor.poll(0.0)) == LIVE  # all are up
    assert not executor.poll(0.5)  # and each works towards its first row
    return (resident() - before) / LIVE, (executor, shared)


PARTS = {"events": Part(events, on_ray=False), "live": Part(live, on_ray=False)}
GOALS = [
    Goal("many_to_few", at_most=1.2),
    Goal("bytes_per_live", at_most=4096),
    Goal("bytes_per_finished", at_most=1024),
]

if __name__ == "__main__":
    main(__file__, PARTS, GOALS)
