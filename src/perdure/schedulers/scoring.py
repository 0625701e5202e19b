"""What the schedulers share that compare trials by a metric at points of time."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from perdure.arguments import a_kind
from perdure.errors import ConfigurationError, MetricError
from perdure.rows import leaf
from perdure.schedulers.base import DEFAULT_METRIC, Controller, TrialScheduler
from perdure.trial_view import TrialView

log = logging.getLogger(__name__)

WORST = -1e300
"""The score of a row whose metric is NaN, and the limit of what is infinite: JSON has neither, and a trial that has
diverged is worse than any other."""


class ScoringScheduler(TrialScheduler):
    """Base of the schedulers that compare trials: knows metric, mode and the measure of time.

    Args:
        time_attr: What time is measured by: a column that only grows. A row without it is passed over, with one
            warning.
        metric: What trials are compared by; of TuneConfig if None. A row without it is passed over.
        mode: "min" or "max"; of TuneConfig if None.

    Raises:
        ConfigurationError: `mode` is neither.
    """

    _supports_buffered_results = False
    _warned = False

    def __init__(self, time_attr: str, metric: str | None, mode: str | None) -> None:
        super().__init__()
        if mode not in (None, "min", "max"):
            raise ConfigurationError(f'{type(self).__name__}(mode={mode!r}): use "min" or "max".')
        self._time_attr = time_attr
        self._metric = metric
        self._mode = mode
        self._seed: object = 0
        self._saves = False
        """Trials save a checkpoint when they are told to."""

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Take over the metric and mode of TuneConfig; return False if one of them is given twice."""
        if (self._metric and metric) or (self._mode and mode):
            return False
        self._seed = spec.get("seed", self._seed)
        self._saves = bool(spec.get("saves", False))
        self._metric = metric or self._metric
        self._mode = mode or self._mode
        if self._mode and self._metric is None:
            self._metric = DEFAULT_METRIC
        return True

    def on_trial_add(self, controller: Controller, trial: TrialView) -> None:
        """See that there is something to compare trials by.

        Raises:
            ConfigurationError: nobody named a metric and a mode.
        """
        if not self._metric or not self._mode:
            name = type(self).__name__
            raise ConfigurationError(
                f"{name} compares trials by a metric, and has none (metric={self._metric!r}, mode={self._mode!r}). "
                f'Name them in one place: {name}(metric="loss", mode="min") or TuneConfig(metric="loss", mode="min").'
            )

    def _point(self, result: Mapping[str, Any]) -> tuple[float, float] | None:
        """Return time and score of a row, the greater the better; None if it lacks one of them, or its time is NaN.

        Raises:
            MetricError: one of them is no number.
        """
        assert self._metric is not None
        time, value = leaf(result, self._time_attr), leaf(result, self._metric)
        if time is None and result:
            self._warn(result)
        if time is None or value is None:
            return None
        time, value = self._number(self._time_attr, time), self._number(self._metric, value)
        if math.isnan(time):
            return None
        score = value if self._mode == "max" else -value
        return time, WORST if math.isnan(score) else min(max(score, WORST), -WORST)

    def _number(self, name: str, value: Any) -> float:
        try:
            return float(value)
        except (TypeError, ValueError):
            raise MetricError(
                f"A row has {name!r} as {value!r:.80} ({a_kind(value)}), by which "
                f"{type(self).__name__} cannot compare trials. Report one number."
            ) from None

    def _warn(self, result: Mapping[str, Any]) -> None:
        if not self._warned:
            self._warned = True
            name, known = type(self).__name__, ", ".join(map(str, result))
            log.warning(
                "%s measures time by %r, which was not reported (but: %s): it passes such rows over, and stops nobody "
                "for them. Report it in each row, or name another: %s(time_attr=...).",
                name,
                self._time_attr,
                known,
                name,
            )
