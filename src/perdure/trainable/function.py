"""Runs a function trainable: one that calls `report`, yields its rows, or returns its only one."""

from __future__ import annotations

import numbers
import types
from collections.abc import Callable, Mapping
from typing import Any

from perdure.arguments import a_kind
from perdure.errors import TrainableError
from perdure.trainable.base import trainable_name
from perdure.trainable.channel import DriverGone
from perdure.trainable.failure import describe
from perdure.trainable.session import Session, TrialStopped

ANONYMOUS_METRIC = "_metric"
"""The name of the metric of a function that returns, or yields, bare numbers."""


def run_function(function: Callable[[dict[str, Any]], object], config: dict[str, Any], session: Session) -> None:
    """Call `function` with `config` and report what it yields or returns.

    Returns when the function came to its end, or ended because `session` was told to stop. What it raises while it
    winds up for a stop is told, but the stop stands.

    Raises:
        BaseException: whatever the function raises by itself.
    """
    try:
        _call(function, config, session)
    except TrialStopped:
        if session.ended is None:
            raise
    except DriverGone:
        raise
    except BaseException as error:
        if session.ended is None:
            raise
        session.notice(
            f"{trainable_name(function)} raised while it was being stopped; the trial counts as "
            f"{session.ended.value} all the same.\n{describe(error).traceback}"
        )


def _call(function: Callable[[dict[str, Any]], object], config: dict[str, Any], session: Session) -> None:
    returned = function(config)
    if isinstance(returned, types.GeneratorType):
        _report_each(returned, function, session)
    elif returned is not None and session.ended is None:
        session.report(_metrics(returned, function))


def _report_each(
    rows: types.GeneratorType[object, None, object], function: Callable[..., object], session: Session
) -> None:
    """Report each row; what `report` raises is raised where the function yielded, so that it can wind up."""
    failed: BaseException | None = None
    while True:
        try:
            row = next(rows) if failed is None else rows.throw(failed)
        except StopIteration:
            return
        failed = None
        try:
            session.report(_metrics(row, function))
        except BaseException as error:
            failed = error


def _metrics(value: object, function: Callable[..., object]) -> Mapping[str, object]:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, numbers.Number):  # NumPy's scalars are registered as numbers, too
        return {ANONYMOUS_METRIC: value}
    raise TrainableError(
        f"{trainable_name(function)} returned or yielded {value!r} ({a_kind(value)}); it may return a dict of "
        "metrics, a number or nothing."
    )
