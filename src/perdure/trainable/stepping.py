"""Runs a class trainable: steps, and saves when the frequency, the result, or the verdict says so."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any

from perdure.core.events import Outcome
from perdure.storage.base import NO_SPACE, storage_error
from perdure.storage.faults import fault_point
from perdure.trainable.base import Trainable, state_of_manifest
from perdure.trainable.failure import describe
from perdure.trainable.session import Session

SHOULD_CHECKPOINT = "should_checkpoint"
"""In a result: save a checkpoint of this iteration."""

_SAVE_TO_GO_ON = (Outcome.PAUSED, Outcome.INTERRUPTED)


def saves_checkpoints(trainable: object) -> bool:
    """Return whether `trainable` is a class that can save checkpoints when it is told to."""
    return (
        isinstance(trainable, type)
        and issubclass(trainable, Trainable)
        and trainable.save_checkpoint is not Trainable.save_checkpoint
    )


class KeptInstance:
    """The instance of a class trainable that is kept between attempts, in a process that runs one after another.

    It is reset in place for the next trial if its `reset_config` can do that, and made anew otherwise.
    """

    def __init__(self) -> None:
        self._instance: Trainable | None = None

    def take(self, class_: type[Trainable], config: dict[str, Any], tell: Callable[[str], object]) -> Trainable | None:
        """Return the kept instance, reset to `config`; None if there is none that could be.

        `tell` is told of an error in the `cleanup` of one that could not.
        """
        instance, self._instance = self._instance, None
        if instance is None:
            return None
        fits = False
        try:
            fits = type(instance) is class_ and bool(instance.reset(config))
        finally:
            if not fits:
                _clean_up(instance, tell)
        return instance if fits else None

    def keep(self, instance: Trainable) -> None:
        """Keep an instance whose attempt ended in good order."""
        self._instance = instance

    def close(self) -> None:
        """Clean the kept instance up; to be called when the process runs no more attempts.

        An error in `cleanup` is written to stderr: there is no trial left to tell it of.
        """
        instance, self._instance = self._instance, None
        if instance is not None:
            _clean_up(instance, lambda text: sys.stderr.write(f"{text}\n"))


def run_class(
    class_: type[Trainable], config: dict[str, Any], session: Session, kept: KeptInstance | None = None
) -> None:
    """Make (or reset) an instance, restore it if the session starts from a checkpoint, and step until it ends.

    `cleanup` is called, however it ends, unless the instance is kept for another attempt.

    Raises:
        BaseException: whatever the user's methods raise.
    """
    instance = (kept.take(class_, config, session.notice) if kept else None) or class_(config=config)
    try:
        _restore(instance, session)
        _train(instance, session)
    except BaseException:
        _clean_up(instance, session.notice)
        raise
    if kept:
        kept.keep(instance)
    else:
        _clean_up(instance, session.notice)


def _restore(instance: Trainable, session: Session) -> None:
    assignment = session.assignment
    state: dict[str, Any] = {}
    if assignment.start is not None:
        instance._load_from(assignment.start.path)  # noqa: SLF001 - worker and base class are one thing in two files
        state.update(state_of_manifest(assignment.start.path))
        fault_point("load.done")
    state.update(iteration=assignment.iteration, time_total=assignment.time_total_s)
    instance._continue_from(state)  # noqa: SLF001


def _train(instance: Trainable, session: Session) -> None:
    frequency = session.assignment.checkpoint_frequency
    shows_results = type(instance).log_result is not Trainable.log_result
    while session.ended is None:
        result = instance._advance()  # noqa: SLF001
        took_s = result["time_this_iter_s"]
        if shows_results:
            instance._complete(dict(result))  # noqa: SLF001
        due = frequency > 0 and (session.iteration + 1) % frequency == 0
        source = _save(instance, session) if due or result.get(SHOULD_CHECKPOINT) else None
        verdict = session.publish(result, source, took_s)
        wanted = _is_wanted(session, asked=verdict.save) and not verdict.replaced
        if wanted and session.saved_iteration != session.iteration:
            source = _save(instance, session)
            if source is not None:
                session.save(source)


def _is_wanted(session: Session, *, asked: bool) -> bool:
    """Whether the row just reported is to have a checkpoint, now that the verdict is known."""
    if asked or session.ended in _SAVE_TO_GO_ON:
        return True
    return session.ended is not None and session.assignment.checkpoint_at_end


def _save(instance: Trainable, session: Session) -> str | None:
    """Have the instance save into a directory on the storage and return it; None if it cannot save."""
    if not saves_checkpoints(type(instance)):
        return None
    directory = session.staging()
    fault_point("save.begin")
    try:
        instance._save_into(directory)  # noqa: SLF001
    except BaseException as error:
        session.unstage(directory)
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            what = f"Trial {session.assignment.trial}: its checkpoint could not be saved, and there is no trace of it"
            raise storage_error(error, what) from error
        raise
    fault_point("save.written")
    return directory


def _clean_up(instance: Trainable, tell: Callable[[str], object]) -> None:
    try:
        instance.stop()
    except Exception as error:
        told, frame = describe(error), traceback.extract_tb(error.__traceback__)[-1]
        tell(
            f"{type(instance).__name__}.cleanup() raised {told.kind}: {told.message} ({frame.filename}, line "
            f"{frame.lineno}). What the trial reported and saved is kept."
        )
