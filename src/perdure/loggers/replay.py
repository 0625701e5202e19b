"""Loggers told once more, from the first record on: files that were lost, a tracker that was away, a new one."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from perdure.journal.base import JournalReader
from perdure.loggers.base import LoggerCallback
from perdure.loggers.csv import CSVLoggerCallback
from perdure.loggers.follower import Follower
from perdure.loggers.json import JsonLoggerCallback
from perdure.loggers.tensorboard import TBXLoggerCallback

DEFAULT_LOGGERS: tuple[type[LoggerCallback], ...] = (JsonLoggerCallback, CSVLoggerCallback, TBXLoggerCallback)
"""The loggers that every experiment has."""


def are_ours(loggers: Sequence[LoggerCallback]) -> bool:
    """Whether all of these are perdure's own: they need no code of the user's, and can be made anew anywhere."""
    return bool(loggers) and all(type(logger) in DEFAULT_LOGGERS for logger in loggers)


def replay(
    path: str | os.PathLike[str],
    reader: JournalReader,
    loggers: Sequence[LoggerCallback],
    *,
    on_problem: Callable[[str], None] | None = None,
) -> int:
    """Tell loggers all that the journal says, and return how many records that was.

    File loggers make their files anew, of the rows that count. The others are told of everything in the order in which
    it happened, as they would have been: rows that were rolled back later, too. Objects in configurations come as
    their reprs, because reading never unpickles.

    Args:
        path: The experiment's directory.
        reader: Reads its journal.
        loggers: Whom to tell, in this order.
        on_problem: Given a text for the first error of each logger.
    """
    follower = Follower(path, reader, loggers, on_problem=on_problem, watermark=None)
    count = 0
    while more := follower.follow():
        count += more
    follower.end_experiment()
    follower.close()
    return count
