"""Retention is a pure function: a table of infos in, numbers kept out."""

from __future__ import annotations

import math

import pytest

from perdure.core.events import CheckpointInfo, Spec
from perdure.core.retention import AnyOf, BestN, EveryN, KeepAll, LatestN, policy_of, to_retire


def info(number: int, score: float | None = None) -> CheckpointInfo:
    return CheckpointInfo(
        number=number, directory=f"checkpoint_{number:06d}", attempt=1, iteration=number + 1, score=score
    )


SCORES = [0.3, 0.9, 0.1, 0.9, math.nan, None]
INFOS = [info(number, score) for number, score in enumerate(SCORES)]


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        (KeepAll(), {0, 1, 2, 3, 4, 5}),
        (LatestN(2), {4, 5}),
        (LatestN(99), {0, 1, 2, 3, 4, 5}),
        (BestN(1), {3}),  # of equal scores the later
        (BestN(2), {1, 3}),
        (BestN(2, "min"), {0, 2}),
        (BestN(5), {0, 1, 2, 3, 5}),  # NaN and None rank last, the later first
        (EveryN(3), {2, 5}),
        (AnyOf((LatestN(1), BestN(1))), {3, 5}),
    ],
)
def test_what_a_policy_keeps(policy: object, kept: set[int]) -> None:
    assert policy.keep(INFOS) == kept  # type: ignore[attr-defined]


def test_the_latest_is_kept_beside_the_best() -> None:
    retired = to_retire(BestN(1), INFOS, durable={0, 1, 2, 3, 4, 5}, in_use=())
    assert retired == [0, 1, 2, 4]


def test_the_newest_durable_one_stays_until_a_newer_one_is_durable() -> None:
    assert to_retire(LatestN(1), INFOS, durable={1}, in_use=()) == [0, 2, 3, 4]
    assert to_retire(LatestN(1), INFOS, durable={1, 5}, in_use=()) == [0, 1, 2, 3, 4]


def test_what_is_in_use_stays() -> None:
    assert to_retire(LatestN(1), INFOS, durable={5}, in_use={2}) == [0, 1, 3, 4]


def test_no_checkpoints_no_trouble() -> None:
    assert to_retire(LatestN(1), [], durable=(), in_use=()) == []


def test_the_policy_a_user_spells() -> None:
    assert policy_of(Spec()) == KeepAll()
    assert policy_of(Spec(num_to_keep=3)) == LatestN(3)
    assert policy_of(Spec(num_to_keep=3, score_attribute="acc", score_order="min")) == BestN(3, "min")
