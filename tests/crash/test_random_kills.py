"""P1, P2, P4, P7: a real experiment whose processes are killed at random moments, again and again, until it is let be.

Everything about a case is drawn from its seed but the moment itself, which is the machine's. A failure prints the
case; `PERDURE_KILL_SEEDS=17 pytest tests/crash/test_random_kills.py` runs that seed, `=0:500` a range.
"""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.crash.harness import (
    assert_gone,
    assert_kept,
    assert_nothing_kept_was_done_again,
    assert_whole,
    family,
    finish,
    kill,
    output_of,
    start,
)

IN_CI, IN_SOAK = 12, 200
VICTIMS = ("driver", "driver", "worker", "template", "driver and workers", "everything")
START_S, END_S = 0.1, 1.5
"""The moment of a kill, after the driver was started; the later ones find it finished now and then."""


@dataclasses.dataclass(frozen=True)
class Case:
    """An experiment and what befalls it."""

    seed: int
    api: str
    options: dict[str, Any]
    kills: list[tuple[str, float]]
    """Victims, and seconds after the start of a driver."""


def draw(seed: int) -> Case:
    """Return the case of a seed."""
    rng = random.Random(seed)
    options: dict[str, Any] = {
        "samples": rng.choice([3, 4, 6]),
        "steps": rng.choice([6, 12]),
        "pause": rng.choice([0.002, 0.01, 0.03]),
        "concurrent": rng.choice([1, 2, 0]),
        "every": rng.choice([1, 1, 1, 4]),
        "failures": -1,
        "reuse": rng.choice(["yes", "no"]),
        "durability": rng.choice(["default", "default", "strict"]),
        "bulk": rng.choice([0, 0, 1_100_000]),
    }
    if rng.random() < 0.5:
        options["keep"] = rng.choice([1, 2])
    kills = [(rng.choice(VICTIMS), rng.uniform(START_S, END_S)) for _ in range(rng.randint(1, 4))]
    return Case(seed=seed, api=rng.choice(["function", "class"]), options=options, kills=kills)


def _seeds() -> list[Any]:
    asked = os.environ.get("PERDURE_KILL_SEEDS")
    if asked:
        first, _, end = asked.partition(":")
        return list(range(int(first), int(end or int(first) + 1)))
    return [*range(IN_CI), *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(IN_CI, IN_SOAK))]


@pytest.mark.parametrize("seed", _seeds())
def test_kills_at_random_moments_lose_nothing(tmp_path: Path, seed: int) -> None:
    case = draw(seed)
    print(case)
    for victims, after_s in case.kills:
        driver = start(tmp_path / "killed", case.api, **case.options)
        time.sleep(after_s)
        strike(driver, victims)
        if "driver" in victims or victims == "everything":
            driver.wait()
        else:
            driver.wait(timeout=60)
            assert driver.returncode == 0, output_of(tmp_path / "killed").read_text()
        assert_kept(tmp_path / "killed")
    history = finish(tmp_path / "killed", case.api, **case.options)
    assert_whole(history, samples=case.options["samples"], steps=case.options["steps"])
    for trial in history.trials.values():
        left = len(list(Path(history.path, trial.directory).glob("checkpoint_*")))
        assert left == expected_checkpoints(case.api, case.options), (trial.id, left)
    if case.options["every"] == 1:
        assert_nothing_kept_was_done_again(tmp_path / "killed")


def expected_checkpoints(api: str, options: dict[str, Any]) -> int:
    """Return how many checkpoints of a trial are left in the end. A class also saves at the end."""
    steps, every = options["steps"], options["every"]
    made = steps // every + (steps % every > 0 and api == "class")
    return min(made, options.get("keep", made))


def strike(driver: subprocess.Popen[bytes], victims: str) -> None:
    """Kill some of the processes of a run, as they are now. One that is over already is let be."""
    if driver.poll() is not None:
        return
    os.kill(driver.pid, signal.SIGSTOP)  # it is to start nobody while we look
    try:
        others = family(driver)
        template = [process for process in others if _parent(process) == driver.pid]
        workers = [process for process in others if process not in template]
        if victims in ("driver and workers", "everything", "worker"):
            for process in workers[:1] if victims == "worker" else workers:
                kill(process.pid)
        if victims in ("everything", "template"):
            for process in template:
                kill(process.pid)
    finally:
        if victims in ("worker", "template"):
            os.kill(driver.pid, signal.SIGCONT)
        else:
            kill(driver.pid)
            driver.wait()
            assert_gone(others)


def _parent(process: psutil.Process) -> int:
    try:
        return int(process.ppid())
    except psutil.NoSuchProcess:
        return -1
