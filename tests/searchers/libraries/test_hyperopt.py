"""What HyperOptSearch can beyond what all searchers can."""

from __future__ import annotations

import pytest

from perdure.errors import ConfigurationError
from perdure.searchers.driver import SearchDriver, check_search
from perdure.searchers.hyperopt import HyperOptSearch

pytestmark = [pytest.mark.library, pytest.mark.filterwarnings("default")]


def space():
    from hyperopt import hp

    return {
        "width": hp.uniform("width", 0, 20),
        "activation": hp.choice("activation", ["relu", "tanh"]),
        "units": hp.choice("units", [1, 2, 4]),
        "optimizer": hp.choice("opt", [{"name": "sgd", "lr": hp.uniform("lr", 0, 1)}, {"name": "adam"}]),
        "constant": 7,
    }


@pytest.mark.parametrize(
    ("point", "optimizer"),
    [
        ({"width": 10, "activation": "tanh", "units": 2, "opt": 0, "lr": 0.5}, {"name": "sgd", "lr": 0.5}),
        ({"width": 10, "activation": 1, "units": 2, "opt": 1, "constant": 7, "epochs": 3}, {"name": "adam"}),
    ],
)
def test_a_point_by_label_has_the_options_themselves_or_their_numbers(point, optimizer):
    def make():
        return HyperOptSearch(space(), points_to_evaluate=[point])

    check_search(make(), {"epochs": 3})
    search = SearchDriver(make(), param_space={"epochs": 3}, metric="loss", mode="min", seed=0)
    found = {"width": 10, "activation": "tanh", "units": 2, "optimizer": optimizer, "constant": 7, "epochs": 3}
    assert search.next("t0").config == found


@pytest.mark.parametrize(
    ("point", "told"),
    [
        ({"width": 10, "activation": "sin", "units": 1, "opt": 1}, "'sin' of 'activation' is none of its options"),
        ({"width": 10, "activation": "relu", "units": 1, "opt": 5}, "5 of 'opt' is none of its options"),
        ({"width": 10, "activation": "relu", "units": 1, "opt": 1, "height": 3}, "'height', which is not"),
        ({"width": 10, "opt": 0}, "no value for activation, lr, units"),
    ],
)
def test_a_point_that_cannot_be_tried_is_refused_beforehand(point, told):
    with pytest.raises(ConfigurationError, match=told):
        check_search(HyperOptSearch(space(), points_to_evaluate=[point]), {})


def test_none_is_hyperopts_own_default():
    searcher = HyperOptSearch(n_initial_points=None, gamma=None)
    assert (searcher._n_initial_points, searcher._gamma) == (20, 0.25)
