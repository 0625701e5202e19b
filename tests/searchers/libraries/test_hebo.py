"""HEBO, where it installs: on Python 3.10 and 3.11."""

from __future__ import annotations

import sys

import pytest

from perdure.errors import ConfigurationError
from perdure.search_space.functions import choice, lograndint, loguniform, randint, uniform
from perdure.searchers.driver import WAIT, SearchDriver, Suggestion
from perdure.searchers.registry import create_searcher
from perdure.testing.searcher import NUMBERS, SearcherTests

pytestmark = [
    pytest.mark.hebo,
    pytest.mark.filterwarnings("default"),
    pytest.mark.timeout(600),  # seconds for a suggestion, on an idle machine
    pytest.mark.skipif(sys.version_info >= (3, 12), reason="HEBO WAS NOT TESTED: it does not install on this Python"),
]


class TestHEBO(SearcherTests):
    space = {key: NUMBERS[key] for key in ("lr", "nested", "depth", "shift")}
    samples = 6

    def make(self, **arguments):
        return create_searcher("hebo", **{"rand_sample": 3, "model_name": "rf", **arguments})


class TestHEBOOfEverything(SearcherTests):
    """Every kind of domain, and conditions; quasi-random, so that it takes no minutes."""

    def make(self, **arguments):
        return create_searcher("hebo", **{"rand_sample": 99, **arguments})


del SearcherTests  # pytest would run it as it is


def driver(searcher, space, **arguments):
    return SearchDriver(searcher, param_space=space, num_samples=20, metric="loss", mode="min", seed=0, **arguments)


def test_its_gaussian_process_is_asked_for_every_kind_of_parameter():
    space = {"x": loguniform(1e-4, 1), "n": randint(1, 9), "m": lograndint(1, 100), "c": choice(["a", "b"]),
             "one": choice(["only"]), "two": randint(2, 3)}  # fmt: skip
    search = driver(create_searcher("hebo", rand_sample=3), space)
    for number in range(5):
        config = search.next(f"t{number}").config
        assert 1e-4 <= config["x"] <= 1
        assert config["n"] in range(1, 9)
        assert config["m"] in range(1, 100)
        assert config["c"] in ("a", "b")
        assert (config["one"], config["two"]) == ("only", 2)
        search.on_complete(f"t{number}", {"loss": config["x"] + config["n"]})


def test_a_design_space_of_hebos_is_searched():
    from hebo.design_space.design_space import DesignSpace

    space = DesignSpace().parse(
        [
            {"name": "model/lr", "type": "pow", "lb": 1e-3, "ub": 1},
            {"name": "kind", "type": "cat", "categories": ["a", "b"]},
        ]
    )
    search = driver(create_searcher("hebo", space=space), {})
    config = search.next("t0").config
    assert 1e-3 <= config["model"]["lr"] <= 1
    assert config["kind"] in ("a", "b")
    search.on_complete("t0", {"loss": 1.0})
    assert isinstance(search.next("t1"), Suggestion)


def test_points_with_known_results_are_learnt_from_and_not_tried():
    points = [{"x": 0.25, "y": 0.5}, {"x": 0.75, "y": 0.5}]
    space = {"x": uniform(0, 1), "y": uniform(0, 1)}
    searcher = create_searcher("hebo", points_to_evaluate=points, evaluated_rewards=[1.0, 2.0])
    assert driver(searcher, space).next("t0").config not in points
    with pytest.raises(ConfigurationError, match="1 values for 2 points"):
        create_searcher("hebo", points_to_evaluate=points, evaluated_rewards=[1.0])


def test_no_more_trials_than_allowed_are_unfinished():
    search = driver(create_searcher("hebo", max_concurrent=2), {"x": uniform(0, 1)})
    assert isinstance(search.next("t0"), Suggestion)
    assert isinstance(search.next("t1"), Suggestion)
    assert search.next("t2") is WAIT
    search.on_complete("t0", {"loss": 1.0})
    assert isinstance(search.next("t2"), Suggestion)
    with pytest.raises(ConfigurationError, match="use 1 or more"):
        create_searcher("hebo", max_concurrent=0)


def test_it_gets_better_than_random_search():
    def best(searcher):
        search = driver(searcher, {"x": uniform(-5, 5), "y": uniform(-5, 5)})
        losses = []
        for number in range(14):
            config = search.next(f"t{number}").config
            losses.append((config["x"] - 1) ** 2 + (config["y"] + 2) ** 2)
            search.on_complete(f"t{number}", {"loss": losses[-1]})
        return min(losses)

    assert best(create_searcher("hebo")) < best(None)
