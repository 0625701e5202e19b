import math

import pytest

from perdure.errors import ConfigurationError
from perdure.schedulers.hb_bohb import HyperBandForBOHB
from perdure.schedulers.hyperband import HyperBandScheduler


def hyperband(kind=HyperBandScheduler, **arguments):
    return kind(**{"metric": "m", "mode": "max", "max_t": 9, "reduction_factor": 3, **arguments})


# With max_t 9 and a factor of 3, a band has brackets of 3 trials that run to 9, of 5 (to 3, then 2 of them to 9) and
# of 9 (to 1, then 3 of them to 3, then one of them to 9): the table of the paper.
FIRST, SECOND, THIRD = ["abc", "defgh", "ijklmnopq"]


def filled(bench, **arguments):
    return bench(hyperband(**arguments), *FIRST, *SECOND, *THIRD)


def test_the_first_bracket_runs_to_the_end(bench):
    trials = filled(bench)
    for name in FIRST:
        assert [trials.report(name, time, 0.0) for time in range(1, 10)] == ["CONTINUE"] * 8 + ["STOP"]


def test_a_bracket_is_compared_when_the_last_arrives(bench):
    trials = filled(bench)
    for score, name in enumerate("defg"):
        assert [trials.report(name, time, score) for time in (1, 2, 3)] == ["CONTINUE", "CONTINUE", "PAUSE"]
    assert trials.report("h", 3, 1.5) == ("STOP", {"g": "resume", "f": "resume", "e": "stop", "d": "stop"})
    assert [trials.report(name, 9, 0.0) for name in "gf"] == ["STOP", "STOP"]


def test_the_last_to_arrive_may_go_on_at_once(bench):
    trials = filled(bench)
    for score, name in enumerate("defg"):
        trials.report(name, 3, score)
    answer, others = trials.report("h", 3, 9.0)
    assert answer == "CONTINUE"
    assert others == {"g": "resume", "d": "stop", "e": "stop", "f": "stop"}


def test_a_bracket_is_halved_again_and_again(bench):
    trials = filled(bench)
    for score, name in enumerate(THIRD[:-1]):
        assert trials.report(name, 1, score) == "PAUSE"
    answer, others = trials.report("q", 1, 99.0)
    assert answer == "CONTINUE"
    assert {name for name, done in others.items() if done == "resume"} == {"o", "p"}
    assert trials.report("q", 3, 1.0) == "PAUSE"
    assert trials.report("o", 3, 3.0) == "PAUSE"
    assert trials.report("p", 3, 2.0) == ("STOP", {"o": "resume", "q": "stop"})
    assert trials.report("o", 9, 0.0) == "STOP"
    assert trials.scheduler.get_state()["brackets"][-1][0] == 1  # of the third, nothing is left


def test_of_equals_the_later_goes_on_as_with_ray(bench):
    trials = filled(bench)
    for name in "defg":
        trials.report(name, 3, 1.0)
    assert trials.report("h", 3, 1.0) == ("CONTINUE", {"g": "resume", "d": "stop", "e": "stop", "f": "stop"})


def test_nobody_waits_for_a_trial_that_has_ended(bench):
    trials = filled(bench)
    for score, name in enumerate("defg"):
        trials.report(name, 3, score)
    assert trials.end("h") == {"g": "resume", "f": "resume", "d": "stop", "e": "stop"}
    for score, name in enumerate("ijklmnop"):
        trials.report(name, 1, score)
    assert trials.fail("q") == {**dict.fromkeys("nop", "resume"), **dict.fromkeys("ijklm", "stop")}


def test_a_bracket_that_cannot_be_filled_goes_on_with_what_it_has(bench):
    trials = bench(hyperband(), *FIRST, "d", "e", "f")
    for score, name in enumerate("def"):
        assert trials.report(name, 3, score) == "PAUSE"
    assert trials.wake() == {"f": "resume", "e": "resume", "d": "stop"}
    assert trials.wake() == {}
    trials.add("z")  # a new one comes too late for that bracket
    assert trials.report("z", 1, 0.0) == "PAUSE"


def test_a_bracket_that_waits_for_a_trial_that_runs_is_left_alone(bench):
    trials = bench(hyperband(), *FIRST, "d", "e")
    trials.report("d", 3, 1.0)
    assert trials.wake() == {}
    trials.trials["e"].status = "PAUSED"  # somebody else paused it
    trials.get_paused_trials = lambda: ()
    assert trials.wake() == {"d": "resume"}


def test_what_was_decided_when_a_driver_died_is_done_again(bench):
    trials = filled(bench)
    for score, name in enumerate("defg"):
        trials.report(name, 3, score)
    trials.scheduler.on_trial_complete(trials, trials.trials["h"], {})  # told, and its answer never written
    trials.trials["h"].status = "TERMINATED"
    assert trials.wake() == {"d": "stop", "e": "stop", "f": "resume", "g": "resume"}


def test_a_trial_that_is_ahead_waits_for_the_others(bench):
    trials = filled(bench)
    assert trials.report("i", 5, 100.0) == "PAUSE"
    for score, name in enumerate("jklmnop"):
        trials.report(name, 1, score)
    assert trials.report("q", 1, -1.0) == (
        "STOP",
        {**dict.fromkeys("po", "resume"), **dict.fromkeys("jklmn", "stop")},
    )
    assert trials.status("i") == "PAUSED"
    trials.report("p", 3, 0.0)
    assert trials.report("o", 3, 0.0) == ("STOP", {"i": "resume", "p": "stop"})


def test_those_past_the_end_are_stopped(bench):
    trials = filled(bench)
    for name in "defg":
        trials.report(name, 12, 0.0)
    assert trials.report("h", 12, 0.0) == ("STOP", dict.fromkeys("defg", "stop"))


def test_the_last_may_go_on_until_they_end(bench):
    trials = bench(hyperband(stop_last_trials=False), *FIRST)
    assert trials.report("a", 20, 0.0) == "CONTINUE"


def test_a_second_band_follows_the_first(bench):
    trials = filled(bench)
    trials.add("new")
    assert trials.report("new", 8, 0.0) == "CONTINUE"
    assert trials.report("new", 9, 0.0) == "STOP"
    assert trials.scheduler.state() == {"num_brackets": 4, "num_stopped": 0}


@pytest.mark.parametrize(
    ("max_t", "factor", "expected"),
    [
        (9, 3, [[9], [3, 9], [1, 3, 9]]),
        (100, 3, [[100], [33, 100], [11, 33, 100], [3, 11, 33, 100], [1, 3, 11, 33, 100]]),
        (10, 2.5, [[10], [4, 10], [1, 4, 10]]),
        (6, 1.5, [[6], [4, 6], [2, 4, 6], [1, 2, 4, 6]]),  # and of its fourth power there is none
        (343, 7, [[343], [49, 343], [7, 49, 343], [1, 7, 49, 343]]),
        (729, 9, [[729], [81, 729], [9, 81, 729], [1, 9, 81, 729]]),
        (0.5, 3, [[0.5]]),
    ],
)
def test_the_best_of_each_bracket_come_to_the_end_by_the_factor(bench, max_t, factor, expected):
    trials = bench(hyperband(max_t=max_t, reduction_factor=factor))
    found = []
    while len(found) < len(expected):
        names = []
        while not names or not trials.scheduler._brackets[len(found)].closed:
            names.append(f"t{len(trials.trials)}")
            trials.add(names[-1])
        found.append(way_of_the_best(trials, names))
    assert found == expected


def way_of_the_best(trials, names):
    """The trials of a bracket go from milestone to milestone; return those of the one that comes to the end."""
    bracket, way = trials.scheduler._brackets[trials.scheduler._bracket_of[names[0]]], []
    while names := [name for name in names if trials.status(name) == "RUNNING"]:
        way.append(bracket.milestone)
        for score, name in enumerate(names):
            trials.report(name, way[-1], score)
    return way


def test_rows_without_the_metric_are_passed_over(bench):
    assert filled(bench, metric="other").report("i", 9, 0.0) == "CONTINUE"


def test_bohb_fills_the_bracket_with_most_trials_first_and_is_told_the_budget(bench):
    trials = bench(hyperband(HyperBandForBOHB), *"abcdefghi", "j")
    for name in "abcdefgh":
        assert trials.report(name, 1, 0.0) == "PAUSE"
        assert trials.trials[name].last_result["hyperband_info"] == {"budget": 1}
    assert trials.report("i", 1, 1.0)[0] == "CONTINUE"
    assert trials.report("i", 2, 1.0) == "CONTINUE"
    assert trials.trials["i"].last_result["hyperband_info"] == {}
    trials.report("i", 3, 1.0)
    assert trials.trials["i"].last_result["hyperband_info"] == {"budget": 3}
    assert trials.report("j", 2, 0.0) == "CONTINUE"  # it is in the next bracket


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"max_t": 0}, "max_t"),
        ({"max_t": "81"}, "max_t='81'"),
        ({"max_t": math.inf}, "max_t=inf"),
        ({"reduction_factor": 1}, "reduction"),
    ],
)
def test_wrong_arguments_are_named(arguments, text):
    with pytest.raises(ConfigurationError, match=text):
        hyperband(**arguments)
