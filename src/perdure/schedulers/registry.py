"""Schedulers by name."""

from __future__ import annotations

from typing import Any

from perdure.errors import ConfigurationError
from perdure.schedulers.base import TrialScheduler
from perdure.schedulers.fifo import FIFOScheduler

SCHEDULERS: dict[str, type[TrialScheduler]] = {"fifo": FIFOScheduler}
PLANNED = (
    "async_hyperband", "asynchyperband", "median_stopping_rule", "medianstopping", "hyperband", "hb_bohb", "pbt",
    "pbt_replay", "pb2", "resource_changing",
)  # fmt: skip


def create_scheduler(scheduler: str, **kwargs: Any) -> TrialScheduler:
    """Return the scheduler of this name, made with `kwargs`: what `TuneConfig(scheduler="fifo")` does.

    Raises:
        ConfigurationError: there is no scheduler of this name.
    """
    name = str(scheduler).lower()
    if name in SCHEDULERS:
        return SCHEDULERS[name](**kwargs)
    known = ", ".join(SCHEDULERS)
    if name in PLANNED:
        raise ConfigurationError(
            f"The scheduler {scheduler!r} is not in this version of perdure. There are: {known}. "
            "Subclass perdure.tune.schedulers.TrialScheduler for one of your own."
        )
    raise ConfigurationError(f"There is no scheduler {scheduler!r}. There are: {known}.")


def resolve_scheduler(chosen: object) -> TrialScheduler:
    """Return the scheduler that `TuneConfig(scheduler=...)` names, or is.

    Raises:
        ConfigurationError: it is none.
    """
    if isinstance(chosen, str):
        return create_scheduler(chosen)
    if isinstance(chosen, TrialScheduler):
        return chosen
    raise ConfigurationError(
        f"TuneConfig(scheduler={chosen!r}): use a name, or an instance of a class derived from "
        "perdure.tune.schedulers.TrialScheduler."
    )
