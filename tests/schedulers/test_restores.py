"""Whatever a scheduler decides, kills at any moment change none of it, and every trial comes to its end."""

import json
import random

import pytest

from perdure.journal import codec
from perdure.journal.base import Position
from perdure.journal.memory import MemoryJournal, MemoryStore
from perdure.retelling import Retelling
from perdure.schedulers.allocation import DistributeResources, DistributeResourcesToTopJob
from perdure.schedulers.async_hyperband import AsyncHyperBandScheduler
from perdure.schedulers.base import configure
from perdure.schedulers.hb_bohb import HyperBandForBOHB
from perdure.schedulers.hyperband import HyperBandScheduler
from perdure.schedulers.median_stopping_rule import MedianStoppingRule
from perdure.schedulers.pb2 import PB2
from perdure.schedulers.pbt import PopulationBasedTraining
from perdure.schedulers.promotion_asha import PromotionASHAScheduler
from perdure.schedulers.resource_changing import ResourceChangingScheduler
from perdure.search_space.functions import uniform
from perdure.testing.scheduling import Laboratory, run_scheduled, transcript

ASPECTS = {"metric": "score", "mode": "max"}
MAKERS = {
    "asha": lambda: AsyncHyperBandScheduler(**ASPECTS, max_t=9, reduction_factor=3),
    "asha with brackets": lambda: AsyncHyperBandScheduler(**ASPECTS, max_t=9, reduction_factor=2, brackets=3),
    "asha without an end": lambda: AsyncHyperBandScheduler(
        **ASPECTS, max_t=4, reduction_factor=2, stop_last_trials=False
    ),
    "promotion": lambda: PromotionASHAScheduler(**ASPECTS, max_t=9, reduction_factor=3),
    "hyperband": lambda: HyperBandScheduler(**ASPECTS, max_t=9, reduction_factor=3),
    "hyperband by halves": lambda: HyperBandScheduler(**ASPECTS, max_t=8, reduction_factor=2),
    "hyperband without an end": lambda: HyperBandScheduler(
        **ASPECTS, max_t=4, reduction_factor=2, stop_last_trials=False
    ),
    "bohb": lambda: HyperBandForBOHB(**ASPECTS, max_t=9, reduction_factor=3),
    "median": lambda: MedianStoppingRule("training_iteration", **ASPECTS, grace_period=2, min_samples_required=2),
    "resources": lambda: ResourceChangingScheduler(
        AsyncHyperBandScheduler(**ASPECTS, max_t=9, reduction_factor=3), DistributeResources()
    ),
    "resources to the best": lambda: ResourceChangingScheduler(
        HyperBandScheduler(**ASPECTS, max_t=9, reduction_factor=3), DistributeResourcesToTopJob()
    ),
    "median in seconds": lambda: MedianStoppingRule("seconds", **ASPECTS, grace_period=2.5, min_samples_required=2),
    "median, soft": lambda: MedianStoppingRule(
        "training_iteration", **ASPECTS, grace_period=2, min_samples_required=1, hard_stop=False, min_time_slice=2
    ),
}
MAX_T = 10
SEED = 1


def curve(config, iteration, before):
    """A noisy curve towards x, that a trial may end by itself before the end."""
    rng = random.Random(f"{config['x']} {iteration}")
    seconds = (before or {"seconds": 0.0})["seconds"] + rng.uniform(0.5, 1.5)
    row = {"score": config["x"] * (1 - 0.8**iteration) + 0.1 * rng.random(), "seconds": seconds}
    return {**row, "done": True} if rng.random() < 0.03 else row


def run(name, seed, crash_after=(), **settings):
    return run_scheduled(
        MAKERS[name], curve, max_t=MAX_T, seed=seed, crash_after=crash_after, **{"samples": 13, "slots": 3, **settings}
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", MAKERS)
def test_kills_at_any_moment_change_nothing(name, seed):
    undisturbed = transcript(run(name, seed))
    rng = random.Random(seed)
    for _ in range(4):
        kills = [rng.randint(1, 250) for _ in range(rng.randint(1, 6))]
        assert transcript(run(name, seed, kills)) == undisturbed, kills


@pytest.mark.parametrize("name", MAKERS)
def test_a_kill_at_one_step_after_another_changes_nothing(name):
    """At every seventh; all of them were tried."""
    undisturbed = transcript(run(name, 2, samples=6, slots=2))
    for step in range(len(name) % 7, 10_000, 7):
        laboratory = Laboratory(MAKERS[name], curve, samples=6, max_t=MAX_T, slots=2, seed=2, crash_after=(step,))
        laboratory.run()
        assert transcript(laboratory.history()) == undisturbed, step
        if not laboratory.sessions:
            return  # it was over before


@pytest.mark.parametrize("name", MAKERS)
def test_every_trial_comes_to_its_end(name):
    rng = random.Random(name)
    for seed in range(15):
        samples, slots = rng.randint(1, 30), rng.randint(1, 8)
        history = run(name, seed, samples=samples, slots=slots)
        assert [trial.status.value for trial in history.trials.values()] == ["TERMINATED"] * samples, (samples, slots)


@pytest.mark.parametrize("name", [name for name in MAKERS if name.startswith("resources")])
def test_resources_do_change(name):
    assert any(trial.resources != {"CPU": 1.0} for trial in run(name, 0).trials.values())


POPULATIONS = {
    "pbt": lambda: PopulationBasedTraining(
        "training_iteration", **ASPECTS, perturbation_interval=2, hyperparam_mutations={"x": uniform(0, 1)}
    ),
    "pbt together": lambda: PopulationBasedTraining(
        "training_iteration", **ASPECTS, perturbation_interval=3, hyperparam_mutations={"x": uniform(0, 1)}, synch=True
    ),
    "pb2": lambda: PB2("training_iteration", **ASPECTS, perturbation_interval=2, hyperparam_bounds={"x": [0, 1]}),
    "resources of a population": lambda: ResourceChangingScheduler(POPULATIONS["pbt"](), DistributeResources()),
}
"""Their decisions under kills are told of in files of their own."""


@pytest.mark.parametrize("name", [*MAKERS, *POPULATIONS])
def test_being_told_again_and_being_restored_give_the_same_state(name):
    make = make_of(name)
    laboratory = Laboratory(make, curve, samples=20, max_t=MAX_T, slots=3, seed=SEED)
    laboratory.run()
    lines = [codec.encode_event(event, 1, position.sequence) for position, event in laboratory.records()]
    assert state_of(told(name, lines)) == state_of(laboratory.runner.judge.scheduler)
    for upto in (len(lines) // 2, len(lines)):  # in the middle there is more to remember
        expected = state_of(told(name, lines[:upto]))
        for end in range(upto % 31, upto, 31):
            remembered = state_of(told(name, lines[:end]))
            restored = make()
            restored.set_state(json.loads(remembered))
            assert state_of(restored) == remembered
            assert state_of(told(name, lines[:upto], restored, known=end)) == expected, end


def make_of(name):
    return {**MAKERS, **POPULATIONS}[name]


def told(name, lines, scheduler=None, known=0):
    """Return the scheduler once it has been told what is in the journal."""
    scheduler = scheduler or make_of(name)()
    configure(scheduler, None, None, seed=SEED, saves=True)
    store = MemoryStore()
    store.lines = lines
    retelling = Retelling(MemoryJournal(store), path="", scheduler=scheduler, stopper=None, known=Position(1, known, 0))
    for _ in retelling.run():
        pass
    return scheduler


def state_of(scheduler):
    return json.dumps(scheduler.get_state(), allow_nan=False)


@pytest.mark.parametrize("name", MAKERS)
def test_no_row_makes_a_scheduler_look_at_all_trials(name, bench):
    """What it compares a row with it keeps in order."""

    class Many(bench):
        def get_trials(self):
            raise AssertionError("looked at all trials")

        get_paused_trials = get_live_trials = get_trials

        def get_active_trials(self):
            return set(list(self.trials.values())[-3:])

    scheduler = MAKERS[name]()
    configure(scheduler, None, None, seed=SEED, saves=True)
    trials, rng, judged = Many(scheduler), random.Random(0), 0
    trials.capacity = {"CPU": 4.0}
    for number in range(300):
        trials.add(f"t{number}")
        trial = trials.trials[f"t{number}"]
        trial.resources = {"CPU": 1.0}
        for time in (1, 2, 3, 4):
            trial.last_result = {"training_iteration": time, "seconds": float(time), "score": rng.random()}
            judged += 1
            if scheduler.on_trial_result(trials, trial, trial.last_result) in ("PAUSE", "STOP"):
                break
    assert judged > 300, "no trial went on"
