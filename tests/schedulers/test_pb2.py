"""Population-based bandits: what is chosen, and that no kill changes it."""

import json
import math
import random
import sys

import pytest
from tests.schedulers.population import Population

from perdure.errors import ConfigurationError
from perdure.schedulers.bandit import PENDING, Observation, choose
from perdure.schedulers.pb2 import PB2
from perdure.testing.scheduling import run_scheduled, transcript

np = pytest.importorskip("numpy")


def pb2(**arguments):
    settings = {
        "time_attr": "training_iteration",
        "metric": "score",
        "mode": "max",
        "perturbation_interval": 2,
        "hyperparam_bounds": {"lr": [0, 10]},
        **arguments,
    }
    return PB2(**settings)


def observations(count, best, *, seed=0, shift=0.0):
    """Intervals of which the hyperparameter near `best` gained most."""
    rng = random.Random(seed)
    values = [rng.random() for _ in range(count)]
    return [Observation(n / 4, float(n), (x,), shift - (x - best) ** 2) for n, x in enumerate(values)]


@pytest.mark.parametrize("best", [0.1, 0.5, 0.85])
def test_what_raised_the_score_most_is_chosen_again(best):
    (chosen,) = choose(observations(100, best), [], now=25.0, score=100.0, rng=random.Random(1))
    assert abs(chosen - best) < 0.12


def test_the_same_draws_give_the_same_choice():
    first, again = (choose(observations(9, 0.3), [], now=3.0, score=9.0, rng=random.Random(1)) for _ in range(2))
    assert first == again


def test_what_was_chosen_and_has_no_outcome_yet_is_not_chosen_again():
    few = observations(4, 0.5)
    (alone,) = choose(few, [], now=2.0, score=4.0, rng=random.Random(1))
    (beside,) = choose(few, [(alone,)] * 3, now=2.0, score=4.0, rng=random.Random(1))
    assert abs(alone - beside) > 0.05


def test_a_choice_in_a_large_population_costs_what_it_does_in_a_small_one(monkeypatch):
    """The work grows with the cube of the matrices, and 399 were chosen and have no outcome yet."""
    trials = Population(pb2(), *({"lr": n / 40} for n in range(400)))
    for number in reversed(range(400)):
        trials.report(number, 2, float(number))
    assert len(trials.scheduler.get_state()["observations"]) == 0
    trials.report(399, 4, 500.0)  # the first of which something is learnt
    sizes, cholesky = [], np.linalg.cholesky
    monkeypatch.setattr(np.linalg, "cholesky", lambda matrix: sizes.append(len(matrix)) or cholesky(matrix))
    assert trials.report(0, 4, -1.0).actions[0].donor is not None
    assert max(sizes) == 1 + PENDING


def test_a_clone_goes_on_with_its_donors_hyperparameters_until_there_is_something_to_learn_from():
    trials = Population(pb2(), {"lr": 1.0}, {"lr": 2.0})
    trials.report(1, 2, 5.0)
    (action,) = trials.report(0, 2, 1.0).actions
    assert (action.donor.trial, action.config) == ("t1", {"lr": 2.0})


def test_a_clone_stays_within_the_bounds_and_keeps_the_kind_of_number():
    bounds = {"lr": [0, 10], "opt": {"units": [16, 64]}}
    trials = Population(
        pb2(hyperparam_bounds=bounds), *({"lr": float(n), "opt": {"units": 16 + n, "name": "sgd"}} for n in range(3))
    )
    for step in (2, 4, 6):
        for n in (1, 2):
            trials.report(n, step, float(n * step))
    (action,) = trials.report(0, 6, -1.0).actions
    assert 0 <= action.config["lr"] <= 10
    assert isinstance(action.config["opt"]["units"], int)
    assert 16 <= action.config["opt"]["units"] <= 64
    assert action.config["opt"]["name"] == "sgd"
    assert trials.trials[2].config["opt"] == {"units": 18, "name": "sgd"}  # the donor's is left alone


@pytest.mark.parametrize("diverged", [math.nan, math.inf, -math.inf])
def test_nothing_is_learnt_from_who_diverges(diverged):
    trials = Population(pb2(), *({"lr": float(n)} for n in range(8)))
    for step in (2, 4, 6):
        for n in (4, 7, 6, 5, 3, 2, 1):
            trials.report(n, step, diverged if (n, step) == (4, 4) else float(n * step))
    observations = trials.scheduler.get_state()["observations"]
    assert len(observations) >= 6
    assert all(math.isfinite(number) for when, before, _, gain in observations for number in (when, before, gain))
    assert 0 <= trials.report(0, 6, -1.0).actions[0].config["lr"] <= 10


def test_a_clone_of_who_is_infinitely_good_goes_on_with_its_hyperparameters():
    trials = Population(pb2(), *({"lr": float(n)} for n in range(3)))
    for step, best in ((2, 6.0), (4, math.inf)):
        for n, score in ((2, best), (1, float(step))):
            trials.report(n, step, score)
    assert trials.report(0, 4, -1.0).actions[0].config == {"lr": 2.0}


def test_a_function_of_the_users_has_the_last_word():
    trials = Population(pb2(custom_explore_fn=lambda config: {**config, "seen": True}), {"lr": 1.0}, {"lr": 2.0})
    trials.report(1, 2, 5.0)
    assert trials.report(0, 2, 1.0).actions[0].config == {"lr": 2.0, "seen": True}


def test_what_the_space_lacks_is_drawn_within_the_bounds():
    scheduler = pb2(hyperparam_bounds={"a": {"b": [3, 4]}, "c": [0, 1]})
    scheduler.set_search_properties(None, None, seed=1)
    config = scheduler.prepare_config(0, {"a": {"kept": 1}})
    assert config["a"]["kept"] == 1
    assert 3 <= config["a"]["b"] <= 4
    assert 0 <= config["c"] <= 1


@pytest.mark.parametrize("bounds", [None, {}, {"lr": 3}, {"lr": [1, 2, 3]}, {"o": {"lr": [2, 1]}}])
def test_wrong_bounds_are_refused(bounds):
    with pytest.raises(ConfigurationError, match="hyperparam_bounds"):
        pb2(hyperparam_bounds=bounds)


def test_without_numpy_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ModuleNotFoundError, match=r"perdure\[pb2\]"):
        pb2()


def curve(config, iteration, before):
    return {"score": (before or {"score": 0.0})["score"] + 1 - (config["x"] - 0.7) ** 2}


def run(seed, crash_after=(), *, synch=False, slots=3):
    def make():
        return pb2(hyperparam_bounds={"x": [0, 1]}, quantile_fraction=0.34, synch=synch)

    return run_scheduled(make, curve, samples=4, max_t=10, slots=slots, seed=seed, crash_after=crash_after)


@pytest.mark.parametrize("synch", [False, True])
@pytest.mark.parametrize("slots", [2, 4])
def test_kills_change_nothing(synch, slots):
    undisturbed = transcript(run(1, synch=synch, slots=slots))
    rng = random.Random(slots)
    for _ in range(3):
        kills = [rng.randint(1, 120) for _ in range(3)]
        assert transcript(run(1, kills, synch=synch, slots=slots)) == undisturbed


@pytest.mark.parametrize("members", [3, 12])
def test_what_it_knows_is_data(members):
    trials = Population(pb2(), *({"lr": n / 2} for n in range(members)))
    for number in range(3, members):
        trials.report(number, 2, float(-number))
    for step in (2, 4):
        for n in range(1, 3):
            trials.report(n, step, float(n * step))
    restored = pb2()
    restored.set_state(json.loads(json.dumps(trials.scheduler.get_state())))
    expected = trials.report(0, 4, -1.0).actions
    trials.trials[0].status, trials.scheduler = "RUNNING", restored
    restored.set_search_properties(None, None)
    assert trials.report(0, 4, -1.0).actions == expected
