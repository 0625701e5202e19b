import copy
import itertools
import random
import threading
from collections import OrderedDict
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import ConfigurationError
from perdure.search_space import (
    Categorical,
    Space,
    choice,
    grid_search,
    randint,
    sample_from,
    uniform,
    unresolved,
)


def resolve(tree, number=0, seed=0):
    return Space(tree).variant(number, lambda path: random.Random(f"{seed}{path}"))


def combinations(tree):
    space = Space(tree)
    return [space.variant(number, random.Random).config for number in range(space.grid_size)]


def test_what_stands_beside_a_parameter_changes_neither_its_draws_nor_the_order_of_keys():
    tree = {"z": uniform(0, 1), "constant": "c", "a": randint(0, 1000), "n": choice([{"x": uniform(0, 1)}, 3])}
    plain = {name: node for name, node in tree.items() if name != "n"}
    for seed in range(20):
        alone, beside = resolve(plain, seed=seed), resolve(tree, seed=seed)
        assert beside.config == {**alone.config, "n": beside.config["n"]}
        assert list(alone.config) == ["z", "constant", "a"]
        assert list(alone.searched.items()) == [("a", alone.config["a"]), ("z", alone.config["z"])]


# --- grids ----------------------------------------------------------------------------------------------------------


def test_the_first_grid_by_name_changes_fastest():
    tree = {"b": grid_search([1, 2]), "a": grid_search("xy"), "n": {"z": grid_search([0, 9])}}
    assert [(c["a"], c["b"], c["n"]["z"]) for c in combinations(tree)] == [
        ("x", 1, 0), ("y", 1, 0), ("x", 2, 0), ("y", 2, 0), ("x", 1, 9), ("y", 1, 9), ("x", 2, 9), ("y", 2, 9),
    ]  # fmt: skip


def test_grids_inside_grid_values_are_tried_in_full():
    tree = {"o": grid_search([{"k": grid_search([1, 2, 3])}, 7]), "p": grid_search([0, 1])}
    assert [(c["o"], c["p"]) for c in combinations(tree)] == [
        ({"k": 1}, 0), ({"k": 2}, 0), ({"k": 3}, 0), (7, 0), ({"k": 1}, 1), ({"k": 2}, 1), ({"k": 3}, 1), (7, 1),
    ]  # fmt: skip


def test_a_grid_directly_inside_a_grid():
    assert combinations({"a": grid_search([grid_search([1, 2]), 3, choice([4])])}) == [
        {"a": 1}, {"a": 2}, {"a": 3}, {"a": 4},
    ]  # fmt: skip


GRID_VALUES = st.recursive(
    st.integers(0, 3),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(grid_search),
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=2),
    ),
    max_leaves=8,
)


def by_hand(node):
    """All combinations of a nested space, as a set: what a person would write down."""
    if isinstance(node, dict) and set(node) == {"grid_search"}:
        return list(itertools.chain.from_iterable(by_hand(value) for value in node["grid_search"]))
    if isinstance(node, dict):
        return [
            dict(zip(node, values, strict=True)) for values in itertools.product(*(by_hand(v) for v in node.values()))
        ]
    return [node]


@given(st.dictionaries(st.sampled_from("xyz"), GRID_VALUES, max_size=3))
def test_every_combination_is_tried_exactly_once(tree):
    assert sorted(map(repr, combinations(tree))) == sorted(map(repr, by_hand(tree)))


def test_grids_may_be_written_as_dicts_or_as_domains():
    assert combinations({"a": {"grid_search": [1, 2]}, "b": Categorical([3]).grid()}) == [
        {"a": 1, "b": 3},
        {"a": 2, "b": 3},
    ]


def test_an_empty_grid_is_named():
    with pytest.raises(ConfigurationError, match=r"'n/a'.*empty"):
        Space({"n": {"a": {"grid_search": []}}})


def test_a_grid_inside_a_choice_is_refused():
    with pytest.raises(ConfigurationError, match="'a' are drawn at random"):
        Space({"a": choice([grid_search([1, 2])])})
    with pytest.raises(ConfigurationError, match="drawn at random"):
        Space({"a": grid_search([{"b": choice([{"c": grid_search([1, 2])}])}])})


def test_a_huge_grid_is_not_listed():
    space = Space({f"p{index}": grid_search(range(10)) for index in range(30)})
    assert space.grid_size == 10**30
    assert list(space.variant(10**30 - 1, random.Random).config.values()) == [9] * 30


# --- drawing --------------------------------------------------------------------------------------------------------


def test_lists_and_tuples_are_searched_too():
    variant = resolve({"layers": [randint(0, 5), (randint(5, 9), 3)], "n": [{"a": choice(["x"])}]})
    first, (second, three) = variant.config["layers"]
    assert 0 <= first < 5 <= second < 9
    assert three == 3
    assert variant.searched == {"layers/0": first, "layers/1/0": second, "n/0/a": "x"}


def test_values_of_a_choice_may_be_spaces():
    variant = resolve({"opt": choice([{"name": "sgd", "lr": uniform(1, 2)}]), "deep": choice([choice([choice([5])])])})
    assert variant.config["opt"]["name"] == "sgd"
    assert 1 <= variant.config["opt"]["lr"] <= 2
    assert variant.config["deep"] == 5
    assert variant.searched == {"deep": 5, "opt/name": "sgd", "opt/lr": variant.config["opt"]["lr"]}


def test_constants_are_not_among_what_was_searched():
    variant = resolve({"a": 1, "b": {"c": "x", "d": choice([2])}})
    assert variant.config == {"a": 1, "b": {"c": "x", "d": 2}}
    assert variant.searched == {"b/d": 2}


def test_functions_and_classes_stay_what_they_are():
    def schedule(step):
        return step

    config = resolve({"f": schedule, "c": dict, "n": None, "l": [len]}).config
    assert config == {"f": schedule, "c": dict, "n": None, "l": [len]}


def test_parameters_of_one_space_are_drawn_independently():
    many = [resolve({"a": uniform(0, 1), "b": uniform(0, 1)}, seed=seed).config for seed in range(50)]
    assert all(config["a"] != config["b"] for config in many)
    assert sum(config["a"] < config["b"] for config in many) not in (0, 50)


def test_a_parameter_does_not_change_when_another_is_added():
    alone = resolve({"a": uniform(0, 1)}).config["a"]
    assert resolve({"0": uniform(0, 1), "a": uniform(0, 1), "z": choice([1, 2])}).config["a"] == alone


# --- functions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        lambda config: config["a"] + config["n"]["b"],
        lambda config: config.a + config.n.b,
        lambda spec: spec.config.a + spec.config.n.b,
        lambda spec: spec["config"]["a"] + spec.config["n"]["b"],
        lambda config: sum([config.get("a"), dict(config["n"])["b"]]),
        lambda config: config["a"] + config["n"].copy()["b"],
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_function_sees_the_other_values_whatever_the_order(function, first):
    others = {"a": choice([3]), "n": {"b": grid_search([4])}}
    tree = {"c": sample_from(function), **others} if first else {**others, "c": sample_from(function)}
    assert resolve(tree).searched["c"] == 7


def test_functions_may_depend_on_functions():
    tree = {
        "c": sample_from(lambda c: c["b"] + 1),
        "b": sample_from(lambda c: c["a"] + 1),
        "a": sample_from(lambda: 1),
        "list": [sample_from(lambda c: c["list2"][0]), 2],
        "list2": [choice([8])],
    }
    assert resolve(tree).config == {"c": 3, "b": 2, "a": 1, "list": [8, 2], "list2": [8]}


def test_a_function_is_called_once_for_each_configuration():
    calls = []
    tree = {
        "a": sample_from(lambda: calls.append(1) or 5),
        "b": sample_from(lambda c: c.a),
        "c": sample_from(lambda c: c.a),
    }
    assert resolve(tree).config == {"a": 5, "b": 5, "c": 5}
    assert len(calls) == 1


def test_a_circle_is_shown():
    tree = {
        "a": sample_from(lambda c: c["b"]),
        "n": {"x": sample_from(lambda c: c.a)},
        "b": sample_from(lambda c: c.n.x),
    }
    with pytest.raises(ConfigurationError, match="a -> b -> n/x -> a"):
        resolve(tree)


def test_a_function_that_raises_is_named_and_its_error_kept():
    with pytest.raises(ConfigurationError, match="sample_from function of 'n/a' raised ZeroDivisionError") as caught:
        resolve({"n": {"a": sample_from(lambda: 1 / 0)}})
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(ConfigurationError, match="KeyError: 'lr'"):
        resolve({"a": sample_from(lambda c: c["lr"])})
    with pytest.raises(ConfigurationError, match=r"has no 'lr' .it has a, b."):
        resolve({"a": sample_from(lambda c: c.lr), "b": 1})


def test_a_function_may_return_a_space_or_a_part_of_the_configuration():
    tree = {
        "o": {"x": choice([1])},
        "a": sample_from(lambda c: c.o),
        "b": sample_from(lambda: choice([{"z": choice([2])}])),
    }
    variant = resolve(tree)
    assert variant.config == {"o": {"x": 1}, "a": {"x": 1}, "b": {"z": 2}}
    assert type(variant.config["a"]) is dict
    with pytest.raises(ConfigurationError, match="computed as a grid_search"):
        resolve({"a": sample_from(lambda: grid_search([1]))})


def test_asking_whether_there_is_a_parameter_does_not_ask_for_its_value():
    tree = {"a": sample_from(lambda c: "b" in c), "b": sample_from(lambda c: "lr" in c or c["a"])}
    assert resolve(tree).config == {"a": True, "b": True}


def test_a_parameter_named_config_is_seen():
    assert resolve({"config": choice([3]), "a": sample_from(lambda c: c["config"])}).config["a"] == 3


def test_what_a_function_draws_is_reproducible_and_disturbs_nobody():
    numpy = pytest.importorskip("numpy")
    tree = {"a": sample_from(lambda: random.random()), "b": sample_from(lambda _: numpy.random.rand())}
    random.seed(5)
    expected = random.random()
    random.seed(5)
    first = resolve(tree).config
    assert random.random() == expected
    assert resolve(tree).config == first
    assert resolve(tree, seed=1).config != first


# --- copies ---------------------------------------------------------------------------------------------------------


class Settings:
    def __init__(self):
        self.values = [1]


class Point(NamedTuple):
    x: object
    y: object


def test_no_trial_shares_anything_with_the_space_or_another_trial():
    tree = {"l": [1, {"a": [2]}], "s": Settings(), "c": choice([[1, 2]]), "g": grid_search([{"k": [3]}]), "set": {1}}
    before = copy.deepcopy({key: value for key, value in tree.items() if key not in ("s", "c")})
    one, other = resolve(tree).config, resolve(tree).config
    one["l"][1]["a"].append(9)
    one["c"].append(9)
    one["g"]["k"].append(9)
    one["s"].values.append(9)
    one["set"].add(9)
    assert other["l"] == [1, {"a": [2]}]
    assert other["c"] == [1, 2]
    assert other["g"] == {"k": [3]}
    assert other["s"].values == [1]
    assert other["set"] == {1}
    assert {key: tree[key] for key in before} == before
    assert tree["c"].categories == [[1, 2]]
    assert tree["s"].values == [1]


def test_containers_keep_their_types():
    config = resolve({"p": Point(choice([1]), 2), "o": OrderedDict(a=choice([1])), "t": (choice([1]),)}).config
    assert config["p"] == Point(1, 2)
    assert isinstance(config["p"], Point)
    assert isinstance(config["o"], OrderedDict)
    assert config["o"] == {"a": 1}
    assert config["t"] == (1,)


def test_what_cannot_be_copied_is_passed_on():
    lock = threading.Lock()
    assert resolve({"lock": lock}).config["lock"] is lock


# --- the space itself -----------------------------------------------------------------------------------------------


def test_a_space_must_be_a_dict():
    with pytest.raises(ConfigurationError, match="must be a dict, not a list"):
        Space([1])


def test_open_parameters_are_found():
    tree = {"a": 1, "b": [uniform(0, 1)], "c": {"d": grid_search([1]), "e": sample_from(lambda: 1)}}
    assert [path for path, _ in unresolved(tree)] == [("b", 0), ("c", "d"), ("c", "e")]
