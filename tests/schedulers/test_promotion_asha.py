import math
import random

import pytest

from perdure.errors import ConfigurationError
from perdure.schedulers.promotion_asha import PromotionASHAScheduler, Rung


def asha(**arguments):
    return PromotionASHAScheduler(**{"metric": "m", "mode": "max", "max_t": 9, "reduction_factor": 3, **arguments})


def test_the_best_third_of_a_rung_goes_on(bench):
    trials = bench(asha(), *"abcdef")
    assert trials.report("a", 1, 5.0) == "PAUSE"
    assert trials.report("b", 1, 3.0) == "PAUSE"
    assert trials.promote() == {}  # of two, none is the best third
    assert trials.report("c", 1, 4.0) == "PAUSE"
    assert trials.promote() == {"a": "resume"}
    assert trials.promote() == {}
    assert trials.report("d", 1, 1.0) == "PAUSE"
    assert trials.report("e", 1, 2.0) == "PAUSE"
    assert trials.report("f", 1, 9.0) == "CONTINUE"  # promoted without having to pause
    assert trials.promote() == {}  # the best two are under way


def test_one_that_was_passed_over_is_promoted_when_its_rung_has_grown(bench):
    trials = bench(asha(), *"abcdef")
    for name, score in zip("abc", (5.0, 4.0, 3.0), strict=True):
        trials.report(name, 1, score)
    trials.promote()
    for name in "def":
        trials.report(name, 1, 0.0)
    assert trials.promote() == {"b": "resume"}


def test_the_highest_rung_comes_first(bench):
    trials = bench(asha(), *[f"t{n}" for n in range(12)])
    for n in range(9):
        assert trials.report(f"t{n}", 1, -n) == "PAUSE"
    assert [trials.promote() for _ in range(4)] == [{"t0": "resume"}, {"t1": "resume"}, {"t2": "resume"}, {}]
    for n in range(3):
        assert trials.report(f"t{n}", 3, -n) == "PAUSE"
    assert trials.report("t9", 1, 100.0) == "PAUSE"  # it may go on, but "t0" may higher up
    assert [trials.promote() for _ in range(3)] == [{"t0": "resume"}, {"t9": "resume"}, {}]


def test_of_equals_the_first_is_the_better_and_no_more_are_promoted(bench):
    names = [f"t{n}" for n in range(9)]
    trials = bench(asha(), *names)
    assert [trials.report(name, 1, 0.5) for name in names] == ["PAUSE"] * 9
    assert [trials.promote() for _ in range(4)] == [{"t0": "resume"}, {"t1": "resume"}, {"t2": "resume"}, {}]


def test_with_nothing_left_to_run_the_best_goes_to_the_end_and_the_others_are_stopped(bench):
    trials = bench(asha(), "a", "b")
    trials.report("a", 1, 1.0)
    assert trials.wake() == {}  # "b" still runs
    trials.report("b", 1, 2.0)
    assert trials.wake() == {"b": "resume"}
    assert trials.report("b", 3, 0.0) == "PAUSE"
    assert trials.wake() == {"b": "resume"}
    assert trials.report("b", 9, 0.0) == "STOP"
    assert trials.wake() == {"a": "stop"}
    assert trials.wake() == {}


def test_a_searcher_that_waits_for_an_ending_gets_one(bench):
    trials = bench(asha(), *"abc")
    trials.expects_more = True
    for name, score in zip("cba", (3.0, 2.0, 1.0), strict=True):
        trials.report(name, 1, score)
    assert trials.wake() == {"c": "resume"}
    trials.report("c", 3, 0.0)
    assert trials.wake() == {"c": "resume"}
    trials.report("c", 9, 0.0)
    assert trials.wake() == {"a": "stop"}
    assert trials.status("b") == "PAUSED"


def test_one_that_ends_while_it_waits_still_counts_and_is_not_promoted(bench):
    trials = bench(asha(), *"abc")
    trials.report("a", 1, 9.0)
    trials.end("a")
    trials.report("b", 1, 1.0)
    assert trials.report("c", 1, 2.0) == "PAUSE"
    assert trials.promote() == {}  # of three, "a" was the best


def test_a_trial_that_jumps_waits_at_the_highest_rung_it_passed(bench):
    trials = bench(asha(), "a")
    assert trials.report("a", 4, 1.0) == "PAUSE"
    assert trials.wake() == {"a": "resume"}
    assert trials.report("a", 5, 1.0) == "CONTINUE"
    assert trials.report("a", 9, 1.0) == "STOP"


@pytest.mark.parametrize(("first", "then"), [(9.0, 0.0), (0.0, 9.0)])
def test_one_that_begins_anew_waits_with_its_new_score(bench, first, then):
    trials = bench(asha(), *"abc")
    trials.report("a", 1, first)
    trials.fail("a")
    trials.again("a")
    for name, score in zip("abc", (then, 4.0, 5.0), strict=True):
        trials.report(name, 1, score)
    (rung, _), restored = trials.scheduler._rungs, asha()
    restored.set_state(trials.scheduler.get_state())
    assert (rung.best(), rung.worst()) == (("c", "a") if then < first else ("a", "b"))
    assert (restored._rungs[0].best(), restored._rungs[0].worst()) == (rung.best(), rung.worst())


def test_the_work_at_a_rung_hardly_grows_with_the_number_of_trials():
    """Counts comparisons, over 100,000 trials that come to one rung."""

    class Counted(float):
        compared = 0

        def __lt__(self, other):
            Counted.compared += 1
            return float.__lt__(self, other)

        def __eq__(self, other):
            Counted.compared += 1
            return float.__eq__(self, other)

        def __neg__(self):
            return Counted(float.__neg__(self))

        __hash__ = float.__hash__

    rung, rng, promoted, most = Rung(1, 4), random.Random(0), 0, 0
    for number in range(100_000):
        before = Counted.compared
        watched = number % 1000 > 990 or number > 99_900
        rung.add(f"t{number}", (Counted if watched else float)(rng.random()))
        while rung.is_promotable():
            rung.promote(rung.best())
            promoted += 1
        most = max(most, Counted.compared - before)
    assert promoted >= 24_000
    assert most <= 50 * math.log2(100_000)


def test_wrong_arguments_are_named():
    with pytest.raises(ConfigurationError, match="grace_period"):
        asha(grace_period=10)
