"""Loggers of trackers whose library is not installed."""

import importlib.util
import sys

import pytest

from perdure.loggers.aim import AimLoggerCallback
from perdure.loggers.comet import CometLoggerCallback
from perdure.loggers.mlflow import MLflowLoggerCallback
from perdure.loggers.wandb import WandbLoggerCallback


@pytest.fixture(autouse=True)
def nothing_is_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


@pytest.mark.parametrize(
    ("logger", "module", "extra"),
    [
        (AimLoggerCallback, "aim", "aim"),
        (CometLoggerCallback, "comet_ml", "comet"),
        (MLflowLoggerCallback, "mlflow", "mlflow"),
        (WandbLoggerCallback, "wandb", "wandb"),
    ],
)
def test_it_is_said_before_any_trial_runs(logger, module, extra, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 12, 0))
    needs = f"{logger.__name__} needs {module}, which is not installed: pip install 'perdure[{extra}]'."
    with pytest.raises(ModuleNotFoundError) as refused:
        logger()
    assert (str(refused.value), refused.value.name) == (needs, module)


def test_where_aim_cannot_be_installed_nobody_is_told_to(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    with pytest.raises(ModuleNotFoundError, match="cannot be: .* no wheels for Python 3.13") as refused:
        AimLoggerCallback()
    assert "pip install" not in str(refused.value)
