"""A worker process: what it does from its first instruction until it leaves.

It may have been forked from a template that holds the trainable, or be a fresh interpreter. Either way it leads a
process group of its own, dies with its parent, and runs attempts one after another as its driver hands them to it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from perdure.core.events import Outcome
from perdure.executors.control import Settings
from perdure.executors.threads import ThreadCounts
from perdure.storage.children import INTERRUPTS, do_nothing
from perdure.storage.leftovers import ATTEMPT_VARIABLE, attempt_token
from perdure.trainable.channel import DriverGone, SocketChannel, flush_output
from perdure.trainable.failure import describe
from perdure.trainable.messages import Assignment, Ended, Exit

if TYPE_CHECKING:
    from perdure.trainable.stepping import KeptInstance

REUSABLE = frozenset({Outcome.FINISHED, Outcome.STOPPED, Outcome.PAUSED, Outcome.INTERRUPTED})
"""Outcomes after which a process is as good as new. User code that raised may have left anything behind."""


def restore_interrupts_in_children() -> None:
    """Give processes that user code forks the default signals back, so that `Process.terminate()` works on them.

    The signals are blocked while forking: one that arrives before the child has its defaults back waits for them.
    """
    masks: list[set[int]] = []

    def block() -> None:
        masks.append(set(signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)))

    def unblock() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.pop())

    def restore() -> None:
        for number in INTERRUPTS:
            if signal.getsignal(number) is do_nothing:
                signal.signal(number, signal.SIG_DFL)
        unblock()

    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=restore)


def send_output_to(fd: int | None) -> None:
    """Write stdout and stderr into a pipe, a line at a time."""
    if fd is None:
        return
    for target in (1, 2):
        os.dup2(fd, target)
    os.close(fd)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def set_environment(assignment: Assignment) -> None:
    """Mark this process, and make the attempt's devices visible, before anything looks for them."""
    token = attempt_token(assignment.experiment_path)
    os.environ[ATTEMPT_VARIABLE] = f"{token}{assignment.trial}/{assignment.attempt}"
    if assignment.devices or assignment.hide_devices:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(assignment.devices)


def work(sock: socket.socket, settings: Settings, load: Callable[[], object]) -> NoReturn:
    """Run attempts until there are no more, then leave the process without its parent's exit functions."""
    code = 1
    try:
        atexit._clear()  # noqa: SLF001 - those of the template are not ours to run, as multiprocessing does
        restore_interrupts_in_children()
        _run_attempts(SocketChannel(sock), settings, load)
        atexit._run_exitfuncs()  # noqa: SLF001 - those of user code are
        code = 0
    except DriverGone:
        pass
    except BaseException:
        traceback.print_exc()
    finally:
        flush_output()
        os._exit(code)


def _run_attempts(channel: SocketChannel, settings: Settings, load: Callable[[], object]) -> None:
    from perdure.trainable.stepping import KeptInstance

    threads = ThreadCounts()
    kept = KeptInstance() if settings.reuse else None
    said = channel.receive()
    while not isinstance(said, Exit):
        if isinstance(said, Assignment):  # anything else is late: it was meant for the attempt before
            channel.renew()
            set_environment(said)
            threads.give(said.resources)
            if _run_one(said, channel, load, kept) not in REUSABLE or not settings.reuse:
                break
        said = channel.receive()
    if kept is not None:
        kept.close()


def _run_one(
    assignment: Assignment, channel: SocketChannel, load: Callable[[], object], kept: KeptInstance | None
) -> Outcome:
    """Run one attempt; whatever goes wrong around it is told to the driver as the attempt's failure."""
    from perdure.trainable.worker import run_attempt

    try:
        trainable = load()
        _seed_numpy(assignment)
        return run_attempt(assignment, channel, trainable, kept=kept)
    except DriverGone:
        raise
    except BaseException as error:
        if not channel.ended:
            channel.send(Ended(outcome=Outcome.FAILED, error=describe(error)))
        return Outcome.FAILED


def _seed_numpy(assignment: Assignment) -> None:
    """Without a seed, draw a fresh one: forked processes would all go on from the template's state.

    `random` does this by itself after a fork.
    """
    numpy = sys.modules.get("numpy")
    if numpy is not None and assignment.seed is None:
        with contextlib.suppress(Exception):
            numpy.random.seed()


def loader(settings: Settings) -> Callable[[], object]:
    """Return a function that loads the trainable once, and raises what loading it raised each time."""
    outcome: list[object] = []

    def load() -> object:
        if not outcome:
            outcome.append(_load(settings))
        if isinstance(outcome[0], _Failure):
            raise outcome[0].error
        return outcome[0]

    return load


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def _load(settings: Settings) -> object:
    from perdure.trainable.base import load_trainable

    try:
        return load_trainable(Path(settings.trainable))
    except BaseException as error:  # also SystemExit: a module that calls sys.exit() when it is imported
        return _Failure(error)
