"""Runs searches and prints, for each, the best value against the epochs spent: a JSON line each.

    python benchmarks/search/run.py --engine perdure --seeds 20 > perdure.jsonl
    benchmarks/.ray-venv/bin/python benchmarks/search/run.py --engine ray --seeds 20 > ray.jsonl
    python benchmarks/search/run.py --engine perdure --seeds 20 --kill > killed.jsonl
    python benchmarks/search/compare.py perdure.jsonl ray.jsonl killed.jsonl

Both engines search the same problem with the same algorithm, and the same library under it where there is one, run by
the same Python if its environment has both. No trial has a process of its own: see `scripted.py` and
`ray_in_process.py`. With `--processes` trials are real ones; with `--kill` too, and the driver is killed with SIGKILL
at random times and the search restored until it ends.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import itertools
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

KILLS = 2
RAY_SETTINGS = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_INIT": "1",  # see ray_in_process.py
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "60",
}


def trainable_of(tune: Any, problem: Problem) -> Any:
    """Return the class that trains; it can be paused and cloned at each epoch."""

    class Training(tune.Trainable):
        def setup(self, config):
            self.state = problem.start(config)

        def step(self):
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


def recorder(tune: Any, path: Path) -> Any:
    """Return a callback that writes every row to `path`.

    Ray's JSON logger will not do: a paused trial that goes on has its result.json fetched anew from the storage, to
    which it is brought every few minutes, and loses the rows since then.
    """
    path.parent.mkdir(parents=True)

    class Recorder(tune.Callback):
        def on_trial_result(self, iteration, trials, trial, result, **info):
            with path.open("a") as file:
                row = {name: result[name] for name in ("trial_id", "value", "reported_at")}
                file.write(json.dumps(row) + "\n")

    return Recorder()


def search(engine: str, method: Method, problem: Problem, seed: int, directory: str, *, processes: bool) -> None:
    """Run one search to its end, or go on with it; perdure in processes, or both engines without."""
    tune = importlib.import_module(f"{engine}.tune")
    random.seed(seed)
    if importlib.util.find_spec("numpy"):
        importlib.import_module("numpy").random.seed(seed)
    chosen = method.make(engine, problem, seed)
    name = f"{method.name} {problem.name} {seed}".replace(",", "").replace(" ", "-")
    run: dict[str, Any] = {"storage_path": directory, "name": name, "verbose": 0}
    if engine == "perdure":
        chosen["seed"] = seed
        if processes:
            run["resume"] = "auto"
        else:
            run["executor"] = importlib.import_module("scripted").executor(problem, method.slots)
        if problem.epochs > 1:
            run["checkpoint_config"] = tune.CheckpointConfig(checkpoint_frequency=1, num_to_keep=2)
    else:
        importlib.import_module("ray_in_process").use(method.slots, directory)
        run["checkpoint_config"] = tune.CheckpointConfig(checkpoint_at_end=False)
        run["callbacks"] = [recorder(tune, Path(directory, name, "rows", "result.json"))]
    tuner = tune.Tuner(
        tune.with_resources(trainable_of(tune, problem), {"cpu": 0.4 if processes else 1}),
        param_space=problem.space(tune),
        tune_config=tune.TuneConfig(
            metric="value",
            mode="min",
            num_samples=method.samples,
            max_concurrent_trials=method.slots if engine == "perdure" or method.slots == 1 else None,
            reuse_actors=True,
            **chosen,
        ),
        run_config=tune.RunConfig(**run),
    )
    results = tuner.fit()
    assert len(results) == method.samples, len(results)
    assert results.num_errors == 0, results.errors


def curve_of(directory: str) -> tuple[list[float], list[int]]:
    """Return every value that was reported, in the order of time, and whose it was: trials by their first row."""
    rows = []
    for path in Path(directory).glob("*/*/result.json"):
        rows += [json.loads(line) for line in path.read_text().splitlines()]
    rows.sort(key=lambda row: row["reported_at"])
    numbers: dict[str, int] = {}
    trials = [numbers.setdefault(row["trial_id"], len(numbers)) for row in rows]
    return [row["value"] for row in rows], trials


def reports(directory: str) -> int:
    return sum(path.read_bytes().count(b"\n") for path in Path(directory).glob("*/*/result.json"))


def killed_search(method: Method, problem: str, seed: int, directory: str) -> int:
    """Run a search in a process that is killed when `KILLS` random numbers of reports are reached; return how often."""
    chance = random.Random(seed)
    command = [sys.executable, __file__, "--one", method.name, problem, str(seed), directory]
    kills = 0
    expected = method.reports or method.samples * PROBLEMS[problem].epochs
    for reached in sorted(chance.sample(range(expected), KILLS)):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while process.poll() is None and reports(directory) < reached:
            time.sleep(0.02)
        time.sleep(0.05 * chance.random())
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return kills


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["perdure", "ray"], default="perdure")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--only", action="append", choices=list(METHODS), help="only this method; may be repeated")
    parser.add_argument("--on", action="append", choices=list(PROBLEMS), help="only this problem; may be repeated")
    parser.add_argument("--processes", action="store_true", help="perdure only: trials have processes of their own")
    parser.add_argument("--kill", action="store_true", help="kill the driver at random times, and go on")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.one:
        method, problem, seed, directory = options.one
        search("perdure", METHODS[method], PROBLEMS[problem], int(seed), directory, processes=True)
        return
    if options.engine == "ray":
        os.environ |= RAY_SETTINGS
    chosen = []
    for method in METHODS.values():
        if (options.only and method.name not in options.only) or options.engine not in method.engines:
            continue
        if method.library and not importlib.util.find_spec(method.library):
            print(f"{method.name}: {method.library} is not installed; left out", file=sys.stderr)
            continue
        chosen.append(method)
    for seed, method in itertools.product(range(options.first, options.first + options.seeds), chosen):
        for name in method.problems:
            if options.on and name not in options.on:
                continue
            with tempfile.TemporaryDirectory(prefix="perdure-search-", ignore_cleanup_errors=True) as directory:
                kills = 0
                if options.kill:
                    kills = killed_search(method, name, seed, directory)
                else:
                    search(options.engine, method, PROBLEMS[name], seed, directory, processes=options.processes)
                values, trials = curve_of(directory)
            line = {
                "engine": "killed" if options.kill else options.engine,
                "method": method.name,
                "problem": name,
                "seed": seed,
                "kills": kills,
                "values": values,
                "trials": trials,
            }
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
