"""Arguments of Ray's that perdure takes without doing anything with them, or refuses with a hint."""

from __future__ import annotations

import pytest

from perdure import tune


def test_sync_config_is_accepted_and_says_that_it_is_ignored() -> None:
    with pytest.warns(UserWarning, match=r"sync_config.*ignored") as seen:
        config = tune.RunConfig(sync_config=tune.SyncConfig(sync_artifacts=True))
    assert seen[0].filename == __file__
    assert config.sync_config == tune.SyncConfig(sync_artifacts=True)


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
