"""Those who watch a session: the display, and the loggers, which follow its journal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.config import RunConfig
from perdure.core.state import State
from perdure.definition import Definition, unstorable
from perdure.environment import number_in
from perdure.executors.base import Executor
from perdure.journal.file import FileJournalReader
from perdure.loggers.base import FileLogger, LoggerCallback
from perdure.loggers.follower import TRACKER_WATERMARK_FILE, WATERMARK_FILE
from perdure.loggers.replay import DEFAULT_LOGGERS
from perdure.loggers.thread import BUSY, LoggerFollower
from perdure.reporting.advice import of_script
from perdure.reporting.base import RunInfo
from perdure.reporting.standing import standing_of
from perdure.trainable.pickling import objects_in

if TYPE_CHECKING:
    from perdure.reporting.base import ProgressDisplay


def make_display(run: RunConfig, executor: Executor) -> ProgressDisplay:
    """Return what shows the session to a person."""
    from perdure.reporting.choose import choose_display

    live = not getattr(executor, "in_process", False)
    return choose_display(run.verbose, run.progress_reporter, sys.stdout, live=live)


def run_info(definition: Definition, state: State, total: int | None, *, goes_on: bool) -> RunInfo:
    """Return what a display is told before its first event.

    Args:
        total: How many trials there will be, if the searcher knows.
        goes_on: The experiment was there before this session.
    """
    how_to = of_script(
        definition.path,
        definition.name,
        starts_or_resumes=bool(definition.run_config.resume),
        stored=not definition.left_out and not unstorable(definition),
    )
    return RunInfo(
        name=definition.path.name,
        path=str(definition.path),
        metric=state.spec.metric,
        mode=state.spec.mode,
        total=total,
        time_budget_s=state.spec.time_budget_s,
        ran_before_s=state.ran_before_s,
        capacity=state.capacity,
        how_to_resume=how_to.resume,
        how_to_retry=how_to.retry,
        standing=standing_of(state, total) if goes_on else None,
    )


def with_default_loggers(chosen: list[LoggerCallback]) -> list[LoggerCallback]:
    """Add the loggers that every experiment has, where the user has not chosen one of their kind."""
    if os.environ.get("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS") == "1":
        return chosen
    return [*chosen, *(kind() for kind in DEFAULT_LOGGERS if not any(isinstance(logger, kind) for logger in chosen))]


def start_loggers(
    stack: ExitStack,
    path: Path,
    chosen: Sequence[LoggerCallback],
    *,
    on_problem: Callable[[str], None],
    is_lost: Callable[[], bool],
    fresh: bool,
) -> list[LoggerFollower]:
    """Start the loggers that write files, and those of the user, which may block, apart from them.

    Args:
        stack: Closes them.
        path: The experiment's directory.
        chosen: The loggers.
        on_problem: Told what goes wrong with them.
        is_lost: Whether this driver has lost its claim, so that it may write no more.
        fresh: The experiment begins with this session.
    """
    files = [logger for logger in chosen if isinstance(logger, FileLogger)]
    others = [logger for logger in chosen if not isinstance(logger, FileLogger)]
    started = []
    for loggers, watermark in ((files, WATERMARK_FILE), (others, TRACKER_WATERMARK_FILE)):
        if loggers is others and not others:
            continue
        follower = LoggerFollower(
            path,
            FileJournalReader(path),
            loggers,
            on_problem=on_problem,
            load_objects=objects_in(path),
            is_lost=is_lost,
            busy=number_in("PERDURE_LOGGERS_BUSY", BUSY) if loggers is files else None,
            fresh=fresh,
            watermark=watermark,
            keeps_errors=loggers is files,
        )
        follower.start()
        stack.callback(follower.close, number_in("PERDURE_LOGGERS_CLOSE_S", 60))
        started.append(follower)
    return started
