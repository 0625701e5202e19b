"""Nevergrad, with the only version of bayesian-optimization that it allows: that one's searcher is run with it too."""

from __future__ import annotations

import pytest

from perdure.errors import ConfigurationError
from perdure.search_space.functions import uniform
from perdure.searchers.driver import SearchDriver, check_search
from perdure.searchers.registry import create_searcher
from perdure.testing.searcher import NUMBERS, SearcherTests

pytestmark = [pytest.mark.nevergrad, pytest.mark.filterwarnings("default")]


class TestNevergrad(SearcherTests):
    def make(self, **arguments):
        return create_searcher("nevergrad", **arguments)


class TestOnePlusOne(SearcherTests):
    def make(self, **arguments):
        return create_searcher("nevergrad", optimizer="OnePlusOne", **arguments)


class TestDifferentialEvolution(SearcherTests):
    samples = 40

    def make(self, **arguments):
        import nevergrad

        return create_searcher("nevergrad", optimizer=nevergrad.optimizers.DE, **arguments)


class TestBayesOpt(SearcherTests):
    space = {key: NUMBERS[key] for key in ("lr", "nested", "depth", "shift")}
    samples = 7
    has_own_seed = True

    def make(self, **arguments):
        return create_searcher("bayesopt", random_search_steps=5, **arguments)


del SearcherTests  # pytest would run it as it is


def test_a_parametrization_of_nevergrads_is_searched():
    import nevergrad as ng

    space = ng.p.Dict(**{"model/lr": ng.p.Log(lower=1e-3, upper=1), "units": ng.p.Scalar(lower=1, upper=8)})
    search = SearchDriver(create_searcher("nevergrad", space=space), param_space={}, metric="loss", mode="min", seed=0)
    config = search.next("t0").config
    assert 1e-3 <= config["model"]["lr"] <= 1
    search.on_complete("t0", {"loss": 1.0})


def test_points_that_a_parametrization_does_not_take_are_refused_beforehand():
    import nevergrad as ng

    space = ng.p.Dict(x=ng.p.Scalar(lower=0, upper=1), n=ng.p.Choice([1, 2, 3]))
    check_search(create_searcher("nevergrad", space=space, points_to_evaluate=[{"x": 0.5, "n": 2}]), {})
    for point, told in (({"x": 5, "n": 2}, "does not take"), ({"x": 0.5}, "no value for n"), ({"y": 1}, "'y', which")):
        with pytest.raises(ConfigurationError, match=told):
            check_search(create_searcher("nevergrad", space=space, points_to_evaluate=[point]), {})


def test_a_made_optimizer_is_asked():
    import nevergrad as ng

    optimizer = ng.optimizers.OnePlusOne(parametrization=ng.p.Array(shape=(2,)), budget=20)
    searcher = create_searcher("nevergrad", optimizer=optimizer, space=["a", "b"])
    search = SearchDriver(searcher, param_space={"c": 1}, num_samples=20, metric="loss", mode="min", seed=0)
    assert set(search.next("t0").config) == {"a", "b", "c"}


def test_it_gets_better_than_random_search():
    def best(searcher):
        search = SearchDriver(searcher, param_space={"x": uniform(-5, 5), "y": uniform(-5, 5)}, num_samples=60,
                              metric="loss", mode="min", seed=1)  # fmt: skip
        losses = []
        for number in range(60):
            config = search.next(f"t{number}").config
            losses.append((config["x"] - 1) ** 2 + (config["y"] + 2) ** 2)
            search.on_complete(f"t{number}", {"loss": losses[-1]})
        return min(losses)

    assert best(create_searcher("nevergrad", optimizer="OnePlusOne")) < best(None)
