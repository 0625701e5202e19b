import math
import random

import pytest

from perdure.errors import ConfigurationError
from perdure.schedulers.median_stopping_rule import MedianStoppingRule


def rule(**arguments):
    return MedianStoppingRule(
        **{
            "time_attr": "training_iteration",
            "metric": "m",
            "mode": "max",
            "grace_period": 1,
            "min_samples_required": 2,
            **arguments,
        }
    )


def report(trials, name, *scores):
    return [trials.report(name, time, score) for time, score in enumerate(scores, start=1)]


def test_a_trial_is_stopped_whose_best_is_worse_than_the_median_of_the_averages(bench):
    trials = bench(rule(), *"abcd")
    assert report(trials, "a", 1, 3, 5) == ["CONTINUE"] * 3  # averages 1, 2, 3
    assert report(trials, "b", 4, 4, 4) == ["CONTINUE"] * 3  # averages 4, 4, 4
    assert report(trials, "c", 3, 2, 2) == ["CONTINUE", "CONTINUE", "STOP"]  # medians 2.5, 3 and 3.5, its best is 3
    assert report(trials, "d", 3, 3) == ["CONTINUE", "CONTINUE"]  # of 1, 4, 3: 3; of 2, 4, 2.5: 2.5


def test_those_that_ended_before_are_not_compared_with(bench):
    trials = bench(rule(), *"abc")
    report(trials, "a", 9, 9, 9)
    report(trials, "b", 9, 9)
    trials.end("b")
    assert report(trials, "c", 9, 0, 0) == ["CONTINUE"] * 3
    assert trials.report("c", 4, 0) == "CONTINUE"


def test_the_grace_period_saves_and_does_not_count(bench):
    trials = bench(rule(grace_period=3), *"abc")
    report(trials, "a", 99, 99, 1)
    report(trials, "b", 99, 99, 1)
    assert report(trials, "c", 0, 0, 2) == ["CONTINUE"] * 3


def test_too_few_others_stop_nobody(bench):
    trials = bench(rule(min_samples_required=3), *"abc")
    report(trials, "a", 9)
    report(trials, "b", 9)
    assert report(trials, "c", 0) == ["CONTINUE"]


def test_one_that_is_paused_for_being_worse_runs_to_its_end_once_it_is_woken(bench):
    trials = bench(rule(hard_stop=False), *"abc")
    report(trials, "a", 9)
    report(trials, "b", 9)
    assert report(trials, "c", 0) == ["PAUSE"]
    assert trials.wake() == {"c": "resume"}
    assert trials.report("c", 2, -9) == "CONTINUE"


def test_a_trial_with_nobody_to_compare_with_makes_room_for_one_that_waits(bench):
    trials = bench(rule(min_time_slice=2), "a", "b")
    assert trials.report("a", 1, 1.0) == "CONTINUE"  # nobody waits
    trials.trials["b"].status = "PENDING"
    assert trials.report("a", 2, 1.0) == "PAUSE"
    trials.trials["a"].status = "RUNNING"
    assert [trials.report("a", time, 1.0) for time in (3, 4, 5)] == ["CONTINUE", "CONTINUE", "PAUSE"]
    trials.trials["a"].checkpoint = None
    assert trials.report("a", 9, 1.0) == "CONTINUE"  # it would have to begin anew


def test_a_trial_with_nobody_to_compare_with_goes_on_where_the_others_are_paused(bench):
    trials = bench(rule(), *"abc")
    trials.trials["c"].status = "PENDING"
    assert [trials.report(name, 1, 1.0) for name in "ab"] == ["PAUSE", "PAUSE"]
    trials.trials["c"].status = "RUNNING"
    assert report(trials, "c", 2.0, 2.0) == ["CONTINUE", "CONTINUE"]
    assert trials.wake() == {"a": "resume"}
    assert [trials.report("a", time, 1.0) for time in (2, 3, 4)] == ["CONTINUE"] * 3  # b waits until there is room


def test_times_that_differ_are_compared_at_the_last_that_is_not_later(bench):
    trials = bench(rule(time_attr="seconds"), *"abc")
    for time, score in ((1.0, 4.0), (2.0, 8.0), (3.0, 0.0)):
        trials.report("a", 0, score, seconds=time)
    for time, score in ((1.5, 5.0), (3.5, 5.0)):
        assert trials.report("b", 0, score, seconds=time) == "CONTINUE"
    assert trials.report("c", 0, 4.4, seconds=2.9) == "STOP"  # at 2: a 6, b 5


def test_times_that_go_back_leave_the_kept_ones_in_order(bench):
    """As `time_total_s` does where a trial goes back to an older checkpoint; a time may also come twice."""
    trials = bench(rule(time_attr="seconds"), *"abc")
    for time in (1.0, 2.0, 3.0, 2.5, 3.0, 1.0):
        assert trials.report("a", 0, 9.0, seconds=time) == "CONTINUE"
    assert trials.scheduler.get_state()["times"] == [1.0, 2.0, 3.0]
    assert trials.scheduler.get_state()["averages"] == [[9.0]] * 3
    for time in (1.0, 2.0, 4.0):
        assert trials.report("b", 0, 9.0, seconds=time) == "CONTINUE"
    assert trials.report("c", 0, 0.0, seconds=3.5) == "STOP"  # of both


def test_rows_that_are_not_finite_leave_the_average_alone(bench):
    trials = bench(rule(), *"abc")
    report(trials, "a", 2.0, math.nan, 2.0)
    report(trials, "b", 2.0, math.inf, 2.0)
    assert report(trials, "c", 2.0, 2.0, 2.0) == ["CONTINUE"] * 3
    averages = trials.scheduler.get_state()["averages"]
    assert averages == [[2.0, 2.0, 2.0]] * 3


def test_a_last_row_that_nobody_judged_counts(bench):
    trials = bench(rule(), *"abc")
    for name in "ab":
        trials.trials[name].last_result = {"training_iteration": 1, "m": 9.0}
        trials.end(name)
    assert report(trials, "c", 0) == ["STOP"]


@pytest.mark.parametrize("seed", range(20))
def test_the_same_as_looking_at_every_row_of_everybody(bench, seed):
    """Against the rule as it is written down, on trials that report at each iteration, in any order."""
    rng = random.Random(seed)
    names = [f"t{n}" for n in range(12)]
    mode, grace = rng.choice(("min", "max")), rng.randint(1, 3)
    trials = bench(rule(mode=mode, grace_period=grace, min_samples_required=3), *names)
    rows = {name: [] for name in names}
    stopped = set()
    for _ in range(200):
        running = [name for name in names if name not in stopped]
        if not running:
            break
        name = rng.choice(running)
        rows[name].append(rng.randint(0, 9) + 3 * (names.index(name) % 4))
        time = len(rows[name])
        expected = by_the_book(rows, name, time, grace, 1 if mode == "max" else -1)
        assert trials.report(name, time, rows[name][-1]) == ("STOP" if expected else "CONTINUE")
        if expected:
            stopped.add(name)
    assert stopped


def by_the_book(rows, name, time, grace, sign):
    averages = sorted(
        sign * sum(scores[grace - 1 : time]) / (time - grace + 1)
        for other, scores in rows.items()
        if other != name and len(scores) >= time >= grace
    )
    if time < grace or len(averages) < 3:
        return False
    middle = len(averages) // 2
    median = averages[middle] if len(averages) % 2 else (averages[middle - 1] + averages[middle]) / 2
    return max(sign * score for score in rows[name]) < median


@pytest.mark.parametrize("name", ["grace_period", "min_samples_required", "min_time_slice"])
def test_what_is_no_number_is_named(name):
    with pytest.raises(ConfigurationError, match=rf"{name}='3'\): use a (whole )?number, not a str"):
        rule(**{name: "3"})
