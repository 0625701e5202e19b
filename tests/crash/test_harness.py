"""The checks that the tests of this directory make would fail, each on what it is there to find."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.harness import (
    NAME,
    assert_kept,
    assert_nothing_kept_was_done_again,
    assert_whole,
    finish,
    log_of,
    read_experiment,
)
from tests.crash.results import results_of

SHORT = {"samples": 1, "steps": 2}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    storage = tmp_path_factory.mktemp("harness") / "ended"
    finish(storage, "function", **SHORT)
    return storage


def test_what_is_whole_passes(ended: Path) -> None:
    assert_kept(ended)
    assert_nothing_kept_was_done_again(ended)
    assert_whole(read_experiment(ended / NAME), **SHORT)


@pytest.mark.parametrize("check", [assert_kept, assert_nothing_kept_was_done_again])
def test_a_log_that_is_not_there_or_another_is_an_error(
    tmp_path: Path, ended: Path, check: Callable[[Path], None]
) -> None:
    storage = tmp_path / "storage"
    storage.symlink_to(ended)
    with pytest.raises(FileNotFoundError):
        check(storage)
    log_of(storage).touch()
    with pytest.raises(AssertionError):
        check(storage)


def test_a_kept_row_that_is_not_in_the_journal_is_found(tmp_path: Path, ended: Path) -> None:
    storage = tmp_path / "storage"
    storage.symlink_to(ended)
    notes = log_of(ended).read_text()
    trial = notes.split()[0]
    log_of(storage).write_text(f"{notes}{trial} begins 3\n{trial} kept 3\n")
    with pytest.raises(AssertionError, match="said to be kept"):
        assert_kept(storage)


@pytest.mark.parametrize("step", [2, 4], ids=["again", "left out"])
def test_a_step_that_is_done_again_or_left_out_is_found(tmp_path: Path, ended: Path, step: int) -> None:
    storage = tmp_path / "storage"
    notes = log_of(ended).read_text()
    log_of(storage).write_text(f"{notes}{notes.split()[0]} begins {step}\n")
    with pytest.raises(AssertionError):
        assert_nothing_kept_was_done_again(storage)


def test_a_step_too_many_in_an_event_file_is_found(ended: Path) -> None:
    history = read_experiment(ended / NAME)
    before = results_of(history)
    (trial,) = history.trials.values()
    (file,) = Path(history.path, trial.directory).glob("events.out.tfevents.*")
    content = file.read_bytes()
    try:
        file.write_bytes(content + content)
        after = results_of(history)
        assert [what for what, value in after.items() if value != before[what]] == [(0, "TensorBoard")]
        with pytest.raises(AssertionError):
            assert_whole(history, **SHORT)
    finally:
        file.write_bytes(content)
