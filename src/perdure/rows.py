"""A row as people and plugins see it: what the trial reported, with the columns Ray Tune fills in."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from perdure.core.events import CheckpointInfo, Data
from perdure.journal.values import dict_from_data

_encode = msgspec.json.Encoder().encode


class RowFacts(Protocol):
    """What a `Report` message and a `Reported` event both say of a row."""

    @property
    def at(self) -> float: ...
    @property
    def iteration(self) -> int: ...
    @property
    def metrics(self) -> Data: ...
    @property
    def time_this_iter_s(self) -> float: ...
    @property
    def time_total_s(self) -> float: ...
    @property
    def time_since_restore_s(self) -> float: ...
    @property
    def checkpoint(self) -> CheckpointInfo | None: ...


class RowOrigin:
    """What the rows of one attempt have in common.

    Args:
        trial_id: The trial's id.
        config: The attempt's configuration as the user wrote it. Rows share this very object.
        pid: Of the process that reports.
        hostname: Of its machine.
        node_ip: Of its machine.
        iteration: The `training_iteration` the attempt went on from.
    """

    __slots__ = ("config", "hostname", "iteration", "node_ip", "pid", "trial_id")

    def __init__(
        self,
        *,
        trial_id: str,
        config: Mapping[str, Any],
        pid: int = 0,
        hostname: str = "",
        node_ip: str = "",
        iteration: int = 0,
    ) -> None:
        self.trial_id = trial_id
        self.config = config
        self.pid = pid
        self.hostname = hostname
        self.node_ip = node_ip
        self.iteration = iteration


def expand_row(origin: RowOrigin, reported: RowFacts, *, done: bool = False) -> dict[str, Any]:
    """Return a reported row with the columns Ray Tune fills in, in its order: the user's metrics come first.

    A metric of the same name as a filled-in column is replaced by it, but for `done`, which holds if either says so.
    """
    metrics = reported.metrics
    values: dict[str, Any] = metrics if is_plain(metrics) else dict_from_data(metrics)
    checkpoint = reported.checkpoint
    iteration = reported.iteration
    at = int(reported.at)
    return {
        **values,
        "timestamp": at,
        "checkpoint_dir_name": None if checkpoint is None else checkpoint.directory,
        "done": done or bool(values.get("done")),
        "training_iteration": iteration,
        "trial_id": origin.trial_id,
        "date": date_of(at),
        "time_this_iter_s": reported.time_this_iter_s,
        "time_total_s": reported.time_total_s,
        "pid": origin.pid,
        "hostname": origin.hostname,
        "node_ip": origin.node_ip,
        "config": origin.config,
        "time_since_restore": reported.time_since_restore_s,
        "iterations_since_restore": iteration - origin.iteration,
    }


AUTO_FILLED = (
    "timestamp",
    "checkpoint_dir_name",
    "done",
    "training_iteration",
    "trial_id",
    "date",
    "time_this_iter_s",
    "time_total_s",
    "pid",
    "hostname",
    "node_ip",
    "config",
    "time_since_restore",
    "iterations_since_restore",
)
"""The columns that `expand_row` adds, in order."""


def is_plain(data: Data) -> bool:
    """Whether `data` means what it says: it holds no tagged value, so it needs no `from_data`.

    A false No is possible (a text that contains `"$`) and costs time only.
    """
    return b'"$' not in _encode(data)


_dates: dict[int, str] = {}


def date_of(at: int) -> str:
    """Return Unix second `at` as `2026-01-31_12-00-00` in local time."""
    date = _dates.get(at)
    if date is None:
        if len(_dates) > 10_000:
            _dates.clear()
        date = _dates[at] = time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(at))
    return date


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping as one level, with keys joined by "/". Empty mappings leave nothing."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{name}/"))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def leaf(tree: Mapping[str, Any], name: str, default: Any = None) -> Any:
    """Return what a nested mapping holds under a name that `flatten` gives, or `default`."""
    if name in tree:
        return tree[name]
    node: Any = tree
    for part in name.split("/"):
        if not isinstance(node, Mapping) or part not in node:
            return default
        node = node[part]
    return node
