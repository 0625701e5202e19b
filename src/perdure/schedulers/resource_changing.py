"""Trials that get more resources while they run: what others do not use goes to those that remain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Union

from perdure.arguments import named_arguments
from perdure.core.events import Action, Decision
from perdure.errors import ConfigurationError, PluginError
from perdure.schedulers.allocation import DistributeResources
from perdure.schedulers.base import Answer, Controller, Judgement, TrialScheduler, hand_over, judgement
from perdure.schedulers.fifo import FIFOScheduler
from perdure.trainable.wrappers import PlacementGroupFactory, bundles_of
from perdure.trial_view import TrialView

Resources = Union[PlacementGroupFactory, Mapping[str, float], None]
Allocation = Callable[[Controller, TrialView, dict[str, Any], "ResourceChangingScheduler"], Resources]


@named_arguments()
class ResourceChangingScheduler(TrialScheduler):
    """Lets another scheduler decide about trials, and changes what resources they have.

    After each row that comes with a checkpoint `resources_allocation_function` says what its trial is to have. If that
    is something else than it has, the trial is paused and goes on from its checkpoint with it:
    `tune.get_context().get_trial_resources()`, or `trial_resources` of a class, say what it has. A function trainable
    that never saves a checkpoint keeps what it began with.

    Args:
        base_scheduler: Decides which trials go on; first come, first served if None.
        resources_allocation_function: Called with (controller, trial, result, this scheduler); returns a
            PlacementGroupFactory, amounts by name, or None for no change. `controller.capacity` says what there is and
            `trial.resources` what a trial has. None changes nothing at all.

    Raises:
        ConfigurationError: `base_scheduler` is none, or the function cannot be called.
    """

    def __init__(
        self,
        base_scheduler: TrialScheduler | None = None,
        resources_allocation_function: Allocation | None = DistributeResources(),  # noqa: B008 - Ray's default; holds no state
    ) -> None:
        super().__init__()
        base = FIFOScheduler() if base_scheduler is None else base_scheduler
        if not isinstance(base, TrialScheduler):
            raise ConfigurationError(f"base_scheduler={base!r}: use a scheduler of perdure.tune.schedulers.")
        if not (resources_allocation_function is None or callable(resources_allocation_function)):
            raise ConfigurationError(
                f"resources_allocation_function={resources_allocation_function!r}: use a function of (controller, "
                "trial, result, scheduler), or None."
            )
        self._base_scheduler = base
        self._allocate = resources_allocation_function
        self._base_trial_resources: PlacementGroupFactory | None = None
        self._trainable: Any = None
        self._saves = False

    @property
    def metric(self) -> str | None:
        """The metric by which the base scheduler judges trials."""
        return self._base_scheduler.metric

    @property
    def base_trial_resources(self) -> PlacementGroupFactory | None:
        """What each trial begins with; None before there is one."""
        return self._base_trial_resources

    @property
    def writes_policies(self) -> bool:
        """Whether the base scheduler has its policies written."""
        return self._base_scheduler.writes_policies

    @property
    def adds_to_rows(self) -> bool:
        """Whether the base scheduler adds columns to rows."""
        return self._base_scheduler.adds_to_rows

    @property
    def chooses_trials(self) -> bool:
        """Whether the base scheduler has its own idea of which trial runs next."""
        return self._base_scheduler.chooses_trials

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Take over the metric and mode of TuneConfig; return False if the base scheduler was made with its own.

        Raises:
            ConfigurationError: TuneConfig(reuse_actors=True), with which a process keeps the resources it has.
        """
        if spec.get("reuse_actors"):
            raise ConfigurationError(
                "ResourceChangingScheduler cannot be used with TuneConfig(reuse_actors=True): a process that is kept "
                "keeps its resources. Set reuse_actors=False."
            )
        self._trainable = spec.get("trainable", self._trainable)
        self._saves = bool(spec.get("saves", self._saves))
        taken = hand_over(self._base_scheduler, metric, mode, **spec)
        for name, value in (("metric", metric), ("mode", mode)):
            if getattr(self._allocate, name, "") is None:  # what DistributeResourcesToTopJob compares trials by
                setattr(self._allocate, name, getattr(self._base_scheduler, f"_{name}", None) or value)
        return taken

    # --- what the base scheduler decides ----------------------------------------------------------------------------

    def prepare_config(self, number: int, config: dict[str, Any]) -> dict[str, Any]:
        """Return the configuration that the base scheduler wants."""
        return self._base_scheduler.prepare_config(number, config)

    def on_trial_add(self, controller: Controller, trial: TrialView) -> None:
        """Take what the first trial has as what each of them begins with.

        Raises:
            ConfigurationError: another trial begins with something else.
        """
        begins_with = self._asked_for(trial)
        if self._base_trial_resources is None:
            self._base_trial_resources = begins_with
        elif begins_with != self._base_trial_resources:
            raise ConfigurationError(
                f"Trial {trial.trial_id} begins with {begins_with.required_resources}, and the first one began with "
                f"{self._base_trial_resources.required_resources}: ResourceChangingScheduler needs trials that all "
                "begin with the same."
            )
        self._base_scheduler.on_trial_add(controller, trial)

    def on_trial_error(self, controller: Controller, trial: TrialView) -> Sequence[Action] | None:
        """Tell the base scheduler."""
        return self._base_scheduler.on_trial_error(controller, trial)

    def on_trial_complete(
        self, controller: Controller, trial: TrialView, result: dict[str, Any]
    ) -> Sequence[Action] | None:
        """Tell the base scheduler."""
        return self._base_scheduler.on_trial_complete(controller, trial, result)

    def on_trial_remove(self, controller: Controller, trial: TrialView) -> Sequence[Action] | None:
        """Tell the base scheduler."""
        return self._base_scheduler.on_trial_remove(controller, trial)

    def choose_trial_to_run(self, controller: Controller) -> TrialView | None:
        """Return what the base scheduler chooses."""
        return self._base_scheduler.choose_trial_to_run(controller)

    def wake(self, controller: Controller) -> Sequence[Action]:
        """Return which paused trials the base scheduler has go on."""
        return self._base_scheduler.wake(controller)

    def promote(self, controller: Controller) -> Sequence[Action]:
        """Return which paused trials the base scheduler has go on before a new one begins."""
        return self._base_scheduler.promote(controller)

    def on_trial_result(self, controller: Controller, trial: TrialView, result: dict[str, Any]) -> Answer:
        """Return what the base scheduler decides; if the trial goes on, perhaps with other resources."""
        answer = self._base_scheduler.on_trial_result(controller, trial, result)
        decision, actions = judgement(self._base_scheduler, trial.trial_id, answer)
        if decision is not Decision.CONTINUE or actions:
            return answer
        if result.get("checkpoint_dir_name") is None and not self._saves:
            return answer
        resources = self._wanted(controller, trial, result)
        if resources is None or resources == trial.resources:
            return answer
        return Judgement(
            self.PAUSE, [Action(trial=trial.trial_id, decision=Decision.PAUSE, resources=resources, resume=True)]
        )

    def on_trial_retold(
        self,
        controller: Controller,
        trial: TrialView,
        result: dict[str, Any],
        decision: str,
        actions: Sequence[Action],
    ) -> None:
        """Tell the base scheduler what it had decided."""
        if any(action.resources is not None for action in actions):
            decision, actions = self.CONTINUE, ()
        self._base_scheduler.on_trial_retold(controller, trial, result, decision, actions)

    def on_actions_retold(self, controller: Controller, actions: Sequence[Action]) -> None:
        """Tell the base scheduler."""
        self._base_scheduler.on_actions_retold(controller, actions)

    def _asked_for(self, trial: TrialView) -> PlacementGroupFactory:
        """Return what a trial begins with."""
        if self._trainable is not None:
            return bundles_of(self._trainable, trial.config)
        return PlacementGroupFactory([trial.resources or {"CPU": 0.0}])

    def _wanted(self, controller: Controller, trial: TrialView, result: dict[str, Any]) -> dict[str, float] | None:
        if self._allocate is None:
            return None
        if self._base_trial_resources is None:
            self._base_trial_resources = self._asked_for(trial)
        trial.placement_group_factory = PlacementGroupFactory([trial.resources])  # type: ignore[attr-defined]
        said = self._allocate(controller, trial, result, self)
        if said is None:
            return None
        if not isinstance(said, (PlacementGroupFactory, Mapping)):
            raise PluginError(
                f"resources_allocation_function returned {said!r} for trial {trial.trial_id}; it must return what the "
                "trial is to have (a dict such as {'cpu': 2}, or a PlacementGroupFactory), or None for no change."
            )
        return (said if isinstance(said, PlacementGroupFactory) else PlacementGroupFactory([said])).required_resources

    # --- state ------------------------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any] | None:
        """Return the base scheduler's state, and what trials begin with; None if the base scheduler has no such."""
        base, began = self._base_scheduler.get_state(), self._base_trial_resources
        if base is None:
            return None
        bundles = None if began is None else {"bundles": began.bundles, "strategy": began.strategy}
        return {"base": base, "began_with": bundles}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_state` returned."""
        if state["base"]:
            self._base_scheduler.set_state(state["base"])
        began = state["began_with"]
        if began is not None and self._trainable is None:  # else a restore may have been asked for other resources
            self._base_trial_resources = PlacementGroupFactory(**began)

    def debug_string(self) -> str:
        """Return a line for people."""
        return f"Resources change; {self._base_scheduler.debug_string()}"
