import math
import pickle
import random
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import ConfigurationError
from perdure.search_space import (
    Categorical,
    Float,
    Integer,
    LogUniform,
    Quantized,
    choice,
    grid_search,
    lograndint,
    loguniform,
    qlograndint,
    qloguniform,
    qrandint,
    qrandn,
    quniform,
    randint,
    randn,
    sample_from,
    uniform,
)

SEEDS = st.integers(0, 2**31 - 1)
FINITE = st.floats(-1e9, 1e9)
POSITIVE = st.floats(1e-9, 1e9)


@given(lower=FINITE, width=st.floats(0, 1e9), seed=SEEDS)
def test_uniform_stays_between_its_bounds(lower, width, seed):
    domain = uniform(lower, lower + width)
    value = domain.sample(random_state=seed)
    assert isinstance(value, float)
    assert lower <= value <= lower + width
    assert domain.is_valid(value)


@given(lower=POSITIVE, factor=st.floats(1, 1e6), seed=SEEDS)
def test_loguniform_stays_between_its_bounds(lower, factor, seed):
    value = loguniform(lower, lower * factor).sample(random_state=seed)
    assert lower <= value <= lower * factor


@given(lower=st.integers(-(10**12), 10**12), width=st.integers(1, 10**6), seed=SEEDS)
def test_randint_never_reaches_its_upper_bound(lower, width, seed):
    value = randint(lower, lower + width).sample(random_state=seed)
    assert type(value) is int
    assert lower <= value < lower + width


@given(lower=st.integers(1, 10**9), width=st.integers(1, 10**6), seed=SEEDS)
def test_lograndint_never_reaches_its_upper_bound(lower, width, seed):
    assert lower <= lograndint(lower, lower + width).sample(random_state=seed) < lower + width


@given(lower=st.integers(-1000, 1000), steps=st.integers(1, 50), q=st.integers(2, 40), seed=SEEDS)
def test_qrandint_gives_multiples_and_may_reach_its_upper_bound(lower, steps, q, seed):
    upper = lower + steps * q
    value = qrandint(lower, upper, q).sample(random_state=seed)
    assert value % q == 0
    assert lower <= value <= upper


@given(first=st.integers(-50, 50), steps=st.integers(0, 50), q=st.sampled_from([0.1, 0.3, 0.05, 2.5, 1e-4]), seed=SEEDS)
def test_quniform_gives_multiples_within_its_bounds(first, steps, q, seed):
    lower, upper = first * q, (first + steps) * q
    value = quniform(lower, upper, q).sample(random_state=seed)
    assert lower <= value <= upper
    assert math.isclose(value / q, round(value / q), abs_tol=1e-6)


def test_every_integer_of_a_range_is_drawn():
    assert set(randint(0, 4).sample(size=300)) == {0, 1, 2, 3}
    assert set(qrandint(0, 8, 4).sample(size=300)) == {0, 4, 8}
    assert set(qrandint(1, 10, 4).sample(size=300)) == {4, 8}
    assert set(qlograndint(1, 40, 10).sample(size=500)) == {10, 20, 30, 40}
    assert set(lograndint(1, 4).sample(size=300)) == {1, 2, 3}


def test_qrandint_by_one_excludes_its_upper_bound():
    assert set(qrandint(0, 3).sample(size=300)) == {0, 1, 2}
    assert set(qlograndint(1, 3, 1).sample(size=300)) == {1, 2}


def test_logarithmic_draws_favour_no_order_of_magnitude():
    drawn = Counter(math.floor(math.log10(value)) for value in loguniform(1e-4, 1).sample(size=4000, random_state=1))
    assert set(drawn) == {-4, -3, -2, -1}
    assert all(800 < count < 1200 for count in drawn.values())


def test_randn_has_the_mean_and_spread_it_was_given():
    values = randn(10, 2).sample(size=4000, random_state=1)
    mean = sum(values) / len(values)
    assert abs(mean - 10) < 0.2
    assert abs(math.sqrt(sum((value - mean) ** 2 for value in values) / len(values)) - 2) < 0.2


def test_qrandn_rounds_to_multiples():
    assert all(value % 0.5 == 0 for value in qrandn(0, 3, 0.5).sample(size=50))


def test_quantized_floats_are_written_as_people_write_them():
    drawn = set(quniform(0, 0.9, 0.1).sample(size=500))
    assert drawn == {0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9}


def test_qloguniform_includes_both_bounds():
    drawn = qloguniform(1, 4, 1).sample(size=500)
    assert set(drawn) == {1.0, 2.0, 3.0, 4.0}
    assert isinstance(drawn[0], float)


def test_choice_takes_values_of_any_kind():
    class Adam:
        pass

    def sgd():
        pass

    assert {id(value) for value in choice([Adam, sgd]).sample(size=50)} == {id(Adam), id(sgd)}
    assert choice(range(3)).categories == [0, 1, 2]
    assert choice([1]).sample() == 1


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: uniform(2, 1), "wrong way round"),
        (lambda: uniform(None, 1), "finite bounds"),
        (lambda: uniform(0, math.inf), "finite bounds"),
        (lambda: uniform(math.nan, 1), "not a number"),
        (lambda: uniform("0", 1), "not a number"),
        (lambda: loguniform(0, 1), "above 0"),
        (lambda: loguniform(-1, 1), "above 0"),
        (lambda: lograndint(0, 5), "above 0"),
        (lambda: randint(3, 3), "upper bound is exclusive"),
        (lambda: randint(5, 3), "wrong way round"),
        (lambda: randint(0.5, 3), "whole number"),
        (lambda: quniform(0, 1, 0.3), "no multiple of q=0.3"),
        (lambda: qloguniform(0.15, 1, 0.1), "no multiple of q=0.1"),
        (lambda: quniform(0, 1, -0.1), "above 0"),
        (lambda: qrandint(5, 7, 4), "no multiple of q=4"),
        (lambda: qrandint(0, 10, 0), "above 0"),
        (lambda: qrandint(0, 10, 2.5), "whole number"),
        (lambda: qrandint(0, 0, 1), "no multiple"),
        (lambda: randn(0, 0), "sd=0"),
        (lambda: choice([]), "empty"),
        (lambda: choice(3), "must be a list"),
        (lambda: grid_search([]), "empty"),
        (lambda: grid_search(None), "must be a list"),
        (lambda: sample_from(3), "needs a function"),
        (lambda: sample_from(lambda a, b: 1), "callable with the config"),
        (lambda: Float(0, 1).normal(), "no bounds"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_is_written(make, says):
    with pytest.raises(ConfigurationError, match=says):
        make()
    with pytest.raises(ValueError):  # what scripts written for Ray expect
        make()


def test_whole_floats_are_taken_as_integers():
    assert randint(1, 1e3).upper == 1000
    assert type(randint(1.0, 2.0).sample()) is int


def test_domains_answer_what_searchers_ask():
    domain = Float(1e-4, 1e-1).loguniform().quantized(1e-4)
    assert isinstance(domain.sampler, Quantized)
    assert domain.sampler.q == 1e-4
    assert isinstance(domain.get_sampler().get_sampler(), LogUniform)
    assert (Integer(1, 5).lower, Integer(1, 5).upper) == (1, 5)
    assert Categorical([1, 2]).grid().is_grid()
    assert len(choice("ab")) == 2
    assert choice("ab")[1] == "b"
    assert sample_from(lambda: 1).is_function()
    assert Integer(0, 5).is_valid(3)
    assert not choice([1]).is_valid(2)


def test_a_domain_is_not_changed_by_its_methods():
    plain = Float(1, 10)
    plain.loguniform()
    assert plain.sampler is None
    assert 1 <= plain.sample() <= 10


def test_grid_search_is_a_plain_dict():
    assert grid_search((1, 2)) == {"grid_search": [1, 2]}


def test_draws_follow_the_seed_they_are_given():
    numpy = pytest.importorskip("numpy")
    domain = uniform(0, 1)
    assert domain.sample(random_state=7) == domain.sample(random_state=7)
    assert domain.sample(random_state=numpy.random.default_rng(1)) == domain.sample(
        random_state=numpy.random.default_rng(1)
    )
    assert domain.sample(random_state=numpy.random.RandomState(1)) == domain.sample(
        random_state=numpy.random.RandomState(1)
    )
    random.seed(3)
    first = domain.sample(size=3)
    random.seed(3)
    assert domain.sample(size=3) == first
    assert len(set(first)) == 3


def test_domains_survive_pickling():
    for domain in (quniform(0, 1, 0.5), qlograndint(1, 8, 2), choice([1, 2]), randn()):
        assert pickle.loads(pickle.dumps(domain)).sample(random_state=1) == domain.sample(random_state=1)


def test_numpy_is_not_needed():
    program = (
        "import sys; sys.modules['numpy'] = None\n"
        "from perdure.search_space import *\n"
        "s = Space({'a': loguniform(1, 2), 'b': qrandn(0, 1, .1), 'c': choice([1]), 'd': sample_from(lambda c: c.a)})\n"
        "import random\n"
        "assert s.variant(0, lambda path: random.Random(path)).config['c'] == 1\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=200, env={"PYTHONPATH": "src"})
