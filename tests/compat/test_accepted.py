"""Arguments of Ray's that perdure takes without doing anything with them, or refuses with a hint."""

from __future__ import annotations

import pathlib

import pytest

from perdure import tune


def test_sync_config_is_accepted_and_says_once_that_it_is_ignored(tmp_path: pathlib.Path) -> None:
    with pytest.warns(UserWarning, match=r"SyncConfig.*ignored") as seen:
        chosen = tune.SyncConfig(sync_artifacts=True)
    assert [warning.filename for warning in seen] == [__file__]
    config = tune.RunConfig(sync_config=chosen, storage_path=str(tmp_path), verbose=0)  # a warning would be an error
    grid = tune.Tuner(lambda config: {"loss": 1}, run_config=config).fit()
    tune.Tuner.restore(grid.experiment_path, stop={"training_iteration": 2}).fit()
    assert config.sync_config is chosen


def test_local_dir_names_its_successor() -> None:
    with pytest.raises(ValueError, match="storage_path"):
        tune.RunConfig(local_dir="results")


def test_the_working_directory_is_chosen_by_the_environment() -> None:
    tune.TuneConfig(chdir_to_trial_dir=True)
    with pytest.raises(ValueError, match="RAY_CHDIR_TO_TRIAL_DIR=0"):
        tune.TuneConfig(chdir_to_trial_dir=False)


@pytest.mark.parametrize("config", ["failure_config", "checkpoint_config"])
def test_none_means_the_default_configuration(config: str) -> None:
    assert getattr(tune.RunConfig(**{config: None}), config) == getattr(tune.RunConfig(), config)
