"""What the benchmark scripts share: fresh processes in turn, medians, one JSON line.

A script lists its parts: functions that measure one thing once, on the engine they are given, in a process of their
own. Each is run several times, on perdure and (with `--against ray`) on Ray in turn: A B A B. What counts is the
ratio of the two medians of one run; absolute figures say more about the machine.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import dataclasses
import importlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent / "src"
RAY_ENVIRONMENT = HERE / ".ray-venv"
RAY = "ray[tune]==2.60.0"
PATIENCE_S = 900


@dataclasses.dataclass(frozen=True)
class Part:
    """One thing to measure.

    `measure(engine, directory)` returns figures by name; `engine` is "perdure" or "ray".
    """

    measure: Callable[[str, Path], dict[str, float]]
    on_ray: bool = True
    many_files: bool = False
    """What it leaves is removed after the last run: ext4 without a journal passes over each file deleted within
    some minutes whenever it makes a new one, so that the cleaning up of one run would be paid for by the next."""


@dataclasses.dataclass(frozen=True)
class Goal:
    """What a figure should be: so many `times` better than Ray's of the same run, or `at_most`/`at_least` so much."""

    figure: str
    times: float | None = None
    at_most: float | None = None
    at_least: float | None = None
    lower_is_better: bool = True
    """Only for `times`."""

    def text(self) -> str:
        if self.times is not None:
            return f"{self.times:g} times better than Ray"
        return f"at most {self.at_most:g}" if self.at_most is not None else f"at least {self.at_least:g}"

    def judge(self, ours: float, rays: float | None) -> tuple[float | None, bool | None]:
        """Return (ratio to Ray, whether the goal is met); None where it cannot be told."""
        ratio = None
        if rays:
            ratio = rays / ours if self.lower_is_better else ours / rays
        if self.times is not None:
            return ratio, None if ratio is None else ratio >= self.times
        return ratio, ours <= self.at_most if self.at_most is not None else ours >= self.at_least


def tune_of(engine: str) -> ModuleType:
    """Return `perdure.tune` or `ray.tune`: all that user code has to choose. Ray is started here, so that a figure
    that begins after this call leaves its start-up out.
    """
    if engine == "ray":
        importlib.import_module("ray").init(logging_level="ERROR", ignore_reinit_error=True)
    return importlib.import_module(f"{engine}.tune")


def medians(samples: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure."""
    names = dict.fromkeys(name for sample in samples for name in sample)
    return {name: statistics.median([s[name] for s in samples if name in s]) for name in names}


def main(script: str, parts: dict[str, Part], goals: list[Goal]) -> None:
    """Measure what the command line asks for and print one JSON line."""
    options = _options(script, parts)
    if options.measure:
        _measure_here(parts[options.measure], options)
        return
    chosen = {name: part for name, part in parts.items() if not options.only or name in options.only}
    if SOURCE.is_dir():  # as an installer does
        compileall.compile_dir(SOURCE, quiet=2)
    ray = _ray_python(options.ray_python) if options.against == "ray" else None
    samples: dict[str, dict[str, list[dict[str, float]]]] = {}
    for name, part in chosen.items():
        engines = {"perdure": sys.executable, **({"ray": ray} if ray and part.on_ray else {})}
        samples[name] = {engine: [] for engine in engines}
        with contextlib.ExitStack() as leavings:
            for turn in range(options.rounds):
                for engine, python in engines.items():
                    kept = Path(leavings.enter_context(tempfile.TemporaryDirectory())) if part.many_files else None
                    sample = _measure_apart(script, name, engine, python, kept)
                    print(
                        f"{Path(script).stem} {name} {turn + 1}/{options.rounds} {engine}: {_short(sample)}",
                        file=sys.stderr,
                    )
                    samples[name][engine].append(sample)
    print(json.dumps(_summary(script, samples, goals, options.rounds)), flush=True)


def _summary(script: str, samples: dict, goals: list[Goal], rounds: int) -> dict:
    ours: dict[str, float] = {}
    rays: dict[str, float] = {}
    for by_engine in samples.values():
        ours |= medians(by_engine["perdure"])
        rays |= medians(by_engine.get("ray", []))
    judged = []
    for goal in goals:
        if goal.figure in ours:
            ratio, met = goal.judge(ours[goal.figure], rays.get(goal.figure))
            judged.append(
                {
                    "figure": goal.figure,
                    "goal": goal.text(),
                    "perdure": ours[goal.figure],
                    "ray": rays.get(goal.figure),
                    "ratio": ratio,
                    "met": met,
                }
            )
    return {
        "benchmark": Path(script).stem,
        "rounds": rounds,
        "load": os.getloadavg()[0],
        "perdure": ours,
        "ray": rays,
        "goals": judged,
    }


def _options(script: str, parts: dict[str, Part]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=f"Measures {Path(script).stem}; prints one JSON line.")
    parser.add_argument("--against", choices=["ray"], help="run the same on Ray, in turn")
    parser.add_argument("--ray-python", help=f"a Python that has {RAY}; by default one is made in benchmarks/.ray-venv")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each part on each engine; the median counts")
    parser.add_argument("--only", action="append", choices=list(parts), help="only this part; may be repeated")
    parser.add_argument("--measure", choices=list(parts), help=argparse.SUPPRESS)
    parser.add_argument("--engine", choices=["perdure", "ray"], default="perdure", help=argparse.SUPPRESS)
    parser.add_argument("--figures", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _measure_here(part: Part, options: argparse.Namespace) -> None:
    if options.directory is not None:
        figures = part.measure(options.engine, options.directory)
    else:
        with tempfile.TemporaryDirectory(prefix="perdure-bench-", ignore_cleanup_errors=True) as directory:
            figures = part.measure(options.engine, Path(directory))
    text = json.dumps(figures)
    if options.figures:
        options.figures.write_text(text)
    else:
        print(text)


def _measure_apart(script: str, part: str, engine: str, python: str, kept: Path | None) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as directory:
        figures = Path(directory) / "figures.json"
        command = [python, script, "--measure", part, "--engine", engine, "--figures", str(figures)]
        command += [] if kept is None else ["--directory", str(kept)]
        with (Path(directory) / "output").open("w+b") as output:
            process = subprocess.Popen(
                command, env=environment(engine), stdout=output, stderr=output, cwd=directory, start_new_session=True
            )
            try:
                process.wait(PATIENCE_S)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            if not figures.exists():
                output.seek(0)
                sys.exit(
                    f"{script} --measure {part} on {engine} failed:\n{output.read().decode(errors='replace')[-3000:]}"
                )
        return json.loads(figures.read_text())


def environment(engine: str) -> dict[str, str]:
    """Return the environment of a process that measures: quiet, and with perdure's sources where there are any."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    variables |= {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_DEDUP_LOGS": "0"}
    if engine == "perdure" and SOURCE.is_dir():
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH")]))
    return variables


def _ray_python(given: str | None) -> str:
    if given:
        return given
    python = RAY_ENVIRONMENT / "bin" / "python"
    if not python.exists():
        print(f"Making {RAY_ENVIRONMENT} with {RAY} ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(RAY_ENVIRONMENT)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", RAY, "numpy"], check=True, stdout=sys.stderr)
    return str(python)


def _short(sample: dict[str, float]) -> str:
    return " ".join(f"{name}={value:.4g}" for name, value in sample.items())


@contextlib.contextmanager
def stopwatch() -> Iterator[Callable[[], float]]:
    """Yield a function that returns the seconds since."""
    started = time.perf_counter()
    yield lambda: time.perf_counter() - started


def written() -> int:
    """Return the bytes that this process, and those it has waited for, have given the disk to write."""
    for line in Path("/proc/self/io").read_text().splitlines():
        name, _, value = line.partition(": ")
        if name == "write_bytes":
            return int(value)
    raise AssertionError("no write_bytes in /proc/self/io")
