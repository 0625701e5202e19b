"""Runs searches and prints, for each, the best value against the epochs spent: a JSON line each.

    python benchmarks/search/run.py --engine perdure --seeds 20 > perdure.jsonl
    benchmarks/.ray-venv/bin/python benchmarks/search/run.py --engine ray --seeds 20 > ray.jsonl
    python benchmarks/search/run.py --engine perdure --seeds 20 --kill > killed.jsonl
    python benchmarks/search/compare.py perdure.jsonl ray.jsonl killed.jsonl

Both engines run the same trainable with the same algorithm, and the same library under it where there is one. `--kill`
(perdure only) has the driver killed with SIGKILL at random times and restored until the search ends.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from methods import METHODS, Method  # noqa: E402
from problems import PROBLEMS, Problem  # noqa: E402

KILLS = 3


def trainable_of(tune: Any, problem: Problem, rest_s: float) -> Any:
    """Return the class that trains; it can be paused and cloned at each epoch."""

    class Training(tune.Trainable):
        def setup(self, config):
            self.state = problem.start(config)

        def step(self):
            time.sleep(rest_s)
            self.state, value = problem.epoch(self.config, self.state)
            return {"value": value, "reported_at": time.time(), "done": self.iteration + 1 >= problem.epochs}

        def save_checkpoint(self, directory):
            Path(directory, "state.json").write_text(json.dumps(self.state))
            return directory

        def load_checkpoint(self, directory):
            self.state = json.loads(Path(directory, "state.json").read_text())

        def reset_config(self, config):
            self.config = config
            self.state = problem.start(config)
            return True

    return Training


def search(engine: str, method: Method, problem: Problem, seed: int, directory: str, *, rest_s: float) -> None:
    """Run one search to its end, or go on with it."""
    tune = importlib.import_module(f"{engine}.tune")
    random.seed(seed)
    if importlib.util.find_spec("numpy"):
        importlib.import_module("numpy").random.seed(seed)
    chosen = method.make(engine, problem, seed)
    run: dict[str, Any] = {"storage_path": directory, "name": "search", "verbose": 0}
    if engine == "perdure":
        chosen["seed"] = seed
        run["resume"] = "auto"
    if problem.epochs > 1:
        run["checkpoint_config"] = tune.CheckpointConfig(checkpoint_frequency=1, num_to_keep=2)
    tuner = tune.Tuner(
        tune.with_resources(trainable_of(tune, problem, rest_s), {"cpu": 0.4}),
        param_space=problem.space(tune),
        tune_config=tune.TuneConfig(
            metric="value",
            mode="min",
            num_samples=method.samples,
            max_concurrent_trials=method.slots,
            reuse_actors=True,
            **chosen,
        ),
        run_config=tune.RunConfig(**run),
    )
    results = tuner.fit()
    assert len(results) == method.samples, len(results)
    assert results.num_errors == 0, results.errors


def curve_of(directory: str) -> list[float]:
    """Return every value that was reported, in the order of time."""
    rows = []
    for path in Path(directory, "search").glob("*/result.json"):
        rows += [json.loads(line) for line in path.read_text().splitlines()]
    rows.sort(key=lambda row: row["reported_at"])
    return [row["value"] for row in rows]


def killed_search(method: str, problem: str, seed: int, directory: str) -> int:
    """Run a search in a process that is killed `KILLS` times; return how often it was while it still ran."""
    chance = random.Random(seed)
    command = [sys.executable, __file__, "--one", method, problem, str(seed), directory]
    kills = 0
    for _ in range(KILLS):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.4 + 0.5 * chance.random())
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return kills


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["perdure", "ray"], default="perdure")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--only", action="append", choices=list(METHODS), help="only this method; may be repeated")
    parser.add_argument("--kill", action="store_true", help="kill the driver at random times, and go on")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.one:
        method, problem, seed, directory = options.one
        rest_s = 0.01 if PROBLEMS[problem].epochs == 1 else 0.001
        search("perdure", METHODS[method], PROBLEMS[problem], int(seed), directory, rest_s=rest_s)
        return
    if options.engine == "ray":
        os.environ |= {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "0"}
        importlib.import_module("ray").init(logging_level="ERROR", log_to_driver=False)
    for method in METHODS.values():
        if options.only and method.name not in options.only:
            continue
        if method.library and not importlib.util.find_spec(method.library):
            print(f"{method.name}: {method.library} is not installed; left out", file=sys.stderr)
            continue
        for name in method.problems:
            for seed in range(options.seeds):
                with tempfile.TemporaryDirectory(prefix="perdure-search-", ignore_cleanup_errors=True) as directory:
                    kills = 0
                    if options.kill:
                        kills = killed_search(method.name, name, seed, directory)
                    else:
                        search(options.engine, method, PROBLEMS[name], seed, directory, rest_s=0.0)
                    values = curve_of(directory)
                line = {
                    "engine": "killed" if options.kill else options.engine,
                    "method": method.name,
                    "problem": name,
                    "seed": seed,
                    "kills": kills,
                    "values": [float(f"{value:.6g}") for value in values],
                }
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
