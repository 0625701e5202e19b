"""with_parameters, with_resources, and what counts as a trainable."""

import functools

import pytest

from perdure.errors import ResourceError, TrainableError
from perdure.trainable.base import (
    Trainable,
    check_trainable,
    kind,
    register_trainable,
    resolve_trainable,
    trainable_name,
)
from perdure.trainable.stepping import saves_checkpoints
from perdure.trainable.wrappers import PlacementGroupFactory, resources_of, with_parameters, with_resources


def train(config, data=None):
    return {"data": data, **config}


class Trains(Trainable):
    def setup(self, config, data=None):
        self.data = data

    def step(self):
        return {"data": self.data}


# --- parameters


def test_a_function_is_called_with_its_parameters():
    big = object()
    bound = with_parameters(train, data=big)
    assert bound({"x": 1})["data"] is big
    assert bound({"x": 1})["x"] == 1
    assert trainable_name(bound) == "train"
    check_trainable(bound)


def test_parameters_can_be_bound_in_turns():
    bound = with_parameters(with_parameters(lambda config, a, b: a + b, a=1), b=2)
    assert bound({}) == 3


def test_setup_of_a_class_gets_its_parameters():
    bound = with_parameters(Trains, data=7)
    assert bound(config={}).train()["data"] == 7
    assert (bound.__name__, kind(bound)) == ("Trains", "class")
    assert Trains(config={}).train()["data"] is None


@pytest.mark.parametrize("trainable", [train, Trains, lambda config, *, data: 1])
def test_a_parameter_that_is_not_taken_is_refused_by_name(trainable):
    with pytest.raises(TrainableError, match=r"'other'.*takes: data"):
        with_parameters(trainable, other=1)


def test_the_config_is_no_parameter_to_bind():
    with pytest.raises(TrainableError, match="'config'"):
        with_parameters(train, config={})


def test_any_name_goes_where_any_is_taken():
    assert with_parameters(lambda config, **rest: rest, a=1)({}) == {"a": 1}


@pytest.mark.parametrize("thing", [5, int, "name"])
def test_parameters_of_something_else_are_refused(thing):
    with pytest.raises(TrainableError, match="with_parameters"):
        with_parameters(thing, a=1)


def test_a_generator_with_parameters_reports_its_rows(trial):
    def rows(config, values):
        for value in values:
            yield {"value": value}

    assert trial.run(with_parameters(rows, values=[1, 2])).rows == [{"value": 1}, {"value": 2}]


def test_a_class_with_parameters_runs_in_a_trial(trial):
    from perdure.core.events import Decision

    assert trial.run(with_parameters(Trains, data=3), Decision.STOP).rows == [{"data": 3}]


# --- resources


@pytest.mark.parametrize(
    ("request_", "amounts"),
    [
        ({"cpu": 2, "gpu": 0.5}, {"CPU": 2.0, "GPU": 0.5}),
        ({"CPU": 2, "GPU": 2}, {"CPU": 2.0, "GPU": 2.0}),
        ({"gpu": 1}, {"CPU": 1.0, "GPU": 1.0}),
        ({"cpu": 0, "licence": 1}, {"licence": 1.0}),
        ({"memory": 1e9}, {"CPU": 1.0, "memory": 1e9}),
        ({"cpu": 1, "custom_resources": {"tpu": 4}}, {"CPU": 1.0, "tpu": 4.0}),
        (PlacementGroupFactory([{"CPU": 1}, {"CPU": 2, "GPU": 1}]), {"CPU": 3.0, "GPU": 1.0}),
        (lambda config: {"gpu": config["x"]}, {"CPU": 1.0, "GPU": 3.0}),
        (lambda config: PlacementGroupFactory([{"CPU": config["x"]}]), {"CPU": 3.0}),
    ],
)
@pytest.mark.parametrize("make", [lambda: lambda config: None, lambda: Trains, lambda: Trains().step])
def test_requests_in_every_form_are_amounts_by_name(make, request_, amounts):
    assert resources_of(with_resources(make(), request_), {"x": 3}) == amounts


def test_a_function_is_marked_itself_and_a_class_is_not():
    def mine(config):
        return 1

    assert with_resources(mine, {"cpu": 2}) is mine
    assert resources_of(with_resources(Trains, {"cpu": 2}), {}) == {"CPU": 2.0}
    assert resources_of(Trains, {}) == {"CPU": 1.0}
    assert resources_of(train, {}) == {"CPU": 1.0}


def test_a_class_says_what_it_needs_and_with_resources_overrides_it():
    class Big(Trains):
        @classmethod
        def default_resource_request(cls, config):
            return PlacementGroupFactory([{"CPU": config["cpus"]}])

    assert resources_of(Big, {"cpus": 3}) == {"CPU": 3.0}
    assert resources_of(with_parameters(Big, data=1), {"cpus": 3}) == {"CPU": 3.0}
    assert resources_of(with_resources(Big, {"cpu": 1}), {"cpus": 3}) == {"CPU": 1.0}


def test_wrapping_in_either_order_keeps_both():
    def mine(config, data):
        return data

    one = with_resources(with_parameters(mine, data=1), {"cpu": 2})
    other = with_parameters(with_resources(mine, {"cpu": 2}), data=1)
    for wrapped in (one, other):
        assert wrapped({}) == 1
        assert resources_of(wrapped, {}) == {"CPU": 2.0}


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"cpu": -1}, "-1"),
        ({"gpu": "one"}, "'one'"),
        ({"gpu": 1.5}, "whole GPUs"),
        ({"cpu": float("nan")}, "nan"),
        ({"cpu": True}, "True"),
        (5, "expected a dict"),
    ],
)
def test_requests_that_make_no_sense_are_refused_at_once(request_, words):
    with pytest.raises(ResourceError, match=words):
        with_resources(lambda config: None, request_)


def test_a_function_of_the_config_that_gives_nonsense_is_refused_when_asked():
    with pytest.raises(ResourceError, match="'two'"):
        resources_of(with_resources(lambda config: None, lambda config: {"cpu": "two"}), {})
    with pytest.raises(ResourceError, match="expected a"):
        resources_of(with_resources(lambda config: None, lambda config: 2), {})


def test_placement_groups_are_values():
    one, same = (PlacementGroupFactory([{"CPU": 1, "GPU": 0}], strategy="SPREAD") for _ in range(2))
    assert one == same
    assert hash(one) == hash(same)
    assert (one.bundles, one.strategy, one.head_cpus) == ([{"CPU": 1.0}], "SPREAD", 1.0)
    assert one != PlacementGroupFactory([{"CPU": 1}])
    for wrong in (
        {"bundles": []},
        {"bundles": {"CPU": 1}},
        {"bundles": ["CPU"]},
        {"bundles": [{"CPU": 1}], "strategy": "NEAR"},
        {"bundles": [{"CPU": -1}]},
    ):
        with pytest.raises(ResourceError):
            PlacementGroupFactory(**wrong)


# --- what can be tuned


class NotTrainable:
    pass


class NoStep(Trainable):
    pass


class MadeOtherwise(Trains):
    def __init__(self):
        super().__init__()


class SetUpWithMore(Trains):
    def setup(self, config, data):
        pass


class SetUpWithDefaults(Trains):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)

    def setup(self, config, data=None, *, seed=0):
        pass


class StepsWithMore(Trains):
    def step(self, iteration):
        pass


class SavesNowhere(Trains):
    def save_checkpoint(self):
        pass


class LoadsNothing(Trains):
    def load_checkpoint(self):
        pass


async def asynchronous(config):
    pass


@pytest.mark.parametrize(
    ("trainable", "words"),
    [
        (lambda: None, "must take one argument"),
        (lambda a, b: None, "must take one argument"),
        (NotTrainable, "derive it from"),
        (NotTrainable(), "is neither"),
        (5, "is neither"),
        (NoStep, r"no step\(\)"),
        (asynchronous, "async"),
        (MadeOtherwise, r"__init__\(self\) must take the config, by that name"),
        (SetUpWithMore, r"setup\(self, config, data\) must take one argument, the config. Bind others with"),
        (StepsWithMore, r"step\(self, iteration\) must take no argument"),
        (SavesNowhere, r"save_checkpoint\(self\) must take one argument, the directory"),
        (LoadsNothing, r"load_checkpoint\(self\) must take one argument"),
    ],
)
def test_what_cannot_be_tuned_is_refused(trainable, words):
    with pytest.raises(TrainableError, match=words):
        check_trainable(trainable)


class Callable_:
    def __call__(self, config):
        pass


@pytest.mark.parametrize(
    ("trainable", "name"),
    [
        (train, "train"),
        (lambda config: None, "lambda"),
        (functools.partial(train, data=1), "train"),
        (functools.partial(functools.partial(train), data=1), "train"),
        (Callable_(), "Callable_"),
        (Callable_().__call__, "__call__"),
        (Trains, "Trains"),
        (SetUpWithDefaults, "SetUpWithDefaults"),
        (with_parameters(SetUpWithMore, data=1), "SetUpWithMore"),
        (lambda *args: None, "lambda"),
    ],
)
def test_what_can_be_tuned_has_a_name(trainable, name):
    check_trainable(trainable)
    assert trainable_name(trainable) == name


def test_kinds():
    assert [kind(t) for t in (train, Trains, functools.partial(train))] == ["function", "class", "function"]
    assert [saves_checkpoints(t) for t in (train, Trains)] == [False, False]


def test_registered_names_are_resolved_and_others_are_listed():
    register_trainable("digits", train)
    assert resolve_trainable("digits") is train
    assert resolve_trainable(Trains) is Trains
    with pytest.raises(TrainableError, match=r"'digit'.*digits"):
        resolve_trainable("digit")
    with pytest.raises(TrainableError):
        register_trainable("bad", 5)
