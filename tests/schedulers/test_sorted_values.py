"""The sorted list of schedulers against a plain one, and what schedulers decide with the one and with the other."""

import bisect
import contextlib
import itertools
import math
import pickle
import random
import statistics
from array import array
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.schedulers import sorted_values
from perdure.schedulers.async_hyperband import ASHAScheduler, cut_off
from perdure.schedulers.median_stopping_rule import Others
from perdure.schedulers.population import Ranking
from perdure.schedulers.promotion_asha import Rung
from perdure.schedulers.sorted_values import SortedValues

FEW = st.integers(0, 12).map(float)
"""Scores of which many are equal."""
SCORES = st.lists(FEW | st.floats(allow_nan=False), max_size=150)
CHANGES = st.lists(st.tuples(st.just("add"), FEW) | st.tuples(st.just("remove"), st.floats(0, 1)), max_size=300)


@contextlib.contextmanager
def small_parts():
    """Leaves and branches of four, so that few values make a deep tree."""
    with mock.patch.multiple(sorted_values, LEAF=4, FAN=4):
        yield


def kept(values, ordered, kind):
    """Check that `values` are those of a sorted list, in a sound tree."""
    assert list(values) == ordered
    assert len(values) == len(ordered)
    assert [values[place] for place in range(-len(ordered), len(ordered))] == ordered * 2
    for value in {*ordered, -1.0, 5.5}:
        assert values.bisect_left(value) == bisect.bisect_left(ordered, value)
    for place in (len(ordered), -len(ordered) - 1):
        with pytest.raises(IndexError):
            values[place]
        with pytest.raises(IndexError):
            del values[place]
    depths = set(sound(values._root, kind))
    assert len(depths) == 1, "some leaves are deeper than others"


def sound(part, kind, depth=0):
    """Yield the depth of each leaf; every part is of bounded size, and every count and bound is true."""
    if not isinstance(part, sorted_values._Branch):
        assert type(part) is kind
        assert len(part) <= sorted_values.LEAF
        yield depth
        return
    assert len(part.parts) == len(part.counts) == len(part.bounds) + 1
    assert (2 if depth == 0 else 1) <= len(part.parts) <= sorted_values.FAN
    insides = [list(itertools.chain(*sorted_values._leaves(each))) for each in part.parts]
    assert part.counts == [len(inside) for inside in insides]
    assert all(insides), "an empty part was kept"
    for bound, left, right in zip(part.bounds, insides[:-1], insides[1:], strict=True):
        assert left[-1] <= bound <= right[0]
    for each in part.parts:
        yield from sound(each, kind, depth + 1)


@given(SCORES, CHANGES, st.sampled_from([list, lambda values=(): array("d", values)]))
def test_it_is_a_plain_sorted_list(first, changes, make):
    with small_parts():
        ordered = sorted(first)
        values = SortedValues(make(ordered))
        kept(values, ordered, type(make()))
        for change, what in changes:
            if change == "add":
                values.add(what)
                bisect.insort(ordered, what)
            elif ordered:
                place = int(what * (len(ordered) - 1))
                del values[place]
                del ordered[place]
        kept(values, ordered, type(make()))


@given(SCORES)
def test_what_is_removed_to_the_last_can_be_filled_again(scores):
    with small_parts():
        values = SortedValues(array("d"))
        for _ in range(2):
            for score in scores:
                values.add(score)
            kept(values, sorted(scores), array)
            for left in reversed(range(len(scores))):
                del values[random.Random(left).randrange(left + 1)]
            kept(values, [], array)


def test_it_can_be_pickled():
    values = SortedValues(array("d", range(5000)))
    assert list(pickle.loads(pickle.dumps(values))) == list(range(5000))


def test_what_an_operation_touches_does_not_grow_with_the_number_of_values():
    """One part of each level, each of bounded size: of scores at random, in order, and of a population that gets on."""
    rng = random.Random(0)
    drawn, rising, moving = (SortedValues(array("d")) for _ in range(3))
    for number in range(100_000):
        drawn.add(rng.random())
        rising.add(float(number))
        moving.add(float(number))
        if len(moving) > 2000:
            del moving[0]
    for values, levels in ((drawn, 3), (rising, 3), (moving, 2)):
        assert set(sound(values._root, array)) == {levels - 1}
    assert list(moving) == [float(number) for number in range(98_000, 100_000)]


# --- what schedulers decide, by plain lists ---------------------------------------------------------------------------


@given(SCORES, st.sampled_from([2, 3, 4, 1.5]))
def test_asha_stops_whom_it_stopped_with_a_plain_list(scores, factor):
    with small_parts():
        scheduler, ordered = ASHAScheduler(metric="m", mode="max", max_t=9, reduction_factor=factor), []
        for number, score in enumerate(scores):
            scheduler._reached["t"] = [0]
            passes = not ordered or score >= cut_off(ordered, 1 - 1 / factor)
            assert scheduler._passes("t", 1, score) is passes, number
            bisect.insort(ordered, score)
        state = scheduler.get_state()
        assert state["scores"][0][0] == ordered
        scheduler.set_state(state)
        assert scheduler.get_state() == state


@given(st.lists(FEW, max_size=80), st.randoms(use_true_random=False))
def test_promotion_goes_by_the_same_ranks_as_with_a_plain_list(scores, rng):
    with small_parts():
        rung, ordered, waiting = Rung(1, 3), [], {}
        for number, score in enumerate(scores):
            trial = f"t{number}"
            rung.add(trial, score)
            waiting[trial] = score, -number
            bisect.insort(ordered, waiting[trial])
            if rng.random() < 0.2:
                remembered = rung.get_state()
                rung = Rung(1, 3)
                rung.set_state(remembered)
            best, worst = (choose(waiting, key=waiting.__getitem__) for choose in (max, min))
            assert (rung.best(), rung.worst()) == (best, worst)
            better = len(ordered) - 1 - bisect.bisect_left(ordered, waiting[best])
            assert rung.is_promotable() is (better < int(len(ordered) / 3))
            for leaving in (best, worst):
                if leaving in waiting and len(waiting) > 1 and rng.random() < 0.5:
                    rung.promote(leaving)
                    del waiting[leaving]
        assert rung.get_state()["scores"] == scores
        assert rung.get_state()["waiting"] == {trial: -place for trial, (_, place) in waiting.items()}


@given(st.lists(FEW, min_size=1, max_size=80), st.randoms(use_true_random=False))
def test_the_median_of_the_others_is_that_of_a_plain_list(averages, rng):
    with small_parts():
        values = SortedValues(array("d", sorted(averages)))
        assert Others(values, None).median() == statistics.median(averages)
        own = rng.choice(averages)
        others = list(averages)
        others.remove(own)
        assert len(Others(values, own)) == len(others)
        if others:
            assert Others(values, own).median() == statistics.median(others)


@given(st.lists(st.tuples(st.integers(0, 30), st.none() | FEW), max_size=150), st.sampled_from([0, 0.1, 0.25, 0.5]))
def test_a_population_is_ranked_as_by_a_plain_list(changes, fraction):
    with small_parts():
        ranking, scores = Ranking(), {}
        for number, score in changes:
            ranking.put(f"t{number}", score, number)
            scores.pop(number, None)
            if score is not None:
                scores[number] = score
        ranked = [f"t{number}" for number in sorted(scores, key=lambda number: (scores[number], number))]
        count = 0 if len(ranked) < 2 else min(math.ceil(len(ranked) * fraction), len(ranked) // 2)
        assert list(ranking) == ranked
        assert ranking.first() == (ranked[0] if ranked else None)
        assert list(ranking.low(fraction)) == ranked[:count]
        assert [ranking.best(index) for index in range(len(ranked))] == ranked[::-1]
        for place, member in enumerate(ranked):
            assert ranking.is_low(member, fraction) is (place < count)
            assert ranking.is_high(member, fraction) is (place >= len(ranked) - count)
