"""Real schedulers under every fault: what they decide is done once, and each knows what its journal tells a new one.

Besides, what every simulation checks: the experiment ends, and nobody is left paused.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perdure.core.events import Action, AnyEvent, AttemptPlanned, Decision, Reported, TrialActed
from perdure.core.state import State
from perdure.journal import codec
from perdure.journal.memory import MemoryJournal, MemoryStore
from perdure.retelling import Retelling
from perdure.schedulers.allocation import DistributeResources, DistributeResourcesToTopJob
from perdure.schedulers.async_hyperband import AsyncHyperBandScheduler
from perdure.schedulers.base import TrialScheduler, configure
from perdure.schedulers.hb_bohb import HyperBandForBOHB
from perdure.schedulers.hyperband import HyperBandScheduler
from perdure.schedulers.median_stopping_rule import MedianStoppingRule
from perdure.schedulers.pb2 import PB2
from perdure.schedulers.pbt import PopulationBasedTraining
from perdure.schedulers.pbt_replay import PopulationBasedTrainingReplay
from perdure.schedulers.promotion_asha import PromotionASHAScheduler
from perdure.schedulers.resource_changing import ResourceChangingScheduler
from perdure.search_space.functions import randint
from perdure.testing.simulation import BrokenPromiseError, Case, World, draw
from perdure.testing.simulation.faults import draw_faults
from perdure.testing.simulation.invariants import Ledger
from perdure.testing.simulation.machine import stand_ins
from perdure.testing.simulation.run import PATH
from perdure.testing.simulation.schedulers import FACTORS

SEEDS = 100
CHECKED = 8
"""What a scheduler knows is compared after one in so many batches of the journal, and once all is over."""
ITERATION = "training_iteration"
MUTATIONS = {"factor": randint(*FACTORS)}
MAKERS: dict[str, Callable[[int], TrialScheduler]] = {
    "asha": lambda steps: AsyncHyperBandScheduler(max_t=steps, reduction_factor=2),
    "asha in brackets": lambda steps: AsyncHyperBandScheduler(
        max_t=max(1, steps - 1), reduction_factor=2, brackets=2, stop_last_trials=False
    ),
    "promotion": lambda steps: PromotionASHAScheduler(max_t=steps, reduction_factor=2),
    "hyperband": lambda steps: HyperBandScheduler(max_t=steps, reduction_factor=2),
    "bohb": lambda steps: HyperBandForBOHB(max_t=steps, reduction_factor=2),
    "median": lambda steps: MedianStoppingRule(ITERATION, grace_period=1, min_samples_required=1),
    "median in seconds, soft": lambda steps: MedianStoppingRule(
        grace_period=0.2, min_samples_required=2, hard_stop=False
    ),
    "population": lambda steps: PopulationBasedTraining(
        ITERATION, perturbation_interval=1, quantile_fraction=0.5, hyperparam_mutations=MUTATIONS
    ),
    "population together": lambda steps: PopulationBasedTraining(
        ITERATION, perturbation_interval=1, quantile_fraction=0.5, hyperparam_mutations=MUTATIONS, synch=True
    ),
    "pb2": lambda steps: PB2(
        ITERATION, perturbation_interval=2, quantile_fraction=0.5, hyperparam_bounds={"factor": FACTORS}
    ),
    "pb2 together": lambda steps: PB2(
        ITERATION, perturbation_interval=2, quantile_fraction=0.5, hyperparam_bounds={"factor": FACTORS}, synch=True
    ),
    "resources": lambda steps: ResourceChangingScheduler(None, DistributeResources()),
    "resources to the best of asha": lambda steps: ResourceChangingScheduler(
        AsyncHyperBandScheduler(max_t=steps, reduction_factor=2), DistributeResourcesToTopJob()
    ),
    "resources of hyperband": lambda steps: ResourceChangingScheduler(
        HyperBandScheduler(max_t=steps, reduction_factor=2), DistributeResources()
    ),
}
REPLAYED = "replay"
CHANGES = [(1, 7), (2, 5), (4, 3)]
"""Iterations after which the policy that is replayed goes on with another factor."""
LASTING = {"median in seconds, soft", "resources", REPLAYED}
"""Under these each trial does all its steps."""


class Scheduled(World):
    """An experiment with one of these schedulers, made anew for each session."""

    def __init__(self, name: str, seed: int, make: Callable[[int], TrialScheduler]) -> None:
        self.make = make
        super().__init__(seed, case=scheduled(name, seed))

    def make_scheduler(self) -> TrialScheduler:
        return self.make(self.workload.steps)

    def make_ledger(self) -> Ledger:
        return Telling(self)

    @property
    def telling(self) -> Telling:
        assert isinstance(self.ledger, Telling)
        return self.ledger


class Telling(Ledger):
    """Tells a new scheduler what the journal holds, and compares it with the one that decided."""

    def __init__(self, world: Scheduled) -> None:
        super().__init__(world.disk, PATH, world.workload)
        self._world = world
        self._lines: list[bytes] = []
        self._batches = 0
        self._woken: set[str] = set()
        self._stopped: set[str] = set()
        self.decided: list[Action] = []
        """What the scheduler did with trials, beyond what becomes of the one that reports."""

    def reopened(self, events: Iterable[AnyEvent], state: State, *, power_cut: bool) -> None:
        events = list(events)
        if power_cut:
            self._lines, self.decided = [], []
            self._woken, self._stopped = set(), set()
        self._take(events)
        super().reopened(events, state, power_cut=power_cut)

    def journaled(self, events: Iterable[AnyEvent], state: State, sequence: int) -> None:
        events = list(events)
        super().journaled(events, state, sequence)
        self._take(events)
        self._batches += 1
        if self._batches % CHECKED == 0:
            self.check_known()

    def _take(self, events: Iterable[AnyEvent]) -> None:
        for event in events:
            self._lines.append(codec.encode_event(event, 1, len(self._lines) + 1))
            if isinstance(event, AttemptPlanned):
                self._woken.discard(event.trial)
            elif isinstance(event, Reported):
                self._decide(event.actions)
            elif isinstance(event, TrialActed) and not event.request:
                self._decide((event.action, *event.more))

    def _decide(self, actions: Iterable[Action]) -> None:
        for action in actions:
            self.decided.append(action)
            done = self._woken if action.resume else self._stopped
            if action.resume or action.decision is Decision.STOP:
                if action.trial in done:
                    raise BrokenPromiseError(f"{action} was done before")
                done.add(action.trial)

    def check_known(self) -> None:
        """The scheduler knows what a new one does that is told the journal."""
        world, spec = self._world, self.workload.spec
        if world.runner is None:
            return  # nobody drives
        told = world.make_scheduler()
        configure(told, spec.metric, spec.mode, seed=world.seed, saves=self.workload.saves)
        store = MemoryStore()
        store.lines = self._lines
        for _ in Retelling(MemoryJournal(store), path=PATH, scheduler=told, stopper=None).run():
            pass
        asked = world.runner.judge.scheduler
        if state_of(asked) != state_of(told):
            raise BrokenPromiseError(f"it knows {state_of(asked)}, and its journal tells {state_of(told)}")


def state_of(scheduler: TrialScheduler) -> str:
    return json.dumps(scheduler.get_state(), allow_nan=False)


def scheduled(name: str, seed: int) -> Case:
    """Return an experiment of a few trials and steps; with more room than they begin with if that is shared out."""
    workload, _ = draw(seed)
    rng = random.Random(f"{name} {seed}")
    samples, steps = rng.choice(((2, 2), (2, 3), (3, 2), (3, 3), (4, 4), (5, 3)))
    if name == REPLAYED:
        samples, steps = 1, 6
    cpus = rng.randint(1, min(4, samples))
    workload = dataclasses.replace(
        workload,
        spec=msgspec.structs.replace(workload.spec, num_samples=samples),
        samples=samples,
        steps=steps,
        every=1,
        cpus=cpus + rng.randint(1, 4) if name.startswith("resources") else cpus,
        stop=rng.choice((None, None, None, {ITERATION: rng.randint(1, steps)})),
        scheduler="fifo" if name in LASTING else "halving",
    )
    return workload, draw_faults(rng, workload)


def run(name: str, seed: int, make: Callable[[int], TrialScheduler]) -> Scheduled:
    """Run one experiment.

    Raises:
        BrokenPromiseError: a promise did not hold, or something else went wrong.
    """
    world = Scheduled(name, seed, make)
    try:
        world.run()
        if not world.lost:
            world.telling.check_known()
    except BaseException as error:
        raise BrokenPromiseError(f"{error!r}\n{name!r}, seed {seed}\n{world.workload}\n{world.faults}") from error
    return world


@pytest.mark.parametrize("name", MAKERS)
def test_a_scheduler_knows_what_its_journal_tells_and_does_nothing_twice(name: str) -> None:
    restarted = resized = 0
    with stand_ins():
        for seed in range(SEEDS):
            world = run(name, seed, MAKERS[name])
            restarted += world.sessions > 0
            resized += any(action.resources is not None for action in world.telling.decided)
            world.forget()
    assert restarted > SEEDS / 2
    assert resized > SEEDS / 2 if name.startswith("resources") else resized == 0


def test_a_policy_is_replayed_step_by_step_once(tmp_path: Path) -> None:
    policy, factors = tmp_path / "policy.txt", [9, *(factor for _, factor in CHANGES)]
    policy.write_text(
        "".join(
            json.dumps(["0", "0", when, when, {"factor": before}, {"factor": after}]) + "\n"
            for before, (when, after) in zip(factors, CHANGES, strict=False)
        )
    )
    whole = 0
    with stand_ins():
        for seed in range(SEEDS):
            world = run(REPLAYED, seed, lambda steps: PopulationBasedTrainingReplay(policy))
            changes = [action.config["factor"] for action in world.telling.decided if action.config is not None]
            assert changes == factors[1 : len(changes) + 1], seed
            whole += changes == factors[1:]
            world.forget()
    assert whole > SEEDS / 4


# --- that it bites ----------------------------------------------------------------------------------------------------


def nothing(*_: Any, **__: Any) -> None:
    pass


def _tells_no_rows(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TrialScheduler, "on_trial_retold", nothing)


def _tells_nothing_after_a_restart(patch: pytest.MonkeyPatch) -> None:
    class Mute(Retelling):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "scheduler": None})

    patch.setattr("perdure.testing.simulation.run.Retelling", Mute)


def _tells_nobody_who_was_woken(patch: pytest.MonkeyPatch) -> None:
    for kind in (HyperBandScheduler, PopulationBasedTraining, PromotionASHAScheduler):
        patch.setattr(kind, "on_actions_retold", nothing)


def _judges_again_what_is_told(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MedianStoppingRule, "on_trial_retold", TrialScheduler.on_trial_retold)


FORGETFUL = [
    (_tells_no_rows, "asha"),
    (_tells_nothing_after_a_restart, "bohb"),
    (_tells_nothing_after_a_restart, "resources of hyperband"),
    (_tells_nobody_who_was_woken, "hyperband"),
    (_tells_nobody_who_was_woken, "pb2 together"),
    (_tells_nobody_who_was_woken, "promotion"),
    (_judges_again_what_is_told, "median in seconds, soft"),
]


@pytest.mark.parametrize(("mutate", "name"), FORGETFUL)
def test_a_scheduler_that_is_not_told_is_caught(
    mutate: Callable[[pytest.MonkeyPatch], None], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    assert any("its journal tells" in _failure(name, seed) for seed in range(SEEDS))


def _failure(name: str, seed: int) -> str:
    try:
        run(name, seed, MAKERS[name])
    except BrokenPromiseError as error:
        return str(error)
    return ""
