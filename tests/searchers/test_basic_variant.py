import logging
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure import tune
from perdure.errors import ConfigurationError
from perdure.search_space import choice, grid_search, randint, sample_from, uniform
from perdure.searchers.basic_variant import BasicVariantGenerator
from perdure.searchers.driver import FINISHED, WAIT, PastCompletion, PastSuggestion, SearchDriver, check_search

SPACE = {"a": grid_search([1, 2]), "b": uniform(0, 1), "n": {"c": sample_from(lambda c: c["b"] * 2)}}


def driver(space=SPACE, num_samples=1, searcher=None, seed=1):
    return SearchDriver(searcher, param_space=space, num_samples=num_samples, seed=seed)


def configs(search, limit=100):
    found = []
    for number in range(limit):
        answer = search.next(f"t{number}")
        if answer is FINISHED:
            break
        found.append(answer.config)
    return found


def test_each_sample_tries_the_whole_grid():
    found = configs(driver(num_samples=3))
    assert [config["a"] for config in found] == [1, 2, 1, 2, 1, 2]
    assert len({config["b"] for config in found}) == 6
    assert all(config["n"]["c"] == config["b"] * 2 for config in found)


def test_draws_are_shared_by_a_sample_if_asked_for():
    searcher = BasicVariantGenerator(constant_grid_search=True)
    found = configs(driver(num_samples=2, searcher=searcher))
    assert [config["a"] for config in found] == [1, 2, 1, 2]
    assert found[0]["b"] == found[1]["b"] != found[2]["b"] == found[3]["b"]


def test_points_come_first_and_count_as_samples():
    space = {"a": grid_search([1, 2]), "b": randint(0, 3)}
    searcher = BasicVariantGenerator(points_to_evaluate=[{"a": 2, "b": 2}, {"a": 1}, {"b": 2}])
    search = driver(space, 4, searcher)
    found = configs(search)
    assert search.total == len(found) == 6
    assert found[0] == {"a": 2, "b": 2}
    assert found[1]["a"] == 1
    assert found[2:4] == [{"a": 1, "b": 2}, {"a": 2, "b": 2}]
    assert [config["a"] for config in found[4:]] == [1, 2]


def test_all_points_are_tried_however_few_samples_there_are():
    searcher = BasicVariantGenerator(points_to_evaluate=[{"a": 1}, {"a": 2}, {"a": 3}])
    assert configs(driver({"a": randint(5, 9)}, 1, searcher)) == [{"a": 1}, {"a": 2}, {"a": 3}]


def test_the_values_of_a_point_count_as_searched():
    space = {"lr": uniform(0, 1), "n": {"units": choice([8, 16])}, "l": [uniform(0, 1), 5], "c": 3}
    point = {"lr": 0.5, "n": {"units": 8}, "l": [0.25, 5]}
    suggestion = driver(space, 1, BasicVariantGenerator(points_to_evaluate=[point])).next("t")
    assert suggestion.config == {"lr": 0.5, "n": {"units": 8}, "l": [0.25, 5], "c": 3}
    assert suggestion.searched == {"l/0": 0.25, "lr": 0.5, "n/units": 8}


def test_a_point_outside_its_domain_is_used_with_a_warning(caplog):
    space = {"lr": uniform(0, 1), "c": 3, "opt": choice(["sgd"])}
    with caplog.at_level(logging.WARNING):
        found = configs(driver(space, 1, BasicVariantGenerator([{"lr": 7, "c": 4, "opt": ["x"]}])))
    assert found == [{"lr": 7, "c": 4, "opt": ["x"]}]
    assert [record.getMessage().split(" ")[2] for record in caplog.records] == ["7", "4", "['x']"]


def test_a_point_may_name_what_is_nested_by_its_path():
    space = {"n": {"lr": uniform(0, 1), "c": 3}, "a/b": uniform(0, 1), "list": [uniform(0, 1), 5, {"x": uniform(0, 1)}]}
    point = {"n/lr": 7, "n": {"c": 4}, "a/b": 8, "list/0": 9, "list": {2: {"x": 6}}}
    found = configs(driver(space, 1, BasicVariantGenerator([point])))
    assert found == [{"n": {"lr": 7, "c": 4}, "a/b": 8, "list": [9, 5, {"x": 6}]}]


@pytest.mark.parametrize(
    ("point", "name"),
    [
        ({"n": {"lrr": 1}}, "'n/lrr'"),
        ({"n/lrr": 1}, "'n/lrr'"),
        ({"m/lr": 1}, "'m/lr'"),
        ({"list/1": 1}, "'list/1'"),
        ({"list/x": 1}, "'list/x'"),
        ({"list": {"x": 1}}, "'list/x'"),
        ({"list": {7: 1}}, "'list/7'"),
        ({5: 1}, "'5'"),
    ],
)
def test_a_name_that_the_space_has_not_is_refused_beforehand(point, name):
    space = {"n": {"lr": uniform(0, 1)}, "list": [uniform(0, 1)]}
    with pytest.raises(
        ConfigurationError, match=rf"^points_to_evaluate\[1\] of BasicVariantGenerator .*{name}, which is not"
    ):
        check_search(BasicVariantGenerator([{"n/lr": 0.5}, point]), space)
    check_search(BasicVariantGenerator([{"n": 3}, {"n/lr": 9, "list": []}]), space)  # the user may know better


def test_a_point_with_an_unknown_key_is_refused():
    with pytest.raises(ConfigurationError, match="'n/lrr', which is not in param_space"):
        driver({"n": {"lr": uniform(0, 1)}}, 1, BasicVariantGenerator([{"n": {"lrr": 1}}]))
    with pytest.raises(ConfigurationError, match=r"points_to_evaluate=.*use a list or None, not a dict"):
        BasicVariantGenerator(points_to_evaluate={"lr": 1})
    with pytest.raises(ConfigurationError, match="must be a dict, not 3"):
        driver(SPACE, 1, BasicVariantGenerator([3]))


# --- a pure function of the space, the seed and the number ------------------------------------------------------------


@given(seed=st.integers(0, 2**40), samples=st.integers(1, 6), constant=st.booleans(), points=st.integers(0, 3))
def test_a_configuration_is_the_same_however_it_is_reached(seed, samples, constant, points):
    def generator():
        return BasicVariantGenerator([{"b": 0.5}] * points, constant_grid_search=constant)

    listed = configs(driver(SPACE, samples, generator(), seed))
    variants = generator().variants(SPACE, samples, seed)
    assert variants.total == len(listed)
    for index in reversed(range(len(listed))):
        assert variants[index].config == listed[index]
    for count in range(len(listed) + 1):
        restored = driver(SPACE, samples, generator(), seed)
        restored.replay_suggested(count)
        assert configs(restored) == listed[count:]


def test_other_seeds_draw_otherwise():
    assert configs(driver(seed=1)) != configs(driver(seed=2))
    assert configs(driver(seed=None)) != configs(driver(seed=None))


def test_what_is_drawn_is_fixed_for_good():
    """An experiment restored under another version of Python, or of perdure, goes on drawing the same values."""
    first = driver({"u": uniform(0, 1), "i": randint(0, 1000), "c": choice("abcdefgh")}, seed=42).next("t").config
    assert first == {"u": 0.6179366180191107, "i": 517, "c": "b"}


def test_a_random_state_counts_more_than_the_seed():
    numpy = pytest.importorskip("numpy")
    one = driver(searcher=BasicVariantGenerator(random_state=5), seed=1)
    other = driver(searcher=BasicVariantGenerator(random_state=5), seed=2)
    assert configs(one) == configs(other)
    assert one.seed == 5
    for make in (numpy.random.RandomState, numpy.random.default_rng):
        again = [configs(driver(searcher=BasicVariantGenerator(random_state=make(3)))) for _ in range(2)]
        assert again[0] == again[1]
    with pytest.raises(ConfigurationError, match="random_state='x'"):
        BasicVariantGenerator(random_state="x")


def test_a_pickled_generator_goes_on_as_it_began():
    searcher = BasicVariantGenerator()
    copy = pickle.loads(pickle.dumps(searcher))
    assert configs(driver(searcher=searcher, seed=None)) == configs(driver(searcher=copy, seed=None))


def test_the_hundred_thousandth_configuration_needs_none_before_it():
    search = driver({"a": grid_search(range(100)), "b": uniform(0, 1)}, num_samples=1000)
    before = len(pickle.dumps(vars(search._source)["_live"])), sorted(vars(search._source))
    assert search.total == 100_000
    first = search.next("t0").config
    search.replay_suggested(99_999)
    last = search.next("t99999").config
    assert search.next("t100000") is FINISHED
    assert (first["a"], last["a"]) == (0, 99)
    assert (len(pickle.dumps(vars(search._source)["_live"])), sorted(vars(search._source))) == before


def test_an_endless_search_has_no_total():
    search = driver(num_samples=-1)
    assert search.total is None
    search.replay_suggested(10**9)
    assert search.next("t").config["a"] == 1


def test_an_empty_space_gives_one_empty_configuration_per_sample():
    assert configs(driver({}, 2)) == [{}, {}]
    assert configs(driver(None, 2)) == [{}, {}]


# --- limits -----------------------------------------------------------------------------------------------------------


def test_only_so_many_trials_are_unfinished_at_a_time():
    search = driver(num_samples=2, searcher=BasicVariantGenerator(max_concurrent=2))
    search.next("t0")
    search.next("t1")
    assert search.next("t2") is WAIT
    search.on_result("t0", {"x": 1})
    assert search.next("t2") is WAIT
    search.on_complete("t0", {"x": 1}, error=False)
    assert search.next("t2").config["a"] == 1
    restored = driver(num_samples=2, searcher=BasicVariantGenerator(max_concurrent=2))
    restored.replay_suggested(3, live=["t1", "t2"])
    assert restored.next("t3") is WAIT
    told = driver(num_samples=2, searcher=BasicVariantGenerator(max_concurrent=2))
    past = [PastSuggestion(trial=f"t{number}", config={}) for number in range(3)]
    assert told.replay([*past, PastCompletion(trial="t0", result=None)]) is None
    assert told.next("t3") is WAIT
    told.on_complete("t1", None, error=True)
    assert told.next("t3").config["a"] == 2
    assert told.next("t4") is FINISHED


def test_a_space_that_cannot_be_used_is_refused_before_any_trial():
    with pytest.raises(ConfigurationError, match="must be a dict"):
        driver([1])
    with pytest.raises(ConfigurationError, match="must be a Searcher"):
        driver(searcher="optuna")


def test_random_search_says_nothing(tmp_path, capfd, caplog):
    """No metric, no mode, no seed: nothing to warn of."""
    tune.Tuner(
        lambda config: tune.report({"loss": config["x"]}),
        param_space={"x": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(num_samples=2),
        run_config=tune.RunConfig(storage_path=str(tmp_path), name="run", verbose=0),
    ).fit()
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
