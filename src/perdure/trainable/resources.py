"""What a running trial was given: amounts by name, and how it had asked for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class TrialResources(dict[str, float]):
    """The amounts of a trial by name, for example `{"CPU": 1.0}`, with the attributes of a PlacementGroupFactory.

    Args:
        amounts: What the trial was given.
        bundles: How it had asked for that, bundle by bundle; another sum than `amounts` (a scheduler has changed the
            trial's resources since) makes it one bundle of all.
    """

    def __init__(self, amounts: Mapping[str, float], bundles: Sequence[Mapping[str, float]] = ()) -> None:
        super().__init__(amounts)
        self._bundles = [dict(bundle) for bundle in bundles] if _sum(bundles) == amounts else [dict(amounts)]

    @property
    def bundles(self) -> list[dict[str, float]]:
        """Amounts of each bundle, the trial's own first."""
        return [dict(bundle) for bundle in self._bundles]

    @property
    def head_cpus(self) -> float:
        """CPUs of the first bundle, which is the trial's own."""
        return self._bundles[0].get("CPU", 0.0)

    @property
    def head_bundle_is_empty(self) -> bool:
        """Whether the trial itself needs nothing."""
        return not self._bundles[0]

    @property
    def required_resources(self) -> dict[str, float]:
        """The sum of all bundles."""
        return dict(self)


def _sum(bundles: Sequence[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for bundle in bundles:
        for name, amount in bundle.items():
            total[name] = total.get(name, 0.0) + amount
    return total
