"""Schedulers by name."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from perdure.arguments import check_methods
from perdure.errors import ConfigurationError
from perdure.schedulers.base import TrialScheduler

SCHEDULERS = {
    "fifo": "fifo:FIFOScheduler",
    "async_hyperband": "async_hyperband:AsyncHyperBandScheduler",
    "asynchyperband": "async_hyperband:AsyncHyperBandScheduler",
    "asha": "async_hyperband:AsyncHyperBandScheduler",
    "promotion_asha": "promotion_asha:PromotionASHAScheduler",
    "median_stopping_rule": "median_stopping_rule:MedianStoppingRule",
    "medianstopping": "median_stopping_rule:MedianStoppingRule",
    "hyperband": "hyperband:HyperBandScheduler",
    "hb_bohb": "hb_bohb:HyperBandForBOHB",
    "pbt": "pbt:PopulationBasedTraining",
    "pbt_replay": "pbt_replay:PopulationBasedTrainingReplay",
    "pb2": "pb2:PB2",
    "resource_changing": "resource_changing:ResourceChangingScheduler",
}
"""Module and class of each, loaded when it is asked for."""


def create_scheduler(scheduler: str, **kwargs: Any) -> TrialScheduler:
    """Return the scheduler of this name, made with `kwargs`: what `TuneConfig(scheduler="fifo")` does.

    Raises:
        ConfigurationError: there is no scheduler of this name.
    """
    name = str(scheduler).lower()
    if name in SCHEDULERS:
        module, _, kind = SCHEDULERS[name].partition(":")
        made = getattr(import_module(f"perdure.schedulers.{module}"), kind)(**kwargs)
        assert isinstance(made, TrialScheduler)
        return made
    known = ", ".join(SCHEDULERS)
    raise ConfigurationError(f"There is no scheduler {scheduler!r}. There are: {known}.")


def resolve_scheduler(chosen: object) -> TrialScheduler:
    """Return the scheduler that `TuneConfig(scheduler=...)` names, or is.

    Raises:
        ConfigurationError: it is none, or lacks a method.
    """
    if isinstance(chosen, str):
        return create_scheduler(chosen)
    if isinstance(chosen, TrialScheduler):
        check_methods(chosen, TrialScheduler, "on_trial_result")
        return chosen
    raise ConfigurationError(
        f"TuneConfig(scheduler={chosen!r}): use a name, or an instance of a class derived from "
        "perdure.tune.schedulers.TrialScheduler."
    )
