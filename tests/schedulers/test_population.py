"""The ranking of a population."""

import math
import random

from perdure.schedulers.population import Ranking


def ranking(*scores):
    made = Ranking()
    for number, score in enumerate(scores):
        made.put(f"t{number}", score, number)
    return made


def test_the_worst_come_first_and_of_equals_the_older():
    assert list(ranking(3.0, 1.0, 2.0, 1.0)) == ["t1", "t3", "t2", "t0"]


def test_who_has_no_score_is_not_ranked():
    assert list(ranking(None, 1.0, math.nan)) == ["t1"]


def test_quantiles_are_rounded_up_and_never_overlap():
    assert [ranking(*range(count)).quantile(0.25) for count in range(9)] == [0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert [ranking(*range(count)).quantile(0.5) for count in range(9)] == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    assert ranking(*range(9)).quantile(0) == 0


def test_membership_of_quantiles():
    made = ranking(5.0, 1.0, 4.0, 2.0, 3.0)
    assert [made.is_low(f"t{n}", 0.4) for n in range(5)] == [False, True, False, True, False]
    assert [made.is_high(f"t{n}", 0.4) for n in range(5)] == [True, False, True, False, False]
    assert not made.is_low("unknown", 0.5)
    assert not made.is_high("unknown", 0.5)
    assert list(made.low(0.4)) == ["t1", "t3"]
    assert [made.best(n) for n in range(2)] == ["t0", "t2"]


def test_scores_come_and_go():
    rng, made, model = random.Random(1), Ranking(), {}
    for _ in range(500):
        number = rng.randrange(20)
        if rng.random() < 0.3:
            made.drop(str(number))
            model.pop(number, None)
        else:
            model[number] = rng.randrange(5)
            made.put(str(number), model[number], number)
        assert list(made) == [str(n) for n in sorted(model, key=lambda n: (model[n], n))]
        assert len(made) == len(model)
        assert ("3" in made) == (3 in model)
