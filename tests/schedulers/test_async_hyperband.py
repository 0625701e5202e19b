import math
import random

import pytest

from perdure.errors import ConfigurationError, MetricError
from perdure.schedulers.async_hyperband import ASHAScheduler, AsyncHyperBandScheduler, cut_off
from perdure.schedulers.base import configure


def asha(**arguments):
    return AsyncHyperBandScheduler(**{"metric": "m", "mode": "max", "max_t": 16, "reduction_factor": 2, **arguments})


def test_a_trial_passes_a_rung_if_it_is_not_below_the_quantile_of_those_before(bench):
    trials = bench(asha(), *"abcde")
    assert trials.report("a", 1, 4.0) == "CONTINUE"  # nobody was here before
    assert trials.report("b", 1, 2.0) == "STOP"  # the median of (4) is 4
    assert trials.report("c", 1, 3.0) == "CONTINUE"  # of (2, 4), 3
    assert trials.report("d", 1, 2.9) == "STOP"  # of (2, 3, 4), 3
    assert trials.report("e", 1, 5.0) == "CONTINUE"
    assert trials.report("a", 2, 0.0) == "CONTINUE"  # the next rung has one more first
    assert trials.report("a", 3, -9.0) == "CONTINUE"  # between rungs
    assert trials.report("c", 2, -1.0) == "STOP"


def test_the_smaller_is_the_better_where_the_mode_says_so(bench):
    trials = bench(asha(mode="min"), *"abc")
    assert trials.report("a", 1, 1.0) == "CONTINUE"
    assert trials.report("b", 1, 2.0) == "STOP"
    assert trials.report("c", 1, 0.5) == "CONTINUE"


def test_three_of_four_are_stopped_by_a_factor_of_four(bench):
    names = [f"t{n}" for n in range(400)]
    trials = bench(asha(reduction_factor=4), *names)
    scores = random.Random(0).sample(range(400), 400)
    answers = [trials.report(name, 1, score) for name, score in zip(names, scores, strict=True)]
    assert 90 <= answers.count("CONTINUE") <= 110


def test_trials_end_at_max_t_unless_they_are_to_go_on(bench):
    assert bench(asha(), "a").report("a", 16, 1.0) == "STOP"
    endless = bench(asha(stop_last_trials=False), "a", "b")
    assert endless.report("a", 16, 1.0) == "CONTINUE"
    assert endless.report("b", 16, 0.5) == "STOP"  # 16 is a rung then
    assert endless.report("a", 99, 0.0) == "CONTINUE"


def test_one_that_failed_is_forgotten_and_compared_anew_where_it_begins_anew(bench):
    trials = bench(asha(), "a", "b")
    trials.report("a", 1, 1.0)
    assert trials.report("b", 1, 2.0) == "CONTINUE"
    trials.fail("b")
    assert list(trials.scheduler.get_state()["reached"]) == ["a"]
    trials.again("b")
    assert trials.report("b", 1, -9.0) == "STOP"


def test_one_that_failed_and_goes_on_is_not_counted_twice_at_a_rung(bench):
    trials = bench(asha(), "a")
    assert [trials.report("a", time, 1.0) for time in (1, 2)] == ["CONTINUE"] * 2
    trials.fail("a")
    trials.again("a", trials.trials["a"].last_result)
    assert [trials.report("a", time, 0.0) for time in (3, 4)] == ["CONTINUE"] * 2
    assert trials.scheduler.get_state()["scores"] == [[[1.0], [1.0], [0.0], [], []]]


def test_nobody_is_stopped_in_the_grace_period(bench):
    trials = bench(asha(grace_period=3), "a", "b")
    for time in (1, 2):
        assert (trials.report("a", time, 1.0), trials.report("b", time, 0.0)) == ("CONTINUE", "CONTINUE")
    assert (trials.report("a", 3, 1.0), trials.report("b", 3, 0.0)) == ("CONTINUE", "STOP")


def test_a_trial_that_jumps_counts_at_the_highest_rung_it_passed(bench):
    trials = bench(asha(), "a", "b")
    assert trials.report("a", 5, 1.0) == "CONTINUE"
    assert trials.report("b", 4, 0.0) == "STOP"


def test_rows_without_time_or_metric_are_passed_over(bench, caplog):
    trials = bench(asha(time_attr="epoch"), "a")
    assert trials.report("a", 1, 1.0) == "CONTINUE"
    assert trials.report("a", 2, 1.0) == "CONTINUE"
    assert trials.scheduler.get_state()["scores"] == [[[], [], [], [], []]]
    (said,) = [record.getMessage() for record in caplog.records]
    assert "AsyncHyperBandScheduler measures time by 'epoch', which was not reported (but: " in said


def test_a_time_that_is_nan_is_none(bench):
    trials = bench(asha(time_attr="epoch"), "a")
    assert trials.report("a", 1, 1.0, epoch=math.nan) == "CONTINUE"
    assert trials.scheduler.get_state()["scores"] == [[[], [], [], [], []]]


@pytest.mark.parametrize("row", [{"epoch": "first"}, {"epoch": [1]}, {"epoch": 1, "m": "good"}])
def test_what_is_no_number_is_refused_by_name(bench, row):
    with pytest.raises(MetricError, match="A row has '(epoch|m)' as .*AsyncHyperBandScheduler cannot compare"):
        bench(asha(time_attr="epoch"), "a").report("a", 1, row.pop("m", 1.0), **row)


def test_a_trial_that_has_diverged_is_worse_than_any(bench):
    trials = bench(asha(), "a", "b", "c", "d")
    assert trials.report("a", 1, -1e9) == "CONTINUE"
    assert trials.report("b", 1, math.nan) == "STOP"
    assert trials.report("c", 1, math.inf) == "CONTINUE"
    assert trials.report("d", 1, -math.inf) == "STOP"


def test_the_metric_may_be_nested(bench):
    trials = bench(asha(metric="eval/acc"), "a", "b")
    assert trials.report("a", 1, 0, eval={"acc": 1.0}) == "CONTINUE"
    assert trials.report("b", 1, 0, eval={"acc": 0.5}) == "STOP"


def test_brackets_leave_out_rungs_and_are_drawn_by_the_seed_and_the_trials_number(bench):
    def drawn_by(seed, names):
        scheduler = asha(brackets=3)
        scheduler.set_search_properties(None, None, seed=seed)
        trials = bench(scheduler, *names)
        return trials, {trial: brackets[0] for trial, brackets in scheduler.get_state()["reached"].items()}

    names = [f"t{n}" for n in range(300)]
    first, drawn = drawn_by(5, names)
    assert list(drawn.values()) == list(drawn_by(5, [f"another{n}" for n in range(300)])[1].values())
    assert list(drawn.values()) != list(drawn_by(6, names)[1].values())
    counts = [list(drawn.values()).count(bracket) for bracket in range(3)]
    assert counts[0] > counts[1] > counts[2] > 0
    late = next(name for name in names if drawn[name] == 2)
    assert first.report(late, 2, 1.0) == "CONTINUE"
    assert first.scheduler.get_state()["scores"][2] == [[], [], []]
    assert first.report(late, 4, 1.0) == "CONTINUE"
    assert first.scheduler.get_state()["scores"][2] == [[1.0], [], []]


@pytest.mark.parametrize("count", [1, 2, 3, 10, 11, 50])
@pytest.mark.parametrize("quantile", [0.5, 0.75, 2 / 3, 0.9])
def test_the_cut_off_is_numpys_percentile(count, quantile):
    numpy = pytest.importorskip("numpy")
    rng = random.Random(count)
    scores = sorted(rng.gauss(0, 1) for _ in range(count))
    assert cut_off(scores, quantile) == pytest.approx(float(numpy.percentile(scores, quantile * 100)), rel=1e-12)


def test_the_work_for_a_row_hardly_grows_with_the_number_of_trials():
    """Counts comparisons, over 100,000 trials of which each reports at the first rung."""

    class Counted(float):
        compared = 0

        def __lt__(self, other):
            Counted.compared += 1
            return float.__lt__(self, other)

    scheduler = asha()
    rng = random.Random(0)
    most = []
    for number in range(100_000):
        before = Counted.compared
        scheduler._reached[f"t{number}"] = [0]
        scheduler._passes(f"t{number}", 1, Counted(rng.random()) if number % 1000 > 990 else rng.random())
        most.append(Counted.compared - before)
        scheduler._reached.pop(f"t{number}")
    assert 1 < max(most) <= 2 * math.log2(100_000)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"max_t": 0}, "grace_period"),
        ({"grace_period": 0}, "grace_period"),
        ({"grace_period": 17}, "grace_period"),
        ({"reduction_factor": 1}, "reduction_factor"),
        ({"brackets": 0}, "brackets"),
        ({"max_t": math.inf}, "max_t=inf"),
        ({"max_t": "16"}, "max_t='16'.: use a number, not a str"),
        ({"reduction_factor": None}, "reduction_factor=None"),
        ({"brackets": "2"}, "brackets='2'"),
        ({"mode": "maximum"}, "mode"),
    ],
)
def test_wrong_arguments_are_named(arguments, text):
    with pytest.raises(ConfigurationError, match=text):
        asha(**arguments)


def test_metric_and_mode_are_needed_once(bench):
    assert ASHAScheduler is AsyncHyperBandScheduler
    with pytest.raises(ConfigurationError, match="compares trials by a metric, and has none"):
        bench(AsyncHyperBandScheduler(), "a")
    with pytest.raises(ConfigurationError, match="one of the two places"):
        configure(asha(), None, "min")
    scheduler = AsyncHyperBandScheduler(metric="m")
    configure(scheduler, None, "min")
    assert bench(scheduler, "a").report("a", 1, 1.0) == "CONTINUE"
