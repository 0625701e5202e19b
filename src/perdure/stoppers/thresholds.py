"""A dict as a stop rule: `stop={"training_iteration": 100, "accuracy": 0.99}`."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from perdure.arguments import a_kind
from perdure.errors import ConfigurationError, MetricError
from perdure.rows import leaf
from perdure.search_space.paths import flatten
from perdure.stoppers.base import RowStopper

log = logging.getLogger(__name__)


class DictStopper(RowStopper):
    """Stops a trial when one of its metrics reaches its threshold: value >= threshold.

    A metric that is not reported is ignored, with one warning.

    Args:
        thresholds: By metric; "a/b" or `{"a": {"b": ...}}` for a nested one.

    Raises:
        ConfigurationError: a threshold is no number.
    """

    def __init__(self, thresholds: Mapping[str, Any]) -> None:
        self.thresholds: dict[str, float] = flatten(dict(thresholds))
        self._warned: set[str] = set()
        for metric, threshold in self.thresholds.items():
            if not _is_number(threshold):
                raise ConfigurationError(
                    f"stop={{{metric!r}: {threshold!r}}}: a threshold is a number that the metric reaches from below. "
                    "For any other rule, use a function(trial_id, result) -> bool."
                )

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return any(self._reached(trial_id, metric, threshold, result) for metric, threshold in self.thresholds.items())

    def _reached(self, trial_id: str, metric: str, threshold: float, result: dict[str, Any]) -> bool:
        value = leaf(result, metric)
        if value is None:
            self._warn(metric, result)
            return False
        if not isinstance(value, (int, float)):
            raise MetricError(
                f"Trial {trial_id} reported {metric!r}, for which the stop rule has a threshold ({threshold:g}), as "
                f"{value!r:.80} ({a_kind(value)}). Report one number, or use a function(trial_id, result) -> "
                "bool as the stop rule."
            )
        return value >= threshold

    def _warn(self, metric: str, result: dict[str, Any]) -> None:
        if metric not in self._warned:
            self._warned.add(metric)
            known = ", ".join(map(str, result)) or "nothing"
            log.warning("The stop rule names %r, which was not reported (but: %s); it is ignored.", metric, known)


def _is_number(threshold: Any) -> bool:
    try:
        return not isinstance(threshold, (str, bytes)) and not math.isnan(float(threshold))
    except (TypeError, ValueError):
        return False
