"""`make bench`: runs every benchmark script and writes what they print as a table.

    python -m benchmarks [NAME ...] [--against ray] [--ray-python PATH] [--rounds N] [--results FILE]

Prints each script's JSON line as it comes. With `--results`, also writes a Markdown table of the goals.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPTS = (
    "start_up",
    "trials",
    "reports",
    "checkpoints",
    "recovery",
    "flat_cost",
    "population",
    "results",
    "schedulers",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Runs the benchmarks.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(SCRIPTS)} (default: all)")
    parser.add_argument("--against", choices=["ray"])
    parser.add_argument("--ray-python")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=Path, help="write the table of goals to this file")
    options = parser.parse_args()
    if unknown := set(options.names) - set(SCRIPTS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    flags = ["--rounds", str(options.rounds)]
    if options.against:
        flags += ["--against", options.against]
    if options.ray_python:
        flags += ["--ray-python", options.ray_python]
    lines = []
    for name in options.names or SCRIPTS:
        process = subprocess.run([sys.executable, str(HERE / f"{name}.py"), *flags], stdout=subprocess.PIPE, check=True)
        lines.append(json.loads(process.stdout))
        print(json.dumps(lines[-1]), flush=True)
    if options.results:
        options.results.write_text(table(lines))


def table(lines: list[dict]) -> str:
    """Return the goals of all scripts as a Markdown table."""
    python = ".".join(platform.python_version_tuple()[:2])
    rows = [
        f"{datetime.datetime.now(tz=datetime.timezone.utc).date()}, {platform.system()}, Python {python}",
        "",
        "| benchmark | figure | perdure | Ray | ratio | goal | met |",
        "|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        for goal in line["goals"]:
            ratio = "" if goal["ratio"] is None else f"{goal['ratio']:.1f}"
            met = {True: "yes", False: "**no**", None: "?"}[goal["met"]]
            ray = "" if goal["ray"] is None else f"{goal['ray']:.4g}"
            rows.append(
                f"| {line['benchmark']} | `{goal['figure']}` | {goal['perdure']:.4g} | {ray} | {ratio} "
                f"| {goal['goal']} | {met} |"
            )
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    main()
