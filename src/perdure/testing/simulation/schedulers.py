"""Schedulers that do to trials what real ones do, more often, and decide by chance."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from perdure.core.events import Action, Decision, Source
from perdure.schedulers.base import Controller, Judgement, TrialScheduler
from perdure.schedulers.fifo import FIFOScheduler
from perdure.schedulers.hyperband import HyperBandScheduler
from perdure.schedulers.pbt import PopulationBasedTraining
from perdure.schedulers.promotion_asha import PromotionASHAScheduler
from perdure.search_space.functions import randint
from perdure.trial_view import TrialView

FACTORS = (2, 999)


def make_scheduler(name: str, *, seed: int, steps: int, saves: bool) -> TrialScheduler:
    """Return the scheduler that a workload names."""
    match name:
        case "pausing":
            return PausingScheduler(seed, saves=saves)
        case "cloning":
            return CloningScheduler(seed)
        case "population":
            return PopulationBasedTraining(
                perturbation_interval=1, quantile_fraction=0.5, hyperparam_mutations={"factor": randint(*FACTORS)}
            )
        case "promoting":
            return PromotionASHAScheduler(max_t=steps, reduction_factor=2)
        case "halving":
            return HyperBandScheduler(max_t=steps, reduction_factor=2)
        case _:
            return FIFOScheduler()


_DRAWS = random.Random(0)  # to seed it anew takes half the time of a new one


class _Keyed(TrialScheduler):
    """Decides by chance, but always the same for the same row, so that it needs no memory."""

    def __init__(self, seed: int, *, saves: bool = False) -> None:
        super().__init__()
        self._seed = seed
        self._saves = saves

    def get_state(self) -> dict[str, Any]:
        return {}

    def _rng(self, trial: TrialView, result: dict[str, Any]) -> random.Random:
        _DRAWS.seed(f"{self._seed} {trial.trial_id} {result['training_iteration']} {result['value']}")
        return _DRAWS


class PausingScheduler(_Keyed):
    """Pauses trials now and then, and wakes paused ones."""

    def on_trial_result(self, controller: Controller, trial: TrialView, result: dict[str, Any]) -> Judgement:
        rng = self._rng(trial, result)
        wake = self._wake(controller, trial)
        saved = trial.checkpoint is not None or result["checkpoint_dir_name"] is not None or self._saves
        if saved and rng.random() < 0.3 and any(other != trial for other in controller.get_live_trials()):
            return Judgement(self.PAUSE, wake)
        return Judgement(self.CONTINUE, wake)

    def on_trial_complete(
        self, controller: Controller, trial: TrialView, result: dict[str, Any]
    ) -> Sequence[Action] | None:
        return self._wake(controller, trial)

    def on_trial_error(self, controller: Controller, trial: TrialView) -> Sequence[Action] | None:
        return self._wake(controller, trial)

    @staticmethod
    def _wake(controller: Controller, trial: TrialView) -> list[Action]:
        others = sorted(controller.get_live_trials() - {trial}, key=lambda other: other.number)
        return [Action(trial=other.trial_id, decision=Decision.CONTINUE, resume=True) for other in others]


ENOUGH = 60
"""A trial that has saved so often is cloned no more: what is drawn for a row follows from the row, and a population
whose rows come round again would go on for ever."""


def _checkpoints_of(trial: TrialView, result: dict[str, Any]) -> int:
    """Return the number of the trial's newest checkpoint, -1 without one."""
    saved = result["checkpoint_dir_name"] or (trial.checkpoint.path if trial.checkpoint is not None else "_-1")
    return int(saved.rpartition("_")[2])


class CloningScheduler(_Keyed):
    """Replaces a trial by a clone of a better one now and then, as population-based training does."""

    def on_trial_result(self, controller: Controller, trial: TrialView, result: dict[str, Any]) -> str | Judgement:
        rng = self._rng(trial, result)
        donors = sorted(
            (other for other in controller.get_trials() if other != trial and other.checkpoint is not None),
            key=lambda other: other.number,
        )
        if not donors or rng.random() > 0.25 or _checkpoints_of(trial, result) > ENOUGH:
            return self.CONTINUE
        donor = rng.choice(donors)
        assert donor.checkpoint is not None
        number = int(donor.checkpoint.path.rpartition("_")[2])
        config = {**trial.config, "factor": rng.randint(*FACTORS)}
        source = Source(trial=donor.trial_id, number=number)
        clone = Action(trial=trial.trial_id, decision=Decision.PAUSE, donor=source, config=config, resume=True)
        return Judgement(self.PAUSE, [clone])
