"""What a restore is given anew is what runs, and what the next restore finds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perdure import tune
from perdure.cli.verify import examine
from perdure.errors import ResourceError
from perdure.history import read_experiment


def trainable(*, broken: bool) -> Callable[[dict[str, Any]], None]:
    def train(config: dict[str, Any]) -> None:
        tune.report({"step": 1, "broken": broken})
        if broken:
            raise RuntimeError("a bug")

    return train


def first_session(tmp_path: Path) -> Path:
    run_config = tune.RunConfig(name="exp", storage_path=str(tmp_path), verbose=0, executor="inline")
    grid = tune.Tuner(trainable(broken=True), run_config=run_config).fit()
    assert grid.num_errors == 1
    return tmp_path / "exp"


def test_a_trainable_that_was_mended_is_the_one_that_runs(tmp_path: Path) -> None:
    path = first_session(tmp_path)
    grid = tune.Tuner.restore(path, trainable(broken=False), resume_errored=True).fit()
    assert grid.num_errors == 0
    assert grid[0].metrics["broken"] is False


def test_a_trainable_that_was_mended_is_the_one_that_is_stored(tmp_path: Path) -> None:
    path = first_session(tmp_path)
    tune.Tuner.restore(path, trainable(broken=False)).fit()
    grid = tune.Tuner.restore(path, restart_errored=True).fit()
    assert grid.num_errors == 0
    assert examine(path).problems == []


def test_the_same_trainable_is_stored_once(tmp_path: Path) -> None:
    path = first_session(tmp_path)
    before = read_experiment(path).state.pickles
    tune.Tuner.restore(path, trainable(broken=True)).fit()
    assert read_experiment(path).state.pickles == before
    assert sorted(file.name for file in path.glob("*.pkl")) == ["trainable.pkl", "tuner.pkl"]


def test_files_that_no_record_names_are_removed(tmp_path: Path) -> None:
    """A driver died between writing them and journaling that it had."""
    path = first_session(tmp_path)
    (path / "trainable-000009.pkl").write_bytes(b"never journaled")
    tune.Tuner.restore(path, trainable(broken=False)).fit()
    assert not (path / "trainable-000009.pkl").exists()


def test_so_are_parameters_and_a_users_own_files_are_not(tmp_path: Path) -> None:
    path = first_session(tmp_path)
    never_journaled = path / f"parameter-table-{'0a' * 8}.pkl"
    own = [path / name for name in ("trainable_backup.pkl", "tuner-old.pkl", "parameter-mine.pkl")]
    for file in (never_journaled, *own):
        file.write_bytes(b"x")
    tune.Tuner.restore(path, trainable(broken=False)).fit()
    assert not never_journaled.exists()
    assert all(file.exists() for file in own)


@pytest.mark.parametrize("given", [{}, {"time_budget_s": 100}])
def test_a_restored_tuner_reverts_nothing_that_another_session_changed(tmp_path: Path, given: dict[str, Any]) -> None:
    path = first_session(tmp_path)
    before = tune.Tuner.restore(path, **given)
    tune.Tuner.restore(path, num_samples=3).fit()
    assert len(before.fit()) == 3
    assert len(before.fit()) == 3
    assert read_experiment(path).state.spec.num_samples == 3
    assert tune.Tuner.restore(path).definition.tune_config.num_samples == 3


def test_experiments_of_the_same_second_have_their_own_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.definition.time.strftime", lambda *_: "noon")
    run_config = tune.RunConfig(storage_path=str(tmp_path), verbose=0, executor="inline")
    tuners = [tune.Tuner(trainable(broken=False), run_config=run_config) for _ in range(3)]
    paths = [tuner.fit().experiment_path for tuner in tuners]
    assert [Path(path).name for path in paths] == ["train_noon", "train_noon-2", "train_noon-3"]
    assert [tuner.experiment_path for tuner in tuners] == paths


def test_an_experiment_without_a_name_that_cannot_start_leaves_nothing(tmp_path: Path) -> None:
    run_config = tune.RunConfig(storage_path=str(tmp_path), verbose=0)
    tuner = tune.Tuner(tune.with_resources(trainable(broken=False), {"cpu": 10**6}), run_config=run_config)
    with pytest.raises(ResourceError):
        tuner.fit()
    assert list(tmp_path.iterdir()) == []
