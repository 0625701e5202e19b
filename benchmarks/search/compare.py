"""Holds the searches of `run.py` against each other, as Markdown.

    python benchmarks/search/compare.py perdure.jsonl ray.jsonl killed.jsonl

For each method and problem: the best value so far at half of the epochs and at the end, median and quartiles over the
seeds, and whether the engines differ beyond noise (Mann-Whitney U test, two-sided). The same for half of the trials and
all of them, where a trial is more than one epoch: the best value of those that reported first, whatever they spent.

Whether each scheduler beats random search at equal epochs, those that it spent with each seed (Wilcoxon's signed-rank
test, one-sided). Whether searches that were killed and restored report the very same values, one trial at a time, or,
several at once, no worse ones. Needs scipy.
"""

from __future__ import annotations

import argparse
import collections
import json
import statistics
from pathlib import Path

from methods import METHODS
from scipy.stats import mannwhitneyu, wilcoxon

LEVEL = 0.05

Curves = dict[int, list[float]]
"""Reported values in the order of time, by seed."""

By = dict[tuple[str, str, str], Curves]
"""Curves of each (engine, method, problem)."""


def read(paths: list[Path]) -> tuple[By, By]:
    """Return what was reported epoch by epoch, and the best value of each trial, in the order of their first rows.

    The latter only where a trial has several epochs; otherwise it is the same.
    """
    curves: By = collections.defaultdict(dict)
    trials: By = collections.defaultdict(dict)
    for path in paths:
        for line in path.read_text().splitlines():
            if line.startswith("{"):  # Ray prints between them
                run = json.loads(line)
                kind = run["engine"], run["method"], run["problem"]
                curves[kind][run["seed"]] = run["values"]
                bests: dict[int, float] = {}
                for trial, value in zip(run.get("trials", ()), run["values"], strict=False):
                    bests[trial] = min(bests.get(trial, value), value)
                if len(bests) < len(run["values"]) and bests:
                    trials[kind][run["seed"]] = list(bests.values())
    return curves, trials


def best(curves: Curves, epochs: int) -> list[float]:
    """Return each seed's best value after so many epochs, over all its trials, in the order of the seeds."""
    return [min(curves[seed][:epochs]) for seed in sorted(curves)]


def length(*several: Curves) -> int:
    """Return how many epochs all of them have spent at least."""
    return min(len(values) for curves in several for values in curves.values())


def spread(values: list[float]) -> str:
    """Return the median and the quartiles."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.4g} ({low:.4g} to {high:.4g})"


def holm(tests: list[tuple[str, float]]) -> list[str]:
    """Return the names of the tests that stand after Holm's correction."""
    rejected = []
    for rank, (name, p) in enumerate(sorted(tests, key=lambda test: test[1])):
        if p * (len(tests) - rank) > LEVEL:
            break
        rejected.append(name)
    return rejected


def against_ray(curves: By, spent: str) -> None:
    print(f"| method | problem | seeds | {spent} | perdure | Ray | p |\n|---|---|---|---|---|---|---|")
    tests: list[tuple[str, float]] = []
    for (engine, method, problem), ours in curves.items():
        theirs = curves.get(("ray", method, problem))
        if engine != "perdure" or not theirs:
            continue
        end = length(ours, theirs)
        for epochs in (end // 2, end):
            mine, rays = best(ours, epochs), best(theirs, epochs)
            p = float(mannwhitneyu(mine, rays).pvalue)
            sign = "better" if statistics.median(mine) < statistics.median(rays) else "worse"
            tests.append((f"{method} on {problem} at {epochs} ({sign})", p))
            seeds = f"{len(mine)}, {len(rays)}"
            print(f"| {method} | {problem} | {seeds} | {epochs} | {spread(mine)} | {spread(rays)} | {p:.2f} |")
    below = [f"{name}, p = {p:.3f}" for name, p in tests if p < LEVEL]
    print(f"\nBelow {LEVEL} by themselves, of {len(tests)} tests: {'; '.join(below) or 'none'}.")
    print(f"After Holm's correction for {len(tests)} tests: {'; '.join(holm(tests)) or 'none'}.\n")


def against_random(curves: By) -> None:
    print("| engine | method | problem | epochs | method's | random search's | seeds better | p |")
    print("|---|---|---|---|---|---|---|---|")
    for (engine, method, problem), searches in curves.items():
        baseline = curves.get(("perdure", METHODS[method].baseline, problem))
        if engine == "killed" or not baseline:
            continue
        shared = sorted(searches.keys() & baseline.keys())
        epochs = [min(len(searches[seed]), len(baseline[seed])) for seed in shared]
        mine, random = (
            [min(side[seed][:spent]) for seed, spent in zip(shared, epochs, strict=True)]
            for side in (searches, baseline)
        )
        p = float(wilcoxon(mine, random, alternative="less").pvalue)
        won = f"{sum(a < b for a, b in zip(mine, random, strict=True))} of {len(mine)}"
        name = "perdure" if engine == "perdure" else "Ray"
        print(
            f"| {name} | {method} | {problem} | {statistics.median(epochs):g} | {spread(mine)} | {spread(random)} "
            f"| {won} | {p:.2g} |"
        )
    print()


def after_kills(curves: By) -> bool:
    """Print what being killed has changed; return whether all is as it should be."""
    right = True
    for (engine, method, problem), killed in curves.items():
        whole = curves.get(("perdure", method, problem))
        if engine != "killed" or not whole:
            continue
        shared = sorted(killed.keys() & whole.keys())
        if METHODS[method].slots == 1:
            same = sum(killed[seed] == whole[seed] for seed in shared)
            right = right and same == len(shared)
            print(f"- {method} on {problem}: {same} of {len(shared)} curves are the very same.")
        else:
            epochs = length(killed, whole)
            mine, uncut = best(killed, epochs), best(whole, epochs)
            p = float(mannwhitneyu(mine, uncut, alternative="greater").pvalue)
            right = right and p >= LEVEL
            figures = f"{spread(mine)} against {spread(uncut)} of {epochs} epochs, p = {p:.2f}"
            print(f"- {method} on {problem}, several at once: {figures} that killed ones are worse.")
    return right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    curves, trials = read(parser.parse_args().runs)
    against_ray(curves, "epochs")
    against_ray(trials, "trials")
    against_random(curves)
    if not after_kills(curves):
        raise SystemExit("A search that was killed and restored is not what it would have been.")


if __name__ == "__main__":
    main()
