"""How a configuration varies."""

import random

import pytest

from perdure.errors import ConfigurationError, PluginError
from perdure.schedulers.exploration import check_mutations, complete, explore
from perdure.search_space.functions import choice, grid_search, randint, sample_from, uniform


def varied(config, mutations, *, resample=0.0, factors=(1.2, 0.8), seeds=200, custom=None):
    """All that a configuration becomes, over many draws."""
    return [
        explore(
            config,
            mutations,
            resample_probability=resample,
            factors=factors,
            rng=random.Random(seed),
            custom=custom,
        )
        for seed in range(seeds)
    ]


def values(configs, key):
    return {config[key] for config in configs}


def test_a_value_of_a_list_moves_to_a_neighbour_and_stays_at_the_ends():
    mutations = {"batch": [16, 32, 64, 128]}
    assert values(varied({"batch": 32}, mutations), "batch") == {16, 64}
    assert values(varied({"batch": 16}, mutations), "batch") == {16, 32}
    assert values(varied({"batch": 128}, mutations), "batch") == {64, 128}


def test_a_value_that_is_not_in_the_list_is_drawn_from_it():
    assert values(varied({"batch": 48}, {"batch": (16, 32)}), "batch") == {16, 32}


def test_a_number_is_multiplied_by_one_of_the_factors():
    for mutation in (uniform(0, 1), lambda: 0.5):
        assert values(varied({"lr": 1.0}, {"lr": mutation}), "lr") == {1.2, 0.8}
    assert values(varied({"lr": 1.0}, {"lr": uniform(0, 1)}, factors=(2, 3, 4)), "lr") == {2.0, 3.0, 4.0}


def test_a_factor_may_leave_the_range():
    assert max(values(varied({"lr": 1.0}, {"lr": uniform(0, 1)}), "lr")) > 1


def test_a_whole_number_stays_whole_and_a_switch_a_switch():
    assert values(varied({"units": 7}, {"units": randint(1, 10)}), "units") == {8, 6}
    assert values(varied({"on": True}, {"on": choice([True, False])}), "on") == {True}
    assert values(varied({"on": True}, {"on": choice([True, False])}, resample=1.0), "on") == {True, False}


def test_what_is_no_number_is_drawn_anew():
    assert values(varied({"act": "relu"}, {"act": choice(["relu", "tanh"])}), "act") == {"relu", "tanh"}


def test_resampling_draws_from_the_distribution():
    drawn = values(varied({"lr": 50.0}, {"lr": uniform(0, 1)}, resample=1.0), "lr")
    assert len(drawn) == 200
    assert all(0 <= value <= 1 for value in drawn)


@pytest.mark.parametrize("probability", [0.25, 0.75])
def test_resampling_happens_as_often_as_asked(probability):
    configs = varied({"lr": 5.0}, {"lr": uniform(0, 1)}, resample=probability, seeds=2000)
    resampled = sum(config["lr"] <= 1 for config in configs)
    assert abs(resampled / 2000 - probability) < 0.05


def test_nested_hyperparameters_vary_and_the_rest_is_left():
    config = {"opt": {"lr": 1.0, "name": "sgd"}, "seed": 3}
    configs = varied(config, {"opt": {"lr": uniform(0, 1)}})
    assert {each["opt"]["lr"] for each in configs} == {1.2, 0.8}
    assert all(each["opt"]["name"] == "sgd" and each["seed"] == 3 for each in configs)
    assert config == {"opt": {"lr": 1.0, "name": "sgd"}, "seed": 3}


def test_a_function_of_the_users_varies_last_and_its_draws_can_be_had_again():
    def custom(config):
        return {**config, "extra": random.random(), "lr": -config["lr"]}

    first, again = (varied({"lr": 1.0}, {"lr": uniform(0, 1)}, custom=custom, seeds=20) for _ in range(2))
    assert first == again
    assert values(first, "lr") == {-1.2, -0.8}
    assert len(values(first, "extra")) == 20


def test_a_function_that_returns_no_configuration_is_named():
    with pytest.raises(PluginError, match="custom_explore_fn returned None"):
        varied({"lr": 1.0}, {}, custom=lambda config: None, seeds=1)


def test_the_users_random_state_is_left_alone():
    random.seed(7)
    expected = random.random()
    random.seed(7)
    explore({"a": 1}, {"a": random.random}, resample_probability=1, factors=(1,), rng=random.Random(1))
    assert random.random() == expected


def test_what_a_configuration_lacks_is_drawn():
    mutations = {"lr": uniform(0, 1), "opt": {"name": ["sgd", "adam"], "beta": lambda: 0.9}, "kept": [1, 2]}
    drawn = complete({"kept": 7, "opt": {"name": "mine"}}, mutations, random.Random(1))
    assert (drawn["kept"], drawn["opt"]) == (7, {"name": "mine", "beta": 0.9})
    assert 0 <= drawn["lr"] <= 1


@pytest.mark.parametrize(
    ("mutations", "message"),
    [
        ({"lr": 0.1}, r"hyperparam_mutations\['lr'\]=0.1: expected a list"),
        ({"opt": {"lr": "fast"}}, r"hyperparam_mutations\['opt'\]\['lr'\]='fast'"),
        ({"lr": []}, "has no values"),
        ({"lr": sample_from(lambda spec: 1)}, "sample_from"),
        ({"opt": {"lr": grid_search([1, 2])}}, r"hyperparam_mutations\['opt'\]\['lr'\]: grid_search"),
    ],
)
def test_what_is_no_mutation_is_refused_by_name(mutations, message):
    with pytest.raises(ConfigurationError, match=message):
        check_mutations(mutations)
