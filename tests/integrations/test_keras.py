"""Keras 3 in a trial, on its torch backend: reports, checkpoints, and a training that goes on after a failure."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from perdure import tune
from perdure.errors import ConfigurationError


def fit(callbacks, *, fails=False):
    import keras
    import numpy as np

    from perdure.integrations.keras import load

    class Fails(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2 and fails and checkpoint is None:
                raise RuntimeError("fails")

    checkpoint = tune.get_checkpoint()
    if checkpoint:
        model, epoch = load(checkpoint)
    else:
        keras.utils.set_random_seed(0)
        model, epoch = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)]), 0
        model.compile(optimizer=keras.optimizers.Adam(0.1), loss="mse")
    x = np.linspace(-1, 1, 16).reshape(8, 2).astype("float32")
    model.fit(
        x, x.sum(axis=1), batch_size=4, shuffle=False, epochs=4, initial_epoch=epoch, verbose=0,
        callbacks=[*callbacks, Fails()],
    )  # fmt: skip


def test_a_failed_training_goes_on_as_if_it_had_not(tuner):
    from perdure.air.integrations.keras import ReportCheckpointCallback

    def train(config):
        fit([ReportCheckpointCallback(metrics=["loss"])], fails=config["fails"])

    grid = tuner(
        train,
        {"fails": tune.grid_search([False, True])},
        failure_config=tune.FailureConfig(max_failures=1),
        executor="inline",
    ).fit()
    assert [result.error for result in grid] == [None] * 2
    whole, failed = sorted(grid, key=lambda result: result.config["fails"])
    losses = list(whole.metrics_dataframe["loss"])
    assert len(losses) == 4
    assert list(failed.metrics_dataframe["loss"]) == losses
    assert failed.metrics["iterations_since_restore"] == 2
    model = ReportCheckpointCallback.get_model(failed.checkpoint)
    assert int(model.optimizer.iterations) == 8


def test_reports_at_other_times_than_it_saves(tuner):
    from perdure.tune.integration.keras import TuneReportCallback, TuneReportCheckpointCallback

    result = tuner(
        lambda config: fit([TuneReportCheckpointCallback(checkpoint_on="train_end", metrics={"mse": "loss"})]),
        executor="inline",
    ).fit()[0]
    assert result.error is None
    assert len(result.metrics_dataframe) == 5
    assert list(result.metrics_dataframe["checkpoint_dir_name"].isna()) == [True] * 4 + [False]
    assert result.metrics["mse"] > 0

    result = tuner(lambda config: fit([TuneReportCallback()]), executor="inline", name="other").fit()[0]
    assert len(result.metrics_dataframe) == 4
    assert result.checkpoint is None


def test_a_backend_that_is_not_installed_is_named_and_what_to_do():
    """Keras takes TensorFlow, which is none of the libraries of these tests, if nobody says otherwise."""
    ran = subprocess.run(
        [sys.executable, "-c", "from perdure.tune.integration.keras import TuneReportCallback"],
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ImportError: Keras is installed, but its backend tensorflow is not: install it, or set KERAS_" in ran.stderr
    assert "pip install" not in ran.stderr


def test_a_hook_that_is_not_there_is_refused():
    from perdure.tune.integration.keras import TuneReportCheckpointCallback

    with pytest.raises(ConfigurationError, match="no hook 'lunch'; it has epoch_begin"):
        TuneReportCheckpointCallback(checkpoint_on="lunch")
