"""The model of BOHB: the suite of all searchers, and what it learns from."""

from __future__ import annotations

import random

import pytest

from perdure.errors import ConfigurationError
from perdure.schedulers.hb_bohb import HyperBandForBOHB
from perdure.search_space.functions import choice, uniform
from perdure.searchers.bohb import TuneBOHB
from perdure.searchers.concurrency import ConcurrencyLimiter
from perdure.searchers.driver import WAIT, PastSuggestion, SearchDriver, check_search
from perdure.searchers.repeater import Repeater
from perdure.testing.scheduling import Laboratory, transcript
from perdure.testing.searcher import SearcherTests


class TestBOHB(SearcherTests):
    samples = 18

    def make(self, **arguments):
        return TuneBOHB(bohb_config={"min_points_in_model": 4}, **arguments)


def driver(searcher, space=None, **settings):
    space = {"x": uniform(0, 1), "y": choice(["a", "b"])} if space is None else space
    return SearchDriver(searcher, param_space=space, metric="loss", mode="min", num_samples=500, **settings)


def milestone(loss, budget):
    return {"loss": loss, "training_iteration": budget, "hyperband_info": {"budget": budget}}


def test_what_is_good_is_suggested_again():
    search = driver(TuneBOHB(seed=0))
    found = []
    for number in range(80):
        config = search.next(f"t{number}").config
        found.append(config)
        row = milestone(abs(config["x"] - 0.7) + (config["y"] == "a"), 3)
        search.on_result(f"t{number}", row)
        search.on_complete(f"t{number}", row)
    near = [abs(config["x"] - 0.7) < 0.15 and config["y"] == "b" for config in found]
    assert sum(near[40:]) > 2 * 0.15 * 40  # at random it would be 0.15 of them
    assert sum(near[40:]) > sum(near[:20])


def test_the_largest_budget_with_enough_results_counts():
    searcher = TuneBOHB(seed=0, bohb_config={"random_fraction": 0, "min_points_in_model": 3})
    search = driver(searcher, {"x": uniform(0, 1)})
    for number in range(20):
        config = search.next(f"t{number}").config
        search.on_result(f"t{number}", milestone(config["x"], 1))  # after one step, small ones look good
        if number >= 10:
            search.on_result(f"t{number}", milestone(-config["x"], 9))
    assert {budget: len(results) for budget, results in searcher._memory.results.items()} == {1.0: 20, 9.0: 10}
    late = [search.next(f"u{number}").config["x"] for number in range(10)]
    best = max(point[0] for point, _ in searcher._memory.results[9.0])
    assert sum(late) / 10 > best - 0.35


def test_points_may_name_constants_and_what_param_space_adds_to_the_searchers_own_space(caplog):
    space = {"x": uniform(0, 1), "model": {"lr": uniform(0, 1)}}
    whole = {"x": 0.5, "model/lr": 0.5, "model": {"units": 8}, "epochs": 3}
    constants = {"model": {"units": 8}, "epochs": 3}
    check_search(TuneBOHB(space, points_to_evaluate=[whole]), constants)
    check_search(TuneBOHB(points_to_evaluate=[whole]), {**space, "epochs": 3, "model": {**space["model"], "units": 8}})
    assert not caplog.records
    check_search(TuneBOHB(space, points_to_evaluate=[{"epochs": 4}]), constants)
    assert "Point value 4 of 'epochs' is not used: param_space has the constant 3" in caplog.text
    with pytest.raises(ConfigurationError, match="'model/depth', which is not"):
        check_search(TuneBOHB(space, points_to_evaluate=[{"model/depth": 4}]), constants)


@pytest.mark.parametrize("wrap", [lambda s: ConcurrencyLimiter(s, 2), lambda s: Repeater(ConcurrencyLimiter(s, 2), 2)])
def test_points_of_a_wrapped_searcher_are_looked_at(wrap):
    with pytest.raises(ConfigurationError, match=r"points_to_evaluate\[0\] of TuneBOHB .*'y', which"):
        check_search(wrap(TuneBOHB(points_to_evaluate=[{"y": 1}])), {"x": uniform(0, 1)})


def test_a_point_that_was_tried_may_lie_outside_a_new_space():
    searcher = TuneBOHB(points_to_evaluate=[{"x": 0.9}, {"x": 0.2}, {"x": 0.3}])
    before = driver(searcher, {"x": uniform(0, 1)})
    past = [PastSuggestion(trial=f"t{n}", config=before.next(f"t{n}").config) for n in range(2)]
    after = driver(TuneBOHB(points_to_evaluate=[{"x": 0.9}, {"x": 0.2}, {"x": 0.3}]), {"x": uniform(0, 0.5)})
    after.replay(past)
    assert after.next("t2").config == {"x": 0.3}
    assert after.next("t3").config["x"] <= 0.5


def test_rows_between_milestones_and_failures_are_not_learnt_from():
    searcher = TuneBOHB(seed=0)
    search = driver(searcher)
    for number in range(3):
        search.next(f"t{number}")
    search.on_result("t0", {"loss": 1.0, "training_iteration": 2, "hyperband_info": {}})
    search.on_complete("t0", None, error=True)
    search.on_result("t1", milestone(float("nan"), 3))
    search.on_complete("t1", milestone(float("nan"), 3))
    assert searcher._memory.results == {}
    search.on_complete("t2", {"loss": 2.0, "training_iteration": 5})  # judged by another scheduler
    assert [(budget, len(results)) for budget, results in searcher._memory.results.items()] == [(5.0, 1)]


@pytest.mark.parametrize("limited", [lambda s: s, lambda s: ConcurrencyLimiter(s, max_concurrent=2)])
def test_paused_trials_do_not_count(limited):
    search = driver(limited(TuneBOHB(seed=0, max_concurrent=2)))
    search.next("t0")
    search.next("t1")
    assert search.next("t2") is WAIT
    search.on_pause("t0")
    assert search.next("t2").config
    assert search.next("t3") is WAIT
    search.on_complete("t1", {"loss": 1})
    search.on_unpause("t0")
    assert search.next("t3") is WAIT


def test_settings_that_do_not_exist_are_refused():
    with pytest.raises(ConfigurationError, match="bohb_config has foo"):
        TuneBOHB(bohb_config={"foo": 1})


# --- with its scheduler, on a simulated machine -----------------------------------------------------------------------


class BOHBLaboratory(Laboratory):
    """A laboratory whose configurations BOHB suggests."""

    def make_search(self):
        searcher = TuneBOHB(bohb_config={"min_points_in_model": 3, "random_fraction": 0.1})
        space = {"x": uniform(0, 1), "y": uniform(0, 1)}
        return SearchDriver(
            searcher, param_space=space, num_samples=self.workload.samples, metric="loss", mode="min", seed=self.seed
        )


def bohb_run(slots, crash_after=()):
    laboratory = BOHBLaboratory(
        lambda: HyperBandForBOHB(metric="loss", mode="min", max_t=9, reduction_factor=3),
        lambda config, iteration, before: {"loss": abs(config["x"] - 0.3) + abs(config["y"] - 0.6) + 1 / iteration},
        samples=24,
        max_t=9,
        slots=slots,
        seed=4,
        crash_after=crash_after,
    )
    laboratory.run()
    return laboratory.history()


@pytest.mark.parametrize("slots", [1, 3])
def test_kills_at_any_moment_change_no_trial_and_no_decision(slots):
    undisturbed = transcript(bohb_run(slots))
    assert any(len(rows) == 9 for *_, rows in undisturbed)  # some went the whole way, and others were stopped
    assert any(len(rows) < 9 for *_, rows in undisturbed)
    rng = random.Random(slots)
    for _ in range(4):
        kills = [rng.randint(1, 250) for _ in range(rng.randint(1, 5))]
        assert transcript(bohb_run(slots, kills)) == undisturbed, kills


@pytest.mark.parametrize("own", [{"metric": "other", "mode": "min"}, {"metric": "loss", "mode": "max"}])
def test_a_searcher_that_is_to_optimise_two_things_is_refused(own):
    with pytest.raises(ConfigurationError, match="which one is to be optimised"):
        driver(TuneBOHB(**own))
    assert driver(TuneBOHB({"x": uniform(0, 1)}, **own), {}).metrics == (own["metric"],)
    assert driver(TuneBOHB(metric="loss", mode="min")).metrics == ("loss",)
