"""How many trivial trials a second: a process each, and with reused workers.

`trials_per_s`: a function that reports once, in a process of its own, with default settings. `reused_per_s`: the same
with `TuneConfig(reuse_actors=True)`. The time is that of `fit()`, with everything in it but Ray's own start-up.
"""

from __future__ import annotations

from pathlib import Path

from comparison import Goal, Part, main, stopwatch, tune_of

ISOLATED = {"perdure": 500, "ray": 16}
REUSED = {"perdure": 5000, "ray": 200}


def rate(engine: str, directory: Path, count: int, *, reuse: bool) -> float:
    tune = tune_of(engine)

    def trainable(config):
        tune.report({"loss": config["x"]})

    tuner = tune.Tuner(
        trainable,
        param_space={"x": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(num_samples=count, reuse_actors=reuse),
        run_config=tune.RunConfig(storage_path=str(directory), name="experiment", verbose=0),
    )
    with stopwatch() as elapsed:
        results = tuner.fit()
        seconds = elapsed()
    assert len(results) == count
    assert results.num_errors == 0
    return count / seconds


def isolated(engine: str, directory: Path) -> dict[str, float]:
    return {"trials_per_s": rate(engine, directory, ISOLATED[engine], reuse=False)}


def reused(engine: str, directory: Path) -> dict[str, float]:
    return {"reused_per_s": rate(engine, directory, REUSED[engine], reuse=True)}


PARTS = {"isolated": Part(isolated, many_files=True), "reused": Part(reused, many_files=True)}
GOALS = [
    Goal("trials_per_s", times=150, lower_is_better=False),
    Goal("reused_per_s", times=40, lower_is_better=False),
]

if __name__ == "__main__":
    main(__file__, PARTS, GOALS)
