"""The search space as libraries see it: what is suggested becomes a value of the domain, and the way back."""

from __future__ import annotations

import math
import random

import pytest

from perdure.errors import ConfigurationError
from perdure.search_space.functions import (
    choice,
    lograndint,
    loguniform,
    qlograndint,
    qloguniform,
    qrandint,
    qrandn,
    quniform,
    randint,
    randn,
    uniform,
)
from perdure.search_space.parameters import Choice, ParameterSpace, Real, Whole

DOMAINS = {
    "uniform": (uniform(-1, 2), Real(low=-1, high=2)),
    "loguniform": (loguniform(1e-3, 1), Real(low=1e-3, high=1, log=True)),
    "quniform": (quniform(-0.5, 0.5, 0.1), Whole(low=-5, high=5)),
    "qloguniform": (qloguniform(0.5, 4, 0.5), Whole(low=1, high=8, log=True)),
    "randint": (randint(0, 3), Whole(low=0, high=2)),
    "lograndint": (lograndint(1, 10), Whole(low=1, high=9, log=True)),
    "qrandint": (qrandint(3, 17, 5), Whole(low=1, high=3)),
    "qlograndint": (qlograndint(4, 16, 4), Whole(low=1, high=4, log=True)),
    "choice": (choice(["a", None, 3]), Choice(size=3)),
}


def one(domain):
    (parameter,) = ParameterSpace({"x": domain}, "It").parameters
    return parameter


@pytest.mark.parametrize("name", DOMAINS)
def test_a_domain_is_a_real_or_whole_number_or_a_choice(name):
    domain, kind = DOMAINS[name]
    assert one(domain).kind == kind


@pytest.mark.parametrize("name", DOMAINS)
def test_what_random_search_draws_is_there_and_comes_back(name):
    parameter, rng = one(DOMAINS[name][0]), random.Random(0)
    for _ in range(300):
        value = parameter.domain.draw(rng)
        assert parameter.decode(parameter.encode(value)) == value


@pytest.mark.parametrize("name", [name for name in DOMAINS if name not in ("uniform", "loguniform", "choice")])
def test_every_value_and_no_other_can_be_suggested(name):
    parameter, rng = one(DOMAINS[name][0]), random.Random(0)
    drawn = {parameter.domain.draw(rng) for _ in range(2000)}
    suggested = {parameter.decode(parameter.kind.from_unit(rng.random())) for _ in range(2000)}
    beyond = {parameter.decode(raw) for raw in (parameter.kind.low - 3.2, parameter.kind.high + 3.2)}
    assert suggested == drawn
    assert beyond == {min(drawn), max(drawn)}


@pytest.mark.parametrize("name", DOMAINS)
def test_coordinates_are_whole_numbers_where_each_counts_the_same_and_else_from_0_to_1(name):
    domain, kind = DOMAINS[name]
    parameter = one(domain)
    counted = isinstance(kind, Choice) or (isinstance(kind, Whole) and not kind.log)
    first = 0 if isinstance(kind, Choice) else kind.low
    last = kind.size - 1 if isinstance(kind, Choice) else kind.high
    for raw in (first, last):
        at = parameter.to_coordinate(raw)
        assert at == raw if counted else 0 <= at <= 1
        assert parameter.from_coordinate(at) == pytest.approx(raw)
    assert parameter.to_coordinate(None) == parameter.to_coordinate(first)


def test_a_logarithmic_unit_is_as_long_for_each_order_of_magnitude():
    kind = one(loguniform(1e-4, 1)).kind
    assert kind.from_unit(0.5) == pytest.approx(1e-2)
    assert kind.to_unit(1e-3) == pytest.approx(0.25)


@pytest.mark.parametrize(("domain", "step"), [(randn(5, 2), 0), (qrandn(5, 2, 0.25), 0.25)])
def test_a_normal_number_is_spread_as_it_should_be(domain, step):
    parameter, rng = one(domain), random.Random(0)
    values = [parameter.decode(parameter.kind.from_unit(rng.random())) for _ in range(4000)]
    mean = sum(values) / len(values)
    assert mean == pytest.approx(5, abs=0.15)
    assert math.sqrt(sum((value - mean) ** 2 for value in values) / len(values)) == pytest.approx(2, abs=0.15)
    if step:
        assert all(value / step == round(value / step) for value in values)


@pytest.mark.parametrize(
    ("domain", "value"),
    [
        (uniform(0, 1), 1.1),
        (randint(0, 3), 3),
        (quniform(0, 1, 0.25), 0.3),
        (choice([1, 2]), True),
        (uniform(0, 1), "a"),
    ],
)
def test_a_value_of_another_domain_is_refused_by_name(domain, value):
    with pytest.raises(ConfigurationError, match=f"The value {value!r} of 'x' is not in its domain"):
        one(domain).encode(value)


def test_what_comes_with_a_choice_is_there_with_it_alone():
    space = ParameterSpace({"m": choice([{"k": 1, "lr": uniform(0, 1)}, choice(["a", "b"]), "none"]), "c": 1}, "It")
    names = ["m", "m[0]/lr", "m[1]"]
    assert [parameter.name for parameter in space.parameters] == names
    raws = {"m": 0, "m[0]/lr": 0.25, "m[1]": 1}
    assert space.build(raws) == {"m": {"k": 1, "lr": 0.25}}
    assert space.build({**raws, "m": 1}) == {"m": "b"}
    assert space.read({"m": {"k": 1, "lr": 0.25}, "c": 1}) == {"m": 0, "m[0]/lr": 0.25}
    assert space.read({"m": "b"}) == {"m": 1, "m[1]": 1}
    assert space.read({"m": "none"}) == {"m": 2}
    with pytest.raises(ConfigurationError, match="'m'"):
        space.read({"m": {"k": 2, "lr": 0.25}})


def test_a_point_names_only_what_an_alternative_has():
    space = ParameterSpace({"opt": choice([{"name": "sgd", "m": {"lr": uniform(0, 1)}}, {"name": "adam"}, 3])}, "It")
    assert space.read({"opt": {"name": "sgd", "m/lr": 0.5}}, partial=True) == {"opt": 0, "opt[0]/m/lr": 0.5}
    assert space.read({"opt": {"name": "sgd"}}, partial=True) == {"opt": 0}
    assert space.read({"opt": 3}, partial=True) == {"opt": 2}
    for value in ({"name": "sgd", "m": {"lrr": 0.5}}, {"name": "sgd", "m": 0.5}, {"name": "sgd", "m/lr": 5}, 4):
        with pytest.raises(ConfigurationError, match="of 'opt' is not in its domain"):
            space.read({"opt": value}, partial=True)
    assert space.read({"opt": {"name": "sgd", "m": {"lr": 0.5}, "more": 1}}) == {"opt": 0, "opt[0]/m/lr": 0.5}


@pytest.mark.parametrize("value", [3, None, "ab", [], [0.5]])
def test_a_point_has_dicts_and_lists_where_the_space_has(value):
    space = ParameterSpace({"a": {"x": uniform(0, 1)}, "b": [uniform(0, 1), uniform(0, 1)]}, "It")
    assert space.read({"a": {}}, partial=True) == {}
    for name in ("a", "b"):
        with pytest.raises(ConfigurationError):
            space.read({name: value}, partial=True)


def test_functions_that_came_through_a_pickle_are_known_again():
    import cloudpickle

    def first():
        return 1

    def second():
        return 2

    space = ParameterSpace({"f": choice([first, second])}, "It")
    restored = cloudpickle.loads(cloudpickle.dumps(second))
    assert restored is not second
    assert space.read({"f": restored}) == {"f": 1}


def test_a_number_without_bounds_is_refused():
    from perdure.search_space.domains import Float

    with pytest.raises(ConfigurationError, match="'x'"):
        one(Float(None, None))
