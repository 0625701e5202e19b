"""Any byte of any file: damage is repaired from what is left, or refused by name; never silent, never a wrong result.

What is a view (see `assessment.VIEWS`) is not read back: there the run must go on, and come out right.
"""

from __future__ import annotations

import os
import pickle
import random
import re
from pathlib import Path

import pytest

from perdure.trainable.failure import ERROR_PICKLE
from tests.damage.assessment import Damage, assess, damages, files_of, is_of_a_seal_alone
from tests.damage.experiment import NAME

SEED = int(os.environ.get("PERDURE_DAMAGE_SEED", "1"))


def check(original: Path, cases: list[Damage], scratch: Path) -> None:
    """Assess every case, and fail with all that went wrong."""
    wrong = [f"{damage}: {text}" for damage in cases for text in assess(original, damage, scratch)]
    assert not wrong, f"{len(wrong)} of {len(cases)} (seed {SEED}):\n" + "\n".join(wrong)


def test_the_experiments_have_every_kind_of_file(finished: Path, interrupted: Path) -> None:
    for path in (finished, interrupted):
        names = {file.name.partition("0")[0] for file in path.rglob("*")}
        assert names >= {
            *("journal-", "journal.head", "claim.json", "loggers.json", "state.json", "plugins.json", "stopper.pkl"),
            *("trainable.pkl", "tuner.pkl", "params.pkl", "params.json", "result.json", "progress.csv"),
            *(".perdure.json", ".perdure-digests.json", "step.txt", "value.txt", "checkpoint_"),
            *(".perdure-metadata.json", "error.pkl", "control"),
        }
        assert list(path.glob("control/*.json"))
        assert any(name.startswith("parameter-table-") for name in names)


@pytest.mark.parametrize("part", range(4))
def test_finished(finished: Path, tmp_path: Path, part: int) -> None:
    cases = list(damages(finished, random.Random(SEED), flips=2, cuts=1, zeros=1))
    check(finished, cases[part::4], tmp_path)


@pytest.mark.parametrize("part", range(4))
def test_interrupted(interrupted: Path, tmp_path: Path, part: int) -> None:
    cases = [
        damage
        for damage in damages(interrupted, random.Random(SEED), flips=1, cuts=1, zeros=0)
        if damage.kind != "remove" or "checkpoint_" not in damage.file
    ]
    check(interrupted, cases[part::4], tmp_path)


def test_a_lost_last_byte_of_each_kind_of_file(finished: Path, tmp_path: Path) -> None:
    """Of many it is a line's end, without which all that was said is still there."""
    kinds = {re.sub(r"[0-9a-f]{2,}|\d", "", Path(file).name): file for file in files_of(finished)}
    cases = [Damage(file, "cut", (finished / file).stat().st_size - 1) for file in kinds.values()]
    check(finished, cases, tmp_path)


def test_an_exception_that_has_lost_its_digest_and_nothing_else(finished: Path, tmp_path: Path) -> None:
    files = [file for file in files_of(finished) if Path(file).name == ERROR_PICKLE]
    cases = [Damage(file, "cut", at) for file in files for at in range((finished / file).stat().st_size)]
    (lost,) = [damage for damage in cases if is_of_a_seal_alone(damage, finished)]
    check(finished, [lost], tmp_path)
    pickle.loads((tmp_path / finished.name / lost.file).read_bytes())


@pytest.mark.parametrize("kind", ["flip", "cut"])
def test_the_journal_of_an_interrupted_experiment(interrupted: Path, tmp_path: Path, kind: str) -> None:
    rng = random.Random(f"{SEED} {kind}")
    journals = [Damage(path.name, "") for path in interrupted.glob("journal-*.jsonl")]
    cases = []
    for journal in journals:
        size = (interrupted / journal.file).stat().st_size * (8 if kind == "flip" else 1)
        cases += [Damage(journal.file, kind, rng.randrange(size)) for _ in range(8)]
    check(interrupted, cases, tmp_path)


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("which", ["finished", "interrupted"])
def test_many_more(which: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    original = request.getfixturevalue(which)
    assert original.name == NAME
    for seed in range(int(os.environ.get("PERDURE_DAMAGE_ROUNDS", "20"))):
        check(original, list(damages(original, random.Random(seed), flips=12, cuts=8, zeros=6)), tmp_path)
