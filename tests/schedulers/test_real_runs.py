"""Each scheduler once with real processes: trials pause, go on from their checkpoints, are stopped, and all end."""

import json
from pathlib import Path

import pytest

from perdure import tune
from perdure.errors import PluginError
from perdure.tune.schedulers import (
    ASHAScheduler,
    HyperBandForBOHB,
    HyperBandScheduler,
    MedianStoppingRule,
    PromotionASHAScheduler,
)

SCHEDULERS = {
    "asha": ASHAScheduler(max_t=4, reduction_factor=2),
    "promotion": PromotionASHAScheduler(max_t=4, reduction_factor=2),
    "hyperband": HyperBandScheduler(max_t=4, reduction_factor=2),
    "bohb": HyperBandForBOHB(max_t=4, reduction_factor=2),
    "median": MedianStoppingRule("training_iteration", grace_period=1, min_samples_required=2),
    "by name": "async_hyperband",
}


def train(config):
    total = 0.0
    checkpoint = tune.get_checkpoint()
    if checkpoint:
        total = json.loads((Path(checkpoint.path) / "state.json").read_text())
    while True:
        total += config["x"]
        with tune.checkpoint_dir() as directory:
            (Path(directory) / "state.json").write_text(json.dumps(total))
            tune.report({"total": total}, checkpoint=tune.Checkpoint.from_directory(directory))


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_best_trial_gets_farthest(name, tmp_path):
    results = tune.Tuner(
        train,
        param_space={"x": tune.grid_search([3, 1, 4, 2, 5, 0])},
        tune_config=tune.TuneConfig(metric="total", mode="max", scheduler=SCHEDULERS[name], max_concurrent_trials=2),
        run_config=tune.RunConfig(storage_path=str(tmp_path), name="run", stop={"training_iteration": 4}, verbose=0),
    ).fit()
    assert results.num_terminated == 6
    for result in results:
        rows = result.metrics_dataframe
        assert list(rows["training_iteration"]) == list(range(1, len(rows) + 1))
        assert list(rows["total"]) == [result.config["x"] * n for n in rows["training_iteration"]]
    assert results.get_best_result().config["x"] == 5
    steps = {result.config["x"]: result.metrics["training_iteration"] for result in results}
    assert steps[5] == 4
    assert min(steps.values()) < 4


@pytest.mark.parametrize("scheduler", [PromotionASHAScheduler, HyperBandScheduler])
def test_a_trial_that_never_saved_is_not_paused_but_its_author_told_how(scheduler, tmp_path):
    def forgets(config):
        for total in range(9):
            tune.report({"total": total})

    tuner = tune.Tuner(
        forgets,
        tune_config=tune.TuneConfig(
            metric="total", mode="max", scheduler=scheduler(max_t=9, reduction_factor=3), num_samples=4
        ),
        run_config=tune.RunConfig(storage_path=str(tmp_path), name="run", verbose=0),
    )
    with pytest.raises(PluginError, match=r"has not saved a checkpoint.*\(report\(metrics, checkpoint="):
        tuner.fit()
