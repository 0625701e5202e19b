"""XGBoost and LightGBM in a trial: reports, checkpoints, and a training that goes on with the model it had."""

from __future__ import annotations

import pytest

from perdure import tune
from perdure.errors import MetricError

ROUNDS = 6


def data():
    import numpy as np

    x = np.linspace(0, 1, 60).reshape(20, 3)
    return x, (x.sum(axis=1) > 1.2).astype(int)


def train_xgboost(config):
    import xgboost

    from perdure.tune.integration.xgboost import TuneReportCheckpointCallback

    class Fails(xgboost.callback.TrainingCallback):
        def after_iteration(self, model, epoch, evals_log):
            if config["fails"] and not resumed and epoch == 2:
                raise RuntimeError("fails")
            return False

    x, y = data()
    matrix = xgboost.DMatrix(x, y)
    checkpoint = tune.get_checkpoint()
    resumed = checkpoint is not None
    booster = TuneReportCheckpointCallback.get_model(checkpoint) if resumed else None
    done = booster.num_boosted_rounds() if resumed else 0
    xgboost.train(
        {"objective": "binary:logistic", "max_depth": 1, "eta": 0.3, "nthread": 1},
        matrix,
        num_boost_round=ROUNDS - done,
        evals=[(matrix, "eval")],
        xgb_model=booster,
        verbose_eval=False,
        callbacks=[
            TuneReportCheckpointCallback({"loss": "eval-logloss"}, frequency=2, checkpoint_at_end=False),
            Fails(),
        ],
    )


def train_lightgbm(config):
    import lightgbm

    from perdure.tune.integration.lightgbm import TuneReportCheckpointCallback

    def fails(env):
        if config["fails"] and not resumed and env.iteration == 2:
            raise RuntimeError("fails")

    x, y = data()
    options = {"objective": "binary", "num_leaves": 2, "min_data_in_leaf": 1, "verbose": -1, "num_threads": 1}
    dataset = lightgbm.Dataset(x, y, params=options, free_raw_data=False)
    checkpoint = tune.get_checkpoint()
    resumed = checkpoint is not None
    booster = TuneReportCheckpointCallback.get_model(checkpoint) if resumed else None
    lightgbm.train(
        options,
        dataset,
        num_boost_round=ROUNDS - (booster.current_iteration() if resumed else 0),
        valid_sets=[dataset],
        valid_names=["eval"],
        init_model=booster,
        callbacks=[TuneReportCheckpointCallback({"loss": "eval-binary_logloss"}, frequency=2), fails],
    )


@pytest.mark.parametrize("train", [train_xgboost, train_lightgbm])
def test_a_failed_training_goes_on_with_its_model(tuner, train):
    grid = tuner(
        train,
        {"fails": tune.grid_search([False, True])},
        failure_config=tune.FailureConfig(max_failures=1),
        executor="inline",
    ).fit()
    assert [result.error for result in grid] == [None] * 2
    whole, failed = sorted(grid, key=lambda result: result.config["fails"])
    losses = list(whole.metrics_dataframe["loss"])
    assert len(losses) == ROUNDS
    assert losses == sorted(losses, reverse=True)
    assert list(failed.metrics_dataframe["loss"]) == pytest.approx(losses, abs=1e-6)
    assert failed.metrics["iterations_since_restore"] == 4
    assert len(whole.best_checkpoints) == 3


def test_xgboost_reports_the_final_model_once_and_what_was_made_of_the_metrics(tuner):
    import xgboost

    from perdure.tune.integration.xgboost import TuneReportCallback, TuneReportCheckpointCallback

    x, y = data()
    options = {"n_estimators": 3, "max_depth": 1, "n_jobs": 1}

    def with_models(config):
        callback = TuneReportCheckpointCallback("validation_0-logloss", frequency=2)
        xgboost.XGBClassifier(**options, callbacks=[callback]).fit(x, y, eval_set=[(x, y)], verbose=False)

    def without(config):
        callback = TuneReportCallback(results_postprocessing_fn=lambda row: {"worst": max(row.values())})
        xgboost.XGBClassifier(**options, callbacks=[callback]).fit(x, y, eval_set=[(x, y)], verbose=False)

    result = tuner(with_models, executor="inline").fit()[0]
    # A row each round, and the last one again with the final model, as the callback cannot know which is the last.
    assert len(result.metrics_dataframe) == 4
    assert TuneReportCheckpointCallback.get_model(result.checkpoint).num_boosted_rounds() == 3
    result = tuner(without, executor="inline", name="other").fit()[0]
    assert result.metrics["worst"] > 0
    assert result.checkpoint is None


def test_lightgbm_cross_validation_reports_mean_and_spread(tuner):
    import lightgbm

    from perdure.tune.integration.lightgbm import TuneReportCallback

    x, y = data()
    options = {"objective": "binary", "num_leaves": 2, "min_data_in_leaf": 1, "verbose": -1, "num_threads": 1}

    def train(config):
        lightgbm.cv(options, lightgbm.Dataset(x, y), num_boost_round=2, nfold=2, callbacks=[TuneReportCallback()])

    result = tuner(train, executor="inline").fit()[0]
    assert len(result.metrics_dataframe) == 2
    assert result.metrics["valid-binary_logloss-mean"] > 0
    assert "valid-binary_logloss-stdv" in result.metrics


def test_a_metric_that_is_not_there_is_named_with_those_that_are(tuner):
    import xgboost

    from perdure.tune.integration.xgboost import TuneReportCheckpointCallback

    x, y = data()

    def train(config):
        model = xgboost.XGBClassifier(n_estimators=1, callbacks=[TuneReportCheckpointCallback("auc")])
        model.fit(x, y, eval_set=[(x, y)], verbose=False)

    result = tuner(train, executor="inline").fit()[0]
    assert isinstance(result.error, MetricError)
    assert "'auc'" in str(result.error)
    assert "validation_0-logloss" in str(result.error)
