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
    steps_begun,
)

IN_CI, IN_SOAK = 12, 200
VICTIMS = ("driver", "driver", "worker", "template", "driver and workers", "everything")


@dataclasses.dataclass(frozen=True)
class Kill:
    """Whom it hits, and when: so long after so many steps have begun, or after the start if `steps` is 0."""

    victims: str
    steps: int
    after_s: float


@dataclasses.dataclass(frozen=True)
class Case:
    """An experiment and what befalls it."""

    seed: int
    api: str
    options: dict[str, Any]
    kills: list[Kill]
    """One for each driver but the last; it may find that driver finished."""


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
    kills = [_draw_kill(rng, options["samples"] * options["steps"]) for _ in range(rng.randint(1, 4))]
    return Case(seed=seed, api=rng.choice(["function", "class"]), options=options, kills=kills)


def _draw_kill(rng: random.Random, steps: int) -> Kill:
    if rng.random() < 0.3:
        return Kill(rng.choice(VICTIMS), 0, rng.uniform(0.1, 1.0))
    return Kill(rng.choice(VICTIMS), rng.randint(1, max(2, steps // 3)), rng.uniform(0.0, 0.06))


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
    for blow in case.kills:
        begun = steps_begun(tmp_path / "killed")
        driver = start(tmp_path / "killed", case.api, **case.options)
        while driver.poll() is None and steps_begun(tmp_path / "killed") < begun + blow.steps:
            time.sleep(0.002)
        time.sleep(blow.after_s)
        code = strike(driver, blow.victims)
        assert code in (0, -9), output_of(tmp_path / "killed").read_text()
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


def strike(driver: subprocess.Popen[bytes], victims: str) -> int:
    """Kill some of the processes of a run, as they are now, and return the driver's exit code once it is over.

    A run that is over already is let be.
    """
    if driver.poll() is not None:
        return driver.returncode
    os.kill(driver.pid, signal.SIGSTOP)  # it is to start nobody while we look
    others = family(driver)
    template = [process for process in others if _parent(process) == driver.pid]
    workers = [process for process in others if process not in template]
    chosen = {
        "driver": [],
        "worker": workers[:1],
        "template": template,
        "driver and workers": workers,
        "everything": others,
    }[victims]
    for process in chosen:
        kill(process.pid)
    if victims in ("worker", "template"):
        os.kill(driver.pid, signal.SIGCONT)
        return driver.wait(timeout=120)
    kill(driver.pid)
    driver.wait()
    assert_gone(others)
    return -9


def _parent(process: psutil.Process) -> int:
    try:
        return int(process.ppid())
    except psutil.NoSuchProcess:
        return -1
