"""Holds the searches of `run.py` against each other, as Markdown.

    python benchmarks/search/compare.py perdure.jsonl ray.jsonl killed.jsonl

For each method and problem: the best value at the end, median over the seeds, and whether one engine is worse beyond
noise: a one-sided Mann-Whitney U test over the seeds' best values at half of the epochs and at all of them, corrected
for the number of tests (Holm). For searches that were killed and restored: whether the curve is the very same (one
trial at a time), or, several at once, not worse. And whether ASHA and population-based training beat random search at
equal epochs. Needs scipy.
"""

from __future__ import annotations

import argparse
import collections
import json
import statistics
from pathlib import Path

from scipy.stats import mannwhitneyu

LEVEL = 0.05
ONE_AT_A_TIME = {"random", "optuna", "hyperopt", "bayesopt", "nevergrad", "ax"}
BEATS_RANDOM = [("asha", "random at once", "digits"), ("pbt", "random population", "descent")]

Curves = dict[int, list[float]]
"""Reported values in the order of time, by seed."""


def read(paths: list[Path]) -> dict[tuple[str, str, str], Curves]:
    curves: dict[tuple[str, str, str], Curves] = collections.defaultdict(dict)
    for path in paths:
        for line in path.read_text().splitlines():
            run = json.loads(line)
            curves[run["method"], run["problem"], run["engine"]][run["seed"]] = run["values"]
    return curves


def best(curves: Curves, epochs: int) -> list[float]:
    """Return each seed's best value after so many epochs, over all its trials."""
    return [min(values[:epochs]) for values in curves.values()]


def length(*several: Curves) -> int:
    """Return how many epochs all of them have spent at least."""
    return min(len(values) for curves in several for values in curves.values())


def worse(ours: Curves, theirs: Curves) -> list[float]:
    """Return, at half of the epochs and at all, the probability that ours are so much worse by chance."""
    epochs = length(ours, theirs)
    return [
        float(mannwhitneyu(best(ours, at), best(theirs, at), alternative="greater").pvalue)
        for at in (max(1, epochs // 2), epochs)
    ]


def holm(tests: list[tuple[str, float]]) -> list[str]:
    """Return the names of the tests that stand after Holm's correction."""
    rejected = []
    for rank, (name, p) in enumerate(sorted(tests, key=lambda test: test[1])):
        if p * (len(tests) - rank) > LEVEL:
            break
        rejected.append(name)
    return rejected


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    curves = read(parser.parse_args().runs)
    tests: list[tuple[str, float]] = []
    print("| method | problem | seeds | perdure | Ray | epochs | p (half, end) |\n|---|---|---|---|---|---|---|")
    for (method, problem, engine), ours in curves.items():
        theirs = curves.get((method, problem, "ray"))
        if engine != "perdure":
            continue
        mine, epochs = statistics.median(best(ours, length(ours))), length(ours)
        if theirs:
            epochs = length(ours, theirs)
            ps = worse(ours, theirs)
            tests += [(f"{method} on {problem} at {at}", p) for at, p in zip(("half", "the end"), ps, strict=True)]
            mine, rays = (statistics.median(best(side, epochs)) for side in (ours, theirs))
            print(
                f"| {method} | {problem} | {len(ours)}, {len(theirs)} | {mine:.4g} | {rays:.4g} | {epochs} "
                f"| {ps[0]:.2f}, {ps[1]:.2f} |"
            )
        else:
            print(f"| {method} | {problem} | {len(ours)} | {mine:.4g} | | {epochs} | |")
    print(f"\nWorse than Ray beyond noise (Holm, {len(tests)} tests): {', '.join(holm(tests)) or 'none'}.\n")

    for (method, problem, engine), killed in curves.items():
        if engine != "killed":
            continue
        whole = curves[method, problem, "perdure"]
        shared = killed.keys() & whole.keys()
        if method in ONE_AT_A_TIME:
            same = sum(killed[seed] == whole[seed] for seed in shared)
            print(f"- {method} on {problem}, killed and restored: {same} of {len(shared)} curves are the very same.")
        else:
            p = worse(killed, whole)[1]
            print(f"- {method} on {problem}, killed and restored, several at once: not worse (p = {p:.2f}).")
    for method, base, problem in BEATS_RANDOM:
        ours, theirs = curves.get((method, problem, "perdure")), curves.get((base, problem, "perdure"))
        if ours and theirs:
            epochs = length(ours, theirs)
            p = float(mannwhitneyu(best(ours, epochs), best(theirs, epochs), alternative="less").pvalue)
            mine, other = (statistics.median(best(side, epochs)) for side in (ours, theirs))
            figures = f"{mine:.4g} against {other:.4g}, p = {p:.2g}"
            print(f"- {method} against random on {problem} at {epochs} epochs: {figures}.")


if __name__ == "__main__":
    main()
