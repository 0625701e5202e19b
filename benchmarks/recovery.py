"""How soon work goes on after a death.

worker   a trial that dies once (`os._exit`, or SIGKILL), without set-up of its own: from the moment of death to the
         moment the retry's first `report` has returned.
restore  500 trials, interrupted (Ctrl-C) when half of them are finished: from the call of `Tuner.restore` to the moment
         the first new `report` has returned. With reused workers, so that Ray gets there in reasonable time.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

from comparison import Goal, Part, environment, main, tune_of

DEATHS = {"perdure": 5, "ray": 2}
TRIALS = 500


def worker(engine: str, directory: Path) -> dict[str, float]:
    tune = tune_of(engine)
    figures = {}
    for name in ("exit", "kill"):
        samples = []
        for turn in range(DEATHS[engine]):
            here = directory / f"{name}-{turn}"
            here.mkdir()
            tuner = tune.Tuner(
                dying(tune, name, str(here)),
                run_config=tune.RunConfig(
                    storage_path=str(here / "storage"),
                    name="experiment",
                    verbose=0,
                    failure_config=tune.FailureConfig(max_failures=1),
                ),
            )
            results = tuner.fit()
            assert results.num_errors == 0
            samples.append(float((here / "alive").read_text()) - float((here / "dead").read_text()))
        figures[f"retry_after_{name}_s"] = statistics.median(samples)
    return figures


def dying(tune, name, directory):
    def trainable(config):
        first = not os.path.exists(os.path.join(directory, "dead"))
        tune.report({"loss": 1.0})
        note = os.path.join(directory, "dead" if first else "alive")
        with open(note, "w") as file:
            file.write(repr(time.time()))
        if not first:
            return
        if name == "exit":
            os._exit(1)
        os.kill(os.getpid(), signal.SIGKILL)

    return trainable


def restore(engine: str, directory: Path) -> dict[str, float]:
    program = [sys.executable, __file__, "--run", engine, str(directory)]
    subprocess.run([*program, "begin"], check=False, env=environment(engine), stdout=subprocess.DEVNULL, timeout=600)
    finished = len(list(directory.glob("finished-*")))
    assert TRIALS // 2 <= finished < TRIALS, finished
    (directory / "restoring").touch()
    subprocess.run([*program, "restore"], env=environment(engine), stdout=subprocess.DEVNULL, timeout=600, check=True)
    begin = float((directory / "begin").read_text())
    return {"restore_s": float((directory / "first").read_text()) - begin, "finished_before": finished}


def run(engine: str, directory: str, what: str) -> None:
    """Be the driver of the `restore` part."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started to ignore it
    tune = tune_of(engine)
    driver = os.getpid()

    def trainable(config):
        tune.report({"x": config["x"]})
        if os.path.exists(os.path.join(directory, "restoring")):
            try:
                with open(os.path.join(directory, "first"), "x") as file:
                    file.write(repr(time.time()))
            except FileExistsError:
                pass
            return
        with open(os.path.join(directory, f"finished-{config['x']}"), "w"):
            pass
        if config["x"] == TRIALS // 2:
            os.kill(driver, signal.SIGINT)
            time.sleep(1)

    if what == "begin":
        tuner = tune.Tuner(
            trainable,
            param_space={"x": tune.grid_search(list(range(TRIALS)))},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(storage_path=directory, name="experiment", verbose=0),
        )
    else:
        (Path(directory) / "begin").write_text(repr(time.time()))
        tuner = tune.Tuner.restore(os.path.join(directory, "experiment"), trainable)
    tuner.fit()


PARTS = {"worker": Part(worker), "restore": Part(restore)}
GOALS = [
    Goal("retry_after_exit_s", at_most=0.15),
    Goal("retry_after_kill_s", at_most=0.15),
    Goal("restore_s", times=10),
]

if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        run(*sys.argv[2:])
    else:
        main(__file__, PARTS, GOALS)
