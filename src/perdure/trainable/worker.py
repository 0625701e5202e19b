"""Runs one attempt of one trial, in the process that was started for it."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from typing import Any

from perdure.checkpoints.manifest import verify_checkpoint
from perdure.checkpoints.transfer import Saver
from perdure.core.events import ErrorInfo, Outcome, Source
from perdure.errors import CheckpointError, TrainableError
from perdure.journal.values import dict_from_data, has_objects
from perdure.storage import processes
from perdure.storage.faults import fault_point
from perdure.trainable.base import Trainable, check_trainable
from perdure.trainable.channel import Channel, DriverGone
from perdure.trainable.failure import describe, store_exception
from perdure.trainable.function import run_function
from perdure.trainable.messages import Assignment, Ended, RestorePoint, Started
from perdure.trainable.pickling import PARAMS, load_objects
from perdure.trainable.session import Session, TrialStopped, activated
from perdure.trainable.stepping import KeptInstance, run_class
from perdure.trainable.workplace import workplace
from perdure.trainable.wrappers import bundles_of

RETRY_DELAYS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Waits between tries to read a start checkpoint from a storage that does not answer."""


def run_attempt(
    assignment: Assignment, channel: Channel, trainable: object, *, kept: KeptInstance | None = None
) -> Outcome:
    """Run one attempt from `Started` to `Ended` and return how it ended.

    User code runs in the calling thread. Whatever it raises becomes the `Ended` message; directory, environment and
    output are afterwards as they were before.

    Args:
        assignment: The attempt.
        channel: The way to the driver.
        trainable: A function of the config, or a class derived from Trainable.
        kept: Holds the instance of a class trainable from one attempt to the next; None keeps none.

    Raises:
        DriverGone: there is no driver left to tell anything. User code has been unwound.
    """
    try:
        _make_directory(assignment.path)  # its name is journaled, so a crash here leaves nothing unknown
        fault_point("worker.directory")
        channel.send(_started(os.getpid()))
        fault_point("worker.started")
        with workplace(assignment):
            ended = _attempt(assignment, channel, trainable, kept)
    except OSError as error:  # the trial's directory or its output files cannot be made
        ended = Ended(outcome=Outcome.FAILED, error=describe(error))
    fault_point("worker.ending")
    channel.send(ended)
    fault_point("worker.ended")
    return ended.outcome


def _make_directory(path: str) -> None:
    # Not by the driver, whose loop is what many small trials wait for.
    try:
        os.mkdir(path)
    except OSError:
        os.makedirs(path, exist_ok=True)


@functools.lru_cache(maxsize=1)
def _started(pid: int) -> Started:
    """Return what a process says at the start of each attempt: the same each time."""
    return Started(
        pid=pid,
        host=processes.hostname(),
        process_start=processes.process_start(pid) or 0.0,
        node_ip=processes.node_ip(),
    )


def _attempt(assignment: Assignment, channel: Channel, trainable: object, kept: KeptInstance | None) -> Ended:
    session = Session(
        assignment,
        channel,
        make_saver=lambda: _saver(assignment),
        bundles=lambda: bundles_of(trainable, config_of(assignment)).bundles,
    )
    try:
        if assignment.start is not None:
            verify_start(assignment.start, session.notice)
            fault_point("worker.verified")
        with activated(session):
            _run(trainable, config_of(assignment), session, kept)
    except DriverGone:
        raise
    except _Rejected as rejection:
        return Ended(outcome=Outcome.REJECTED, rejected=True, error=rejection.error)
    except BaseException as error:
        if not _is_good_end(error, session):
            store_exception(error, assignment.path)
            return Ended(outcome=Outcome.FAILED, error=describe(error))
    finally:
        session.close()
    return Ended(outcome=session.ended or Outcome.FINISHED)


def _run(trainable: object, config: dict[str, Any], session: Session, kept: KeptInstance | None) -> None:
    session.restart_clock()
    if isinstance(trainable, type) and issubclass(trainable, Trainable):
        run_class(trainable, config, session, kept)
    elif callable(trainable) and not isinstance(trainable, type):
        run_function(trainable, config, session)
    else:
        check_trainable(trainable)
        raise TrainableError(f"{trainable!r} cannot be run as a trial.")


def _is_good_end(error: BaseException, session: Session) -> bool:
    """Whether an exception that left the user's code is a way of ending that was asked for.

    `sys.exit()` and `sys.exit(0)` are: a script whose main function became a trainable says "done" that way.
    """
    if isinstance(error, SystemExit):
        return error.code in (None, 0)
    return isinstance(error, TrialStopped) and session.ended is not None


def config_of(assignment: Assignment) -> dict[str, Any]:
    """Return the trial's configuration as the user's code is to see it.

    Raises:
        OSError: it has leaves that are objects, and `params.pkl` cannot be read.
    """
    objects = {}
    if has_objects(assignment.config):
        objects = load_objects(os.path.join(assignment.path, PARAMS))
    return dict_from_data(assignment.config, objects)


def _saver(assignment: Assignment) -> Saver:
    start = assignment.start
    return Saver(
        assignment.path,
        trial=assignment.trial,
        attempt=assignment.attempt,
        segment=assignment.segment,
        next_number=assignment.next_checkpoint,
        durability=assignment.durability,
        boot_id=assignment.boot_id,
        parent=None if start is None else Source(trial=start.trial, number=start.number),
    )


# --- the checkpoint to start from -------------------------------------------------------------------------------------


class _Rejected(Exception):  # noqa: N818 - an outcome, not an error of the trial
    def __init__(self, error: ErrorInfo) -> None:
        super().__init__(error.message)
        self.error = error


def verify_start(
    start: RestorePoint, notice: Callable[[str], None], *, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Return if the checkpoint an attempt is to start from is whole.

    A storage that does not answer is asked again for half a minute: that says nothing about the checkpoint.

    Raises:
        _Rejected: it is damaged or gone.
        OSError: it could not be read at all.
    """
    for delay_s in (*RETRY_DELAYS_S, None):
        try:
            verify_checkpoint(start.path, trusted=start.trusted)
        except CheckpointError as error:
            raise _Rejected(ErrorInfo(kind=type(error).__name__, message=str(error))) from None
        except OSError as error:
            if delay_s is None:
                raise
            if delay_s == RETRY_DELAYS_S[0]:
                notice(f"The checkpoint {start.path} cannot be read right now; trying again. {error}")
            sleep(delay_s)
        else:
            return
