"""Arguments by names that are none: what to write is in the message."""

from __future__ import annotations

import inspect
import re

import pytest

from perdure import tune
from perdure.errors import ArgumentError


def objective(config: dict) -> None:
    raise AssertionError("nothing is run")


@pytest.mark.parametrize(
    ("called", "arguments", "advice"),
    [
        (tune.run, {"upload_dir": "s3://bucket"}, "tune.run(upload_dir=...): there is no such argument. Use storage_"),
        (tune.run, {"loggers": []}, "Use callbacks=[...]"),
        (tune.run, {"run_errored_only": True}, 'Use resume="AUTO+ERRORED_ONLY".'),
        (tune.run, {"verbos": 1}, "Did you mean verbose?"),
        (tune.run, {"seed": 1}, "seed is an argument of tune.TuneConfig."),
        (tune.Tuner, {"config": {}}, "Use param_space."),
        (tune.Tuner, {"num_samples": 3}, "num_samples is an argument of tune.TuneConfig."),
        (tune.Tuner, {"storage_path": "here"}, "storage_path is an argument of tune.RunConfig."),
    ],
)
def test_of_what_starts_an_experiment(called, arguments: dict, advice: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(advice)) as refused:
        called(objective, **arguments)
    assert isinstance(refused.value, TypeError)


@pytest.mark.parametrize(
    ("config", "argument", "advice"),
    [
        (tune.RunConfig, "upload_dir", "Use storage_path."),
        (tune.RunConfig, "max_failures", "max_failures is an argument of tune.FailureConfig."),
        (tune.RunConfig, "num_to_keep", "num_to_keep is an argument of tune.CheckpointConfig."),
        (tune.TuneConfig, "metrics", "Did you mean metric?"),
        (tune.TuneConfig, "stop", "stop is an argument of tune.RunConfig."),
        (tune.CheckpointConfig, "keep_checkpoints_num", "Use num_to_keep."),
        (tune.FailureConfig, "zzz", "It has fail_fast, max_failures, "),
        (tune.SyncConfig, "upload_dir", "Use RunConfig(storage_path=...)."),
    ],
)
def test_of_configurations(config: type, argument: str, advice: str) -> None:
    with pytest.raises(
        ArgumentError, match=re.escape(f"{config.__name__}({argument}=...): ") + ".*" + re.escape(advice)
    ):
        config(**{argument: 1})


def test_metrics_that_are_no_dict() -> None:
    with pytest.raises(ArgumentError, match=re.escape('write report({"loss": ..., "accuracy": ...})')):
        tune.report(loss=1, accuracy=2)


def test_the_checkpoint_dir_of_ray_1() -> None:
    with pytest.raises(ArgumentError, match="Save into the directory it gives, and report that within the block"):
        tune.checkpoint_dir(step=3)


def test_python_says_the_rest_itself() -> None:
    with pytest.raises(TypeError, match="positional argument"):
        tune.Tuner(objective, {"x": 1})  # type: ignore[misc]
    with pytest.raises(TypeError, match="metrics"):
        tune.report()  # type: ignore[call-arg]


def test_signatures_are_seen_through() -> None:
    assert list(inspect.signature(tune.report).parameters) == ["metrics", "checkpoint"]
    assert "storage_path" in inspect.signature(tune.RunConfig).parameters
    assert tune.run.__name__ == "run"
