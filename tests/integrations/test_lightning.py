"""PyTorch Lightning's Trainer in a trial: reports, checkpoints, and a training that goes on after a failure."""

from __future__ import annotations

import pytest

from perdure import tune
from perdure.errors import ConfigurationError


@pytest.mark.parametrize("on", ["validation_end", "train_epoch_end"])
def test_a_failed_training_goes_on_as_if_it_had_not(tuner, on):
    import torch

    from tests.integrations.lightning_program import train

    grid = tuner(
        train,
        {"fails": tune.grid_search([False, True]), "on": on},
        failure_config=tune.FailureConfig(max_failures=1),
        executor="inline",
    ).fit()
    assert [result.error for result in grid] == [None] * 2
    whole, failed = sorted(grid, key=lambda result: result.config["fails"])
    losses = list(whole.metrics_dataframe["loss"])
    assert len(losses) == 4
    assert losses == sorted(losses, reverse=True)
    assert list(failed.metrics_dataframe["loss"]) == losses
    assert failed.metrics["iterations_since_restore"] == 2
    one, other = (
        torch.load(f"{result.checkpoint.path}/checkpoint", weights_only=False)["state_dict"]
        for result in (whole, failed)
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_reports_without_checkpoints_and_a_scheduler_that_stops_the_training(tuner):
    from perdure.tune.integration.pytorch_lightning import TuneReportCallback
    from tests.integrations.lightning_program import Module, make_data, make_trainer

    def train(config):
        make_trainer(TuneReportCallback("val_loss")).fit(Module(fails=False), make_data(), make_data())

    result = tuner(train, stop={"training_iteration": 2}, executor="inline").fit()[0]
    assert result.error is None
    assert list(result.metrics_dataframe["training_iteration"]) == [1, 2]
    assert result.metrics["val_loss"] > 0
    assert result.checkpoint is None


def test_a_hook_that_is_not_there_is_refused():
    from perdure.tune.integration.pytorch_lightning import TuneReportCheckpointCallback

    with pytest.raises(ConfigurationError, match="no hook 'lunch'; it has .*validation_end"):
        TuneReportCheckpointCallback(on="lunch")
