"""How `ResourceChangingScheduler` shares out what is free: evenly, or to the best trial."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from perdure.arguments import named_arguments
from perdure.errors import ConfigurationError
from perdure.rows import leaf
from perdure.schedulers.base import Controller
from perdure.trainable.wrappers import PlacementGroupFactory
from perdure.trial_view import TrialView

if TYPE_CHECKING:
    from perdure.schedulers.resource_changing import ResourceChangingScheduler

_SHARED = ("CPU", "GPU")
_LITTLE = 1e-9


@named_arguments()
class DistributeResources:
    """Shares free CPUs and GPUs evenly among the unfinished trials, in units of `increase_by`.

    A trial never has less than it began with. Where trials wait for room, those that have more than that give it back.
    At a row it looks at the trials that run or wait for room, not at those that are paused or finished.

    Args:
        add_bundles: What is added makes bundles of its own; otherwise it is added to the only one.
        increase_by: The unit: amounts of "CPU" and "GPU". By default one GPU for trials that have any, otherwise one
            CPU; with `add_bundles`, the last bundle that the trial began with.
        increase_by_times: A trial gets at most so many units; below 1 there is no limit.
        reserve_resources: Amounts that are left alone.

    Raises:
        ConfigurationError: `increase_by` is no unit of CPUs and GPUs.
    """

    def __init__(
        self,
        add_bundles: bool = False,
        increase_by: dict[str, float] | None = None,
        increase_by_times: int = -1,
        reserve_resources: dict[str, float] | None = None,
    ) -> None:
        self.add_bundles = add_bundles
        self.increase_by = increase_by or {}
        self.increase_by_times = increase_by_times
        self.reserve_resources = reserve_resources or {}
        if increase_by is not None and (
            any(amount < 0 for amount in increase_by.values()) or not any(increase_by.get(name) for name in _SHARED)
        ):
            raise ConfigurationError(
                f'increase_by={increase_by!r}: use amounts of "CPU" and "GPU", at least one of them above 0.'
            )

    def __call__(
        self,
        tune_controller: Controller,
        trial: TrialView,
        result: dict[str, Any],
        scheduler: ResourceChangingScheduler,
    ) -> PlacementGroupFactory | None:
        """Return what the trial is to have now.

        Raises:
            ConfigurationError: trials have several bundles, and `add_bundles` is False.
        """
        base = scheduler.base_trial_resources
        if base is None:
            return None
        if len(base.bundles) > 1 and not self.add_bundles:
            raise ConfigurationError(
                f"Each trial has {len(base.bundles)} bundles, and {type(self).__name__}(add_bundles=False) would not "
                "know to which of them to add. Use add_bundles=True."
            )
        share = Share(self, tune_controller, base)
        if trial not in share.trials:
            return None  # a person has it pause with this row: it keeps what it has, and is looked at when it goes on
        return share.factory(self._units(share, trial, result))

    def _units(self, share: Share, trial: TrialView, result: dict[str, Any]) -> int:
        """Return how many units beyond its base the trial is to have."""
        return share.changed(trial, limit=share.even())


@named_arguments()
class DistributeResourcesToTopJob(DistributeResources):
    """Gives all that is free to the best trial; those that were the best before keep what they have.

    Args:
        add_bundles, increase_by, increase_by_times, reserve_resources: See `DistributeResources`. Once the best trial
            has `increase_by_times` units, the next best is served.
        metric, mode: What trials are compared by; by default those of the scheduler.
    """

    def __init__(
        self,
        add_bundles: bool = False,
        increase_by: dict[str, float] | None = None,
        increase_by_times: int = -1,
        reserve_resources: dict[str, float] | None = None,
        metric: str | None = None,
        mode: str | None = None,
    ) -> None:
        super().__init__(add_bundles, increase_by, increase_by_times, reserve_resources)
        self.metric = metric
        self.mode = mode

    def _units(self, share: Share, trial: TrialView, result: dict[str, Any]) -> int:
        metric = self.metric
        if metric is None or self.mode not in ("min", "max"):
            raise ConfigurationError(
                "DistributeResourcesToTopJob compares trials: give metric and mode to it, to the base scheduler, or to "
                "TuneConfig."
            )
        sign = 1.0 if self.mode == "max" else -1.0

        def score(other: TrialView) -> float:
            value = leaf(result if other.trial_id == trial.trial_id else other.last_result, metric)
            return -math.inf if value is None or math.isnan(value) else sign * float(value)

        ranked = sorted(share.trials, key=lambda other: (-score(other), other.number))
        limit = self.increase_by_times
        best = next((other for other in ranked if limit < 1 or share.units(other) < limit), ranked[0])
        if best.trial_id != trial.trial_id and share.free_units() >= 0:
            return share.units(trial)
        return share.changed(trial, limit=None)


class Share:
    """What there is to share at one moment, counted in units."""

    def __init__(self, rule: DistributeResources, controller: Controller, base: PlacementGroupFactory) -> None:
        self._rule = rule
        self._base = base
        self._least = base.required_resources
        self.unit = self._unit()
        self.trials = sorted(controller.get_active_trials(), key=lambda trial: trial.number)
        # A trial that waits to be created needs room as much as one that waits for it.
        self._to_come = 1 if controller.expects_more and not controller.count(TrialView.PENDING) else 0
        reserved = rule.reserve_resources
        self._total = {name: controller.capacity.get(name, 0.0) - reserved.get(name, 0.0) for name in _SHARED}

    def _unit(self) -> Mapping[str, float]:
        if self._rule.increase_by:
            return self._rule.increase_by
        if self._rule.add_bundles:
            return self._base.bundles[-1]
        return {"GPU": 1.0} if self._base.bundles[0].get("GPU") else {"CPU": 1.0}

    def units(self, trial: TrialView) -> int:
        """Return how many units beyond its base a trial has."""
        return self._fitting({name: trial.resources.get(name, 0.0) - self._least.get(name, 0.0) for name in _SHARED})

    def free_units(self) -> int:
        """Return how many units nobody has; below 0, how many are missing for those that wait."""
        used = {name: sum(trial.resources.get(name, 0.0) for trial in self.trials) for name in _SHARED}
        return self._fitting(
            {name: self._total[name] - used[name] - self._to_come * self._least.get(name, 0.0) for name in _SHARED}
        )

    def even(self) -> int:
        """Return how many units the first of equals would have if all were shared out anew."""
        count = len(self.trials) + self._to_come
        spare = {name: self._total[name] - count * self._least.get(name, 0.0) for name in _SHARED}
        return max(0, math.ceil(self._fitting(spare) / count))

    def changed(self, trial: TrialView, *, limit: int | None) -> int:
        """Return a trial's units with all that is free, or without what is missing, within the limits."""
        has, free = self.units(trial), self.free_units()
        if free <= 0:
            return max(0, has + free)
        units = has + free if limit is None else min(has + free, limit)
        return min(units, self._rule.increase_by_times) if self._rule.increase_by_times >= 1 else units

    def factory(self, units: int) -> PlacementGroupFactory:
        """Return the base with so many units added."""
        bundles = self._base.bundles
        if self._rule.add_bundles:
            bundles += [dict(self.unit)] * units
        else:
            bundles[0] = {
                name: bundles[0].get(name, 0.0) + units * self.unit.get(name, 0.0)
                for name in {**bundles[0], **self.unit}
            }
        return PlacementGroupFactory(bundles, strategy=self._base.strategy)

    def _fitting(self, amounts: Mapping[str, float]) -> int:
        """Return how many whole units these amounts are."""
        sizes = {name: self.unit.get(name, 0.0) for name in _SHARED}
        return min(math.floor(amounts[name] / size + _LITTLE) for name, size in sizes.items() if size > 0)
