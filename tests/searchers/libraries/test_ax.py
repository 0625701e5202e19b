"""What AxSearch can beyond what all searchers can."""

from __future__ import annotations

import pytest

from perdure.search_space.functions import choice, uniform
from perdure.searchers.driver import SearchDriver
from perdure.searchers.registry import create_searcher

pytestmark = [pytest.mark.library, pytest.mark.filterwarnings("default")]


def test_a_choice_of_two_is_searched():
    """Ax takes two values to be in an order, and then wants them sorted."""
    space = {"optimizer": choice(["sgd", "adam"]), "lr": uniform(0, 1)}
    search = SearchDriver(create_searcher("ax"), param_space=space, num_samples=4, metric="loss", mode="min", seed=0)
    assert {search.next(f"t{number}").config["optimizer"] for number in range(4)} == {"sgd", "adam"}
