import json
import logging
import pickle
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import ConfigurationError, MetricError
from perdure.stoppers import resolve_stopper, timeout
from perdure.stoppers.base import Stopper
from perdure.stoppers.combined import CombinedStopper
from perdure.stoppers.experiment_plateau import ExperimentPlateauStopper
from perdure.stoppers.function import FunctionStopper
from perdure.stoppers.maximum_iteration import MaximumIterationStopper
from perdure.stoppers.noop import NoopStopper
from perdure.stoppers.thresholds import DictStopper
from perdure.stoppers.timeout import TimeoutStopper
from perdure.stoppers.trial_plateau import TrialPlateauStopper


def answers(stopper, values, metric="m", trial="t"):
    return [stopper(trial, {metric: value}) for value in values]


# --- thresholds -------------------------------------------------------------------------------------------------------


def test_a_dict_stops_at_any_threshold():
    stopper = resolve_stopper({"training_iteration": 3, "acc": 0.9})
    assert not stopper("t", {"training_iteration": 1, "acc": 0.5})
    assert stopper("t", {"training_iteration": 1, "acc": 0.9})
    assert stopper("t", {"training_iteration": 3, "acc": 0.1})
    assert stopper("t", {"training_iteration": 4, "acc": float("nan")})
    assert not stopper("t", {"training_iteration": 2, "acc": float("nan")})
    assert not stopper.stop_all()


def test_nested_metrics_are_reached_with_slashes():
    for stopper in (resolve_stopper({"eval/acc": 1}), resolve_stopper({"eval": {"acc": 1}})):
        assert stopper("t", {"eval": {"acc": 1.5}})
        assert not stopper("t", {"eval": {"acc": 0.5}})
        assert stopper("t", {"eval/acc": 2})


def test_a_metric_that_is_not_reported_is_ignored_with_one_warning(caplog):
    stopper = resolve_stopper({"acc": 0.9, "time_total_s": 10})
    with caplog.at_level(logging.WARNING):
        assert not stopper("t", {"loss": 1, "time_total_s": 9})
        assert stopper("t", {"loss": 1, "time_total_s": 11})
    assert [record.getMessage() for record in caplog.records] == [
        "The stop rule names 'acc', which was not reported (but: loss, time_total_s); it is ignored."
    ]


def test_booleans_and_numpy_numbers_are_thresholds():
    numpy = pytest.importorskip("numpy")
    assert resolve_stopper({"done": True})("t", {"done": True})
    assert not resolve_stopper({"done": True})("t", {"done": False})
    assert resolve_stopper({"x": numpy.float32(1)})("t", {"x": numpy.float64(2)}) is True


@pytest.mark.parametrize("threshold", ["0.9", None, [1], float("nan")])
def test_a_threshold_that_is_no_number_is_refused(threshold):
    with pytest.raises(ConfigurationError, match=r"'acc'.*a threshold is a number"):
        resolve_stopper({"acc": threshold})


# --- what users write as `stop` ---------------------------------------------------------------------------------------


def test_every_spelling_of_a_stop_rule():
    assert isinstance(resolve_stopper(None), NoopStopper)
    assert isinstance(resolve_stopper({}), DictStopper)
    assert isinstance(resolve_stopper(lambda trial_id, result: True), FunctionStopper)
    mine = MaximumIterationStopper(3)
    assert resolve_stopper(mine) is mine
    assert isinstance(resolve_stopper([mine, NoopStopper()]), CombinedStopper)


@pytest.mark.parametrize("stop", [3, "acc", [{"acc": 1}], [lambda t, r: True], MaximumIterationStopper, {1, 2}])
def test_other_stop_rules_are_refused(stop):
    with pytest.raises(ConfigurationError):
        resolve_stopper(stop)


def test_something_like_a_stopper_is_refused_because_it_would_not_be_asked():
    class Mine:
        def __call__(self, trial_id, result):
            return False

        def stop_all(self):
            return True

    with pytest.raises(ConfigurationError, match=r"has stop_all.. but is no instance of a Stopper"):
        resolve_stopper(Mine())


def test_a_stopper_written_for_ray_works():
    class Mine(Stopper):
        def __init__(self):
            self.stopped = False

        def __call__(self, trial_id, result):
            self.stopped = result["m"] > 2
            return False

        def stop_all(self):
            return self.stopped

    stopper = resolve_stopper(Mine())
    assert answers(stopper, [1, 3]) == [False, False]
    assert stopper.stop_all()
    assert stopper.get_state() is None  # it is pickled


def test_a_function_is_called_with_trial_and_row():
    seen = []
    stopper = resolve_stopper(lambda trial_id, result: seen.append((trial_id, result)) or result["m"] > 1)
    assert answers(stopper, [1, 2]) == [False, True]
    assert seen == [("t", {"m": 1}), ("t", {"m": 2})]
    assert not stopper.stop_all()


def test_what_a_function_raises_comes_out():
    with pytest.raises(KeyError):
        resolve_stopper(lambda trial_id, result: result["loss"] > 1)("t", {})


# --- the stoppers -----------------------------------------------------------------------------------------------------


def test_maximum_iteration_counts_the_rows_of_each_trial():
    stopper = MaximumIterationStopper(2)
    assert answers(stopper, [1, 1]) == [False, True]
    assert answers(stopper, [1, 1], trial="other") == [False, True]


def test_a_timeout_counts_running_time_only(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(timeout.time, "monotonic", lambda: now[0])
    stopper = TimeoutStopper(timedelta(seconds=10))
    assert not stopper.stop_all()
    now[0] += 6
    assert not stopper.stop_all()
    state = json.loads(json.dumps(stopper.get_state()))
    now[0] += 1000  # nobody was running
    restored = TimeoutStopper(10)
    restored.set_state(state)
    pickled = pickle.loads(pickle.dumps(stopper))
    for one in (restored, pickled):
        assert not one.stop_all()
    now[0] += 4
    for one in (restored, pickled):
        assert one.stop_all()
        assert not one("t", {})


def test_a_timeout_of_another_kind_is_refused():
    with pytest.raises(ConfigurationError, match="use seconds"):
        TimeoutStopper("10")


def test_a_trial_that_gets_nowhere_is_stopped():
    stopper = TrialPlateauStopper("m", std=0.01, num_results=3, grace_period=4)
    assert answers(stopper, [1, 1, 1]) == [False, False, False]  # grace
    assert answers(stopper, [1]) == [True]
    assert answers(stopper, [5, 5, 5], trial="other") == [False, False, False]
    assert answers(stopper, [2, 2, 2]) == [False, False, True]


def test_a_trial_is_stopped_only_when_it_is_good_enough():
    low = TrialPlateauStopper("m", num_results=2, grace_period=1, metric_threshold=0, mode="min")
    assert answers(low, [1, 1, 0, 0, -1, -1]) == [False, False, False, True, False, True]
    high = TrialPlateauStopper("m", num_results=2, grace_period=1, metric_threshold=2, mode="max")
    assert answers(high, [1, 1, 2, 2]) == [False, False, False, True]
    with pytest.raises(ConfigurationError, match="which side of it is good"):
        TrialPlateauStopper("m", metric_threshold=0)


def test_a_trial_without_the_metric_is_not_stopped():
    stopper = TrialPlateauStopper("m", num_results=2, grace_period=1)
    assert [stopper("t", {"other": 1}) for _ in range(5)] == [False] * 5
    assert answers(stopper, [float("nan")] * 5) == [False] * 5
    assert answers(TrialPlateauStopper("a/m", num_results=2, grace_period=1), [{"m": 1}] * 2, "a") == [False, True]


def test_an_experiment_that_gets_nowhere_is_stopped():
    stopper = ExperimentPlateauStopper("m", top=3, std=0.1)
    assert answers(stopper, [5, 1, 1]) == [False, False, False]
    assert not stopper.stop_all()
    assert answers(stopper, [1]) == [True]
    assert stopper.stop_all()
    assert answers(stopper, [0]) == [False]  # a better one: the best differ again


def test_an_experiment_is_given_patience():
    stopper = ExperimentPlateauStopper("m", top=2, mode="max", patience=3)
    assert answers(stopper, [1, 1, 0, 0]) == [False, False, False, True]


def test_a_value_that_is_no_number_is_not_among_the_best():
    stopper = ExperimentPlateauStopper("m", top=2)
    assert answers(stopper, [float("nan"), 1, float("nan"), 1]) == [False, False, False, True]


def test_values_whose_squares_no_number_can_hold_are_not_alike():
    values = [1e200, -1e200, 1.7e308, 1.7e308]
    assert answers(TrialPlateauStopper("m", num_results=2, grace_period=1), values) == [False] * 4
    assert answers(ExperimentPlateauStopper("m", top=2, mode="max"), values) == [False] * 4


@pytest.mark.parametrize("kind", [TrialPlateauStopper, ExperimentPlateauStopper])
@pytest.mark.parametrize("value", ["good", [1.0, 2.0]])
def test_a_watched_metric_that_is_no_number_is_refused_by_name(kind, value):
    with pytest.raises(MetricError, match=rf"Trial t reported 'm', which {kind.__name__} watches, as .*Report one"):
        kind("m")("t", {"m": value})


def test_an_experiment_metric_that_is_not_reported_is_an_error():
    with pytest.raises(MetricError, match=r"Trial t did not report 'm'.*it reported: loss"):
        ExperimentPlateauStopper("m")("t", {"loss": 1})


@pytest.mark.parametrize("wrong", [{"mode": "best"}, {"top": 1}, {"patience": -1}, {"std": 0}])
def test_arguments_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        ExperimentPlateauStopper("m", **wrong)


def test_combined_stops_what_any_stops():
    stopper = CombinedStopper(MaximumIterationStopper(3), DictStopper({"m": 5}))
    assert answers(stopper, [1, 5, 1]) == [False, True, True]
    assert not stopper.stop_all()
    assert CombinedStopper(NoopStopper(), ExperimentPlateauStopper("m")).stop_all() is False
    with pytest.raises(ConfigurationError, match="is none"):
        CombinedStopper({"m": 1})


# --- what they remember -----------------------------------------------------------------------------------------------


def built_in():
    return CombinedStopper(
        MaximumIterationStopper(12),
        TrialPlateauStopper("m", num_results=3, std=0.5),
        ExperimentPlateauStopper("m", top=4, std=0.2, patience=1),
        DictStopper({"m": 99}),
        FunctionStopper(lambda trial_id, result: False),
        NoopStopper(),
        TimeoutStopper(10**6),
    )


@given(
    rows=st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(0, 3) | st.sampled_from([float("inf"), float("nan"), 1.0])),
        max_size=40,
    ),
    cut=st.integers(0, 40),
)
def test_a_stopper_goes_on_after_a_restore_as_if_nothing_had_happened(rows, cut):
    whole = built_in()
    expected = [(whole(trial, {"m": value}), whole.stop_all()) for trial, value in rows]
    first = built_in()
    for trial, value in rows[:cut]:
        first(trial, {"m": value})
        first.stop_all()
    second = built_in()
    second.set_state(json.loads(json.dumps(first.get_state(), allow_nan=False)))
    assert [(second(trial, {"m": value}), second.stop_all()) for trial, value in rows[cut:]] == expected[cut:]


def test_nothing_is_kept_of_a_trial_that_is_over():
    stopper = built_in()
    for number in range(1000):
        stopper(f"t{number}", {"m": number})
        stopper.forget(f"t{number}")
    assert len(json.dumps(stopper.get_state())) < 500


def test_a_combination_that_remembers_nothing_needs_no_rows_told_again():
    """A restore reads the journal for those with a state."""
    stopper = resolve_stopper([DictStopper({"m": 5}), NoopStopper()])
    assert answers(stopper, [1, 5]) == [False, True]
    assert stopper.get_state() == {}
    stopper.set_state({})
    assert CombinedStopper(stopper, MaximumIterationStopper(2)).get_state() == {"stoppers": [{}, {"rows": {}}]}


def test_a_combination_with_a_users_stopper_is_pickled():
    class Mine(NoopStopper):
        def get_state(self):
            return None

    assert CombinedStopper(NoopStopper(), Mine()).get_state() is None
