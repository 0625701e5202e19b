"""Every fault point, and the run in which a process passes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from perdure.testing import faults

SAMPLES, STEPS = 3, 4


@dataclasses.dataclass(frozen=True)
class Way:
    """A way to have a process die at a point.

    Args:
        point: The point.
        passes: Which passings are the last, one for each run.
        resumed: The driver before was killed when a checkpoint of the second trial was committed and its row was not
            yet journaled; the process dies in the session after that.
        with_driver: The driver is killed in the same moment.
        apis: Where the point lies on the way.
        options: What the workload is told, so that the point is passed.
        environment: The same.
    """

    point: str
    passes: tuple[int, ...] = (1,)
    resumed: bool = False
    with_driver: bool = False
    apis: tuple[str, ...] = ("function", "class")
    options: Mapping[str, object] = dataclasses.field(default_factory=dict)
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def kills_driver(self) -> bool:
        """Whether it is the driver that dies."""
        return self.with_driver or self.point in faults.ON_DRIVERS

    def __str__(self) -> str:
        return f"{self.point}{'+driver' * self.with_driver}{'-resumed' * self.resumed}"


def ways() -> list[Way]:
    """Return at least one way to each point."""
    alone = _worker()
    both = [dataclasses.replace(way, with_driver=True, passes=way.passes[-1:]) for way in alone]
    return [*alone, *both, *_driver()]


def _worker() -> list[Way]:
    found = []
    for point in faults.COMMIT_POINTS:
        apis = ("function",) if point in ("commit.listed", "commit.file") else ("function", "class")
        options = {"durability": "strict"} if point == "commit.synced" else {}
        found.append(Way(point, (1, 3), apis=apis, options=options))
    found += [Way(point, (1, 4)) for point in faults.REPORT_POINTS]
    found += [Way(point, resumed=point == "worker.verified") for point in faults.WORKER_POINTS]
    found += [Way(point, (1, 3), apis=("class",)) for point in ("save.begin", "save.written")]
    at_end = {"every": 3}  # the last row of four then has its checkpoint because the trial ends
    found += [Way(point, apis=("class",), options=at_end) for point in ("save.committed", "save.answered")]
    found += [Way(point, resumed=True, apis=("class",)) for point in faults.LOAD_POINTS]
    found += [Way(point, (1, 2)) for point in faults.TEMPLATE_POINTS]
    found += [Way(point, resumed=True) for point in ("commit.renamed", "report.committed", "template.forked")]
    return found


def _driver() -> list[Way]:
    found = [Way(point) for point in faults.STORE_POINTS]
    once = (*faults.CLAIM_POINTS, *faults.EPOCH_POINTS, *faults.SESSION_POINTS)
    found += [Way(point) for point in once if point != "session.cleared"]
    found += [Way(point, resumed=True) for point in (*once, *faults.ADOPT_POINTS, *faults.INHERIT_POINTS)]
    found += [Way(point, (2,)) for point in ("claim.begin", "claim.written")]
    found += [Way(point, (1, 3), options={"objects": "yes"}) for point in faults.OBJECT_POINTS]
    asked = {"request": "yes"}
    found += [Way(point, options=asked) for point in faults.REQUEST_POINTS]
    found += [Way(point, resumed=True, options=asked) for point in ("request.read", "request.removed")]
    found += [Way(point, (1, 9)) for point in faults.TURN_POINTS]
    found += [Way(point, (1, 9)) for point in ("journal.begin", "journal.written")]
    found += [Way("journal.flushed", (1, 9), options={"durability": "strict"})]
    found += [Way(point, (1, 2)) for point in (*faults.START_POINTS, *faults.SYNC_POINTS)]
    found += [Way(point, options={"bulk": 1_100_000, "pause": 0.1}) for point in faults.DURABLE_POINTS[:2]]
    found += [Way("durable.synced", (1, 2), options={"pause": 0.1})]
    found += [Way(point, (1, 4), options={"keep": 1}) for point in faults.DELETE_POINTS]
    often = {"TUNE_GLOBAL_CHECKPOINT_S": "0"}
    found += [Way(point, (1, 7), environment=often) for point in faults.SNAPSHOT_POINTS]
    found += [Way(point) for point in faults.LOGGER_POINTS]
    away = {"PERDURE_LOGGERS_BUSY": "0"}
    moving = (*faults.MOVING_POINTS, "loggers.told", "loggers.closed")
    found += [Way(point, environment=away, options={"pause": 0.1}) for point in moving]
    slowly = {"pause": 0.1}  # loggers look five times a second, and are to look before the end
    files = ("loggers.begin", "files.appended", "files.written", "files.replaced")
    found += [Way(point, (2,), options=slowly) for point in files]
    found += [Way(point, resumed=True) for point in ("turn.decided", "turn.effect", "files.replaced", "head.written")]
    found += [Way(point) for point in faults.END_POINTS]
    return found
