"""Killing a process at a named point: the points, and how to arm one. See `perdure.storage.faults`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from perdure.storage.faults import arm

COMMIT_POINTS = (
    "commit.listed",
    "commit.staged",
    "commit.file",
    "commit.copied",
    "commit.manifest",
    "commit.synced",
    "commit.renamed",
    "commit.done",
)
"""Passed by a worker that saves a checkpoint, in this order; "commit.synced" with durability="strict" only."""

COMMITTED_FROM = "commit.renamed"
"""At this point, and after it, the checkpoint exists."""

DURABLE_POINTS = ("durable.digested", "durable.recorded", "durable.synced")
"""Passed by a driver that brings a checkpoint to the disk; the first two if digests were missing."""

DELETE_POINTS = ("delete.begin", "delete.manifest", "delete.done")
"""Passed by a driver that removes a checkpoint."""


def fault_environment(point: str, *, nth: int = 1, marker: str | os.PathLike[str] | None = None) -> dict[str, str]:
    """Return environment variables that kill a process when it passes `point` for the nth time.

    Args:
        point: The point's name.
        nth: Which passing is the last.
        marker: A path where no file is yet: of all processes that inherit the variables, one dies.
    """
    variables = {"PERDURE_FAULT": f"{point}:{nth}"}
    if marker is not None:
        variables["PERDURE_FAULT_MARKER"] = os.fspath(marker)
    return variables


@contextlib.contextmanager
def armed(point: str, *, nth: int = 1, marker: str | os.PathLike[str] | None = None) -> Iterator[None]:
    """Arm `point` in this process, and in those forked meanwhile, for as long as the context lasts."""
    arm(f"{point}:{nth}", marker=None if marker is None else os.fspath(marker))
    try:
        yield
    finally:
        arm(None)
