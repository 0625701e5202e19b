"""Which checkpoints of a trial to keep, as pure functions from a list of checkpoint infos to the numbers kept.

Policies say what a user wants to keep. What must be kept whatever the policy says (promise P6) is added by
`protected`: the latest, the newest one known to be on the disk, what is being read and what is pinned.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from perdure.core.events import CheckpointInfo, Spec


class Policy(Protocol):
    """Names the checkpoints worth keeping."""

    def keep(self, infos: Sequence[CheckpointInfo]) -> set[int]:
        """Return the numbers to keep of `infos`, which stand in the order they were saved."""
        ...


class KeepAll(msgspec.Struct, frozen=True):
    """Keep every checkpoint."""

    def keep(self, infos: Sequence[CheckpointInfo]) -> set[int]:
        return {info.number for info in infos}


class LatestN(msgspec.Struct, frozen=True):
    """Keep the `n` saved last."""

    n: int

    def keep(self, infos: Sequence[CheckpointInfo]) -> set[int]:
        return {info.number for info in infos[max(0, len(infos) - self.n) :]}


class BestN(msgspec.Struct, frozen=True):
    """Keep the `n` with the best score; of equal scores the later. One without a score (or NaN) is worse than any."""

    n: int
    order: str = "max"

    def keep(self, infos: Sequence[CheckpointInfo]) -> set[int]:
        ranked = sorted(infos, key=self._rank, reverse=True)
        return {info.number for info in ranked[: self.n]}

    def _rank(self, info: CheckpointInfo) -> tuple[bool, float, int]:
        score = info.score
        if score is None or math.isnan(score):
            return (False, 0.0, info.number)
        return (True, score if self.order == "max" else -score, info.number)


class EveryN(msgspec.Struct, frozen=True):
    """Keep those whose `training_iteration` is a multiple of `n`."""

    n: int

    def keep(self, infos: Sequence[CheckpointInfo]) -> set[int]:
        return {info.number for info in infos if info.iteration % self.n == 0}


class AnyOf(msgspec.Struct, frozen=True):
    """Keep what any of `policies` keeps."""

    policies: tuple[Policy, ...]

    def keep(self, infos: Sequence[CheckpointInfo]) -> set[int]:
        return set().union(*(policy.keep(infos) for policy in self.policies))


def policy_of(spec: Spec) -> Policy:
    """Return the policy that `num_to_keep` and `checkpoint_score_*` spell."""
    if spec.num_to_keep is None:
        return KeepAll()
    if spec.score_attribute is None:
        return LatestN(spec.num_to_keep)
    return BestN(spec.num_to_keep, spec.score_order)


def protected(infos: Sequence[CheckpointInfo], durable: Collection[int], in_use: Collection[int]) -> set[int]:
    """Return what no policy may remove: the latest, the newest durable one, and what is in use.

    The newest durable one stays until a newer one is durable, so that a power cut always leaves a whole checkpoint.
    """
    kept = set(in_use)
    if infos:
        kept.add(infos[-1].number)
    for info in reversed(infos):
        if info.number in durable:
            kept.add(info.number)
            break
    return kept


def to_retire(
    policy: Policy, infos: Sequence[CheckpointInfo], *, durable: Collection[int], in_use: Collection[int]
) -> list[int]:
    """Return the numbers of `infos` (in the order they were saved) that nothing needs any more."""
    kept = policy.keep(infos) | protected(infos, durable, in_use)
    return [info.number for info in infos if info.number not in kept]


def collectable(
    policy: Policy,
    infos: Sequence[CheckpointInfo],
    *,
    durable: Collection[int],
    in_use: Collection[int],
    finished: bool,
) -> list[int]:
    """Return the numbers of `infos` that a person who wants no more than `policy` may remove.

    Of a finished trial that may be all; but if any is kept, one that is known to be on the disk is among them.
    """
    kept = policy.keep(infos) | set(in_use)
    if not finished or (kept and kept.isdisjoint(durable)):
        kept |= protected(infos, durable, in_use)
    return [info.number for info in infos if info.number not in kept]
