"""P1, P2, P4, P7: a process dies at a step of its work, the script is run again, and nobody can tell from the results.

Each case is compared with a run that nothing happened to. A point that no process passes fails its test. The whole
matrix takes a while: every point is here once or twice, and `make soak` runs every combination.
"""

from __future__ import annotations

import functools
import re
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

import perdure
from perdure.testing.faults import ALL_POINTS, fault_environment
from tests.crash.harness import (
    assert_kept,
    assert_nothing_kept_was_done_again,
    assert_whole,
    finish,
    output_of,
    start,
)
from tests.crash.matrix import SAMPLES, STEPS, Way, ways
from tests.crash.results import results_of

SHORT = {"samples": SAMPLES, "steps": STEPS, "pause": 0.002}
ONE_BY_ONE = {"concurrent": 1}
SEVERAL = {"samples": 4, "concurrent": 2, "keep": 1}


CROWDED = {
    "commit.renamed",
    "report.committed",
    "save.written",
    "template.forked",
    "session.adopted",
    "turn.decided",
    "turn.effect",
    "journal.begin",
    "sync.done",
    "durable.synced",
    "delete.manifest",
    "snapshot.renamed",
}
"""Those of which CI sees a death with several trials at a time as well."""


def _cases(among: Collection[str]) -> list[Any]:
    """Return every case; those that CI is spared are marked.

    Each point dies once in CI: its first passing with one API, a later one with the other.
    """
    cases = []
    for number, way in enumerate(ways()):
        for i, passing in enumerate(way.passes):
            for j, api in enumerate(way.apis):
                chosen = way.point in among and (number + i + j) % len(way.apis) == 0
                marks = [] if chosen else [pytest.mark.soak]
                cases.append(pytest.param(way, passing, api, id=f"{way}-{passing}-{api}", marks=marks))
    return cases


def test_every_point_in_the_code_is_in_the_matrix() -> None:
    code = "".join(path.read_text() for path in Path(perdure.__file__).parent.rglob("*.py"))
    points = set(re.findall(r'fault_point\("([a-z.]+)"\)', code))
    assert points == set(ALL_POINTS) == {way.point for way in ways()}


@pytest.mark.parametrize(("way", "passing", "api"), _cases(ALL_POINTS))
def test_a_death_leaves_no_trace(tmp_path: Path, way: Way, passing: int, api: str) -> None:
    options = {**SHORT, **ONE_BY_ONE, **way.options}
    storage = tmp_path / "killed"
    die(storage, way, passing, api, options)
    history = finish(storage, api, **_retrying(way, options))
    expected = uninterrupted(api, tuple(sorted(options.items())))
    found = results_of(history)
    assert found.keys() == expected.keys()
    for what, value in found.items():
        assert value == expected[what], what
    if options.get("every", 1) == 1:
        assert_nothing_kept_was_done_again(storage)


@pytest.mark.parametrize(("way", "passing", "api"), _cases(CROWDED))
def test_with_several_trials_at_a_time_every_row_stands_once(tmp_path: Path, way: Way, passing: int, api: str) -> None:
    options = {**SHORT, **SEVERAL, **way.options}
    storage = tmp_path / "killed"
    die(storage, way, passing, api, options)
    history = finish(storage, api, **_retrying(way, options))
    assert_whole(history, samples=4, steps=STEPS)
    for trial in history.trials.values():
        assert len(list(Path(history.path, trial.directory).glob("checkpoint_*"))) == 1
    if options.get("every", 1) == 1:
        assert_nothing_kept_was_done_again(storage)


def die(storage: Path, way: Way, passing: int, api: str, options: dict[str, Any]) -> None:
    """Run the workload until a process dies at the point, and on to where that leads."""
    options = _retrying(way, options)
    if way.resumed:
        _run(storage, api, Way("turn.report"), STEPS + 2, options)
    code = _run(storage, api, way, passing, options)
    assert code == (-9 if way.kills_driver else 0), output_of(storage).read_text()
    assert_kept(storage)


def _run(storage: Path, api: str, way: Way, passing: int, options: dict[str, Any]) -> int:
    marker = storage.parent / f"died at {way.point}"
    victims = storage.parent / "victims" if way.with_driver else None
    environment = {**way.environment, **fault_environment(way.point, nth=passing, marker=marker, victims=victims)}
    code = start(storage, api, environment=environment, **options).wait(timeout=120)
    assert marker.exists(), f"{way.point} was not passed for the {passing}. time"
    return code


def _retrying(way: Way, options: dict[str, Any]) -> dict[str, Any]:
    """A trial may fail once if it is its worker that dies: a driver's death is no failure of its trials."""
    return options if way.kills_driver else {**options, "failures": 1}


@functools.lru_cache(maxsize=None)
def uninterrupted(api: str, options: tuple[tuple[str, object], ...]) -> dict[tuple[int, str], Any]:
    """Return the results of a run that nothing happens to."""
    with tempfile.TemporaryDirectory() as directory:
        return results_of(finish(Path(directory, "whole"), api, **dict(options)))
