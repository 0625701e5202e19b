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

INHERIT_POINTS = ("durable.copied", "durable.replaced")
"""Passed, for each file, by a driver that brings a checkpoint of its predecessor to the disk."""

DELETE_POINTS = ("delete.begin", "delete.manifest", "delete.done")
"""Passed by a driver that removes a checkpoint."""

WORKER_POINTS = ("worker.directory", "worker.started", "worker.verified", "worker.ending", "worker.ended")
"""Passed once by a worker; "worker.verified" if its attempt starts from a checkpoint."""

REPORT_POINTS = ("report.begin", "report.committed", "report.answered")
"""Passed by a worker at each row; the commit points lie between the first two if it has a checkpoint."""

SAVE_POINTS = ("save.begin", "save.written", "save.committed", "save.answered")
"""Passed by a worker that runs a class trainable and saves; the last two if the verdict asked for it."""

LOAD_POINTS = ("load.done",)
"""Passed by a worker that has restored a class trainable."""

TEMPLATE_POINTS = ("template.begin", "template.forked", "template.reaped")
"""Passed by the template at each start and at each end of a worker."""

STORE_POINTS = ("store.trainable", "store.tuner")
"""Passed by the driver of a new experiment, before anything is journaled."""

CLAIM_POINTS = ("claim.free", "claim.begin", "claim.written")
"""Passed by a driver that takes its claim; the last two also where it renews it or gives it back."""

EPOCH_POINTS = ("epoch.begin", "epoch.written", "epoch.named", "epoch.synced", "epoch.done")
"""Passed by a driver that makes the file of its journal."""

JOURNAL_POINTS = ("journal.begin", "journal.written", "journal.flushed")
"""Passed at each write to the journal; the last one with durability="strict" only."""

SYNC_POINTS = ("sync.begin", "sync.done", "head.written", "head.replaced")
"""Passed by the thread that syncs the journal, and by a driver that closes it."""

SESSION_POINTS = (
    "session.claimed",
    "session.folded",
    "session.cleared",
    "session.begun",
    "session.adopted",
    "session.open",
)
"""Passed by a driver before the first trial starts; "session.cleared" if it goes on with an experiment."""

ADOPT_POINTS = ("adopt.found", "adopt.known", "adopt.swept")
"""Passed for each unfinished trial that is gone on with; the first for each checkpoint found in its directory."""

OBJECT_POINTS = ("objects.begin", "objects.done")
"""Passed by a driver that makes a trial whose configuration holds what is not data."""

REQUEST_POINTS = ("request.begin", "request.posted", "request.read", "request.removed")
"""Passed by whoever makes a request, the first two, and by a driver that answers one."""

TURN_POINTS = ("turn.received", "turn.report", "turn.decided", "turn.committed", "turn.effect", "turn.done")
"""Passed at each turn of the loop; the second at each row, the next two if there is something to journal."""

START_POINTS = ("start.done",)
"""Passed by a driver that starts an attempt."""

SNAPSHOT_POINTS = ("snapshot.begin", "snapshot.plugins", "snapshot.state", "snapshot.renamed", "snapshot.removed")
"""Passed by a driver that writes a snapshot; the last one once there are more than are kept."""

LOGGER_POINTS = (
    "loggers.begin",
    "loggers.told",
    "loggers.done",
    "files.appended",
    "files.written",
    "files.replaced",
    "loggers.ending",
    "loggers.closed",
)
"""Passed by the thread that writes the files of the loggers."""

MOVING_POINTS = ("loggers.leaving", "loggers.left")
"""Passed by it when it moves into a process, which it does where there is much to log."""

END_POINTS = ("run.over", "close.begin", "close.done")
"""Passed by a driver after its last record."""

ON_WORKERS = (*COMMIT_POINTS, *WORKER_POINTS, *REPORT_POINTS, *SAVE_POINTS, *LOAD_POINTS)
"""The points at which a worker dies."""

ON_DRIVERS = (
    *STORE_POINTS,
    *CLAIM_POINTS,
    *EPOCH_POINTS,
    *SESSION_POINTS,
    *ADOPT_POINTS,
    *OBJECT_POINTS,
    *REQUEST_POINTS,
    *TURN_POINTS,
    *START_POINTS,
    *JOURNAL_POINTS,
    *SYNC_POINTS,
    *DURABLE_POINTS,
    *INHERIT_POINTS,
    *DELETE_POINTS,
    *SNAPSHOT_POINTS,
    *LOGGER_POINTS,
    *MOVING_POINTS,
    *END_POINTS,
)
"""The points at which a driver dies."""

ALL_POINTS = (*ON_WORKERS, *TEMPLATE_POINTS, *ON_DRIVERS)
"""Every point there is."""


def fault_environment(
    point: str,
    *,
    nth: int = 1,
    marker: str | os.PathLike[str] | None = None,
    victims: str | os.PathLike[str] | None = None,
) -> dict[str, str]:
    """Return environment variables that kill a process when it passes `point` for the nth time.

    Args:
        point: The point's name.
        nth: Which passing is the last.
        marker: A path where no file is yet: of all processes that inherit the variables, one dies.
        victims: A file of process ids, one a line, read when it happens: they die as well, a moment before.
    """
    variables = {"PERDURE_FAULT": f"{point}:{nth}"}
    if marker is not None:
        variables["PERDURE_FAULT_MARKER"] = os.fspath(marker)
    if victims is not None:
        variables["PERDURE_FAULT_VICTIMS"] = os.fspath(victims)
    return variables


@contextlib.contextmanager
def armed(point: str, *, nth: int = 1, marker: str | os.PathLike[str] | None = None) -> Iterator[None]:
    """Arm `point` in this process, and in those forked meanwhile, for as long as the context lasts."""
    arm(f"{point}:{nth}", marker=None if marker is None else os.fspath(marker))
    try:
        yield
    finally:
        arm(None)
