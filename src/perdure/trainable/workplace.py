"""The surroundings of a trial's code: working directory, environment, output files, seeds. All are put back after."""

from __future__ import annotations

import contextlib
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TextIO

from perdure.trainable.labels import labelled
from perdure.trainable.messages import Assignment
from perdure.trainable.session import TrialStopped


@contextlib.contextmanager
def workplace(assignment: Assignment) -> Iterator[None]:
    """Be in the surroundings that the attempt is to run in, for as long as the context lasts."""
    # One function, not a context each: a trial that takes no time at all spends a tenth of what it costs in here.
    directory, show = _working_directory(), threading.excepthook
    before = _set_environment(_variables(assignment, directory))
    try:
        if assignment.chdir:
            os.chdir(assignment.path)
        threading.excepthook = _without_stops(show)
        with _output(assignment):
            seed_libraries(assignment.seed)
            yield
    finally:
        threading.excepthook = show
        if assignment.chdir:
            with contextlib.suppress(OSError):  # deleted meanwhile: then there is nowhere to go back to
                os.chdir(directory)
        _set_environment(before)


def seed_libraries(seed: int | None) -> None:
    """Seed `random`, and NumPy and torch where they are loaded; None leaves them alone."""
    if seed is None:
        return
    random.seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed % 2**32)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


def _variables(assignment: Assignment, directory: str) -> dict[str, str | None]:
    variables: dict[str, str | None] = {"TUNE_ORIG_WORKING_DIR": directory}
    if assignment.devices or assignment.hide_devices:
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(assignment.devices)
    return variables


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was deleted under us
        return os.sep


def _set_environment(variables: dict[str, str | None]) -> dict[str, str | None]:
    """Set these variables, where None is none, and return what they were before."""
    before = {name: os.environ.get(name) for name in variables}
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        elif value != before[name]:
            os.environ[name] = value
    return before


def _without_stops(show: Callable[[threading.ExceptHookArgs], object]) -> Callable[[threading.ExceptHookArgs], None]:
    """Keep a thread that `report` unwound from printing a traceback: it did as it was told."""

    def filtered(told: threading.ExceptHookArgs) -> None:
        if not issubclass(told.exc_type, TrialStopped):
            show(told)

    return filtered


# --- output -----------------------------------------------------------------------------------------------------------


def _output(assignment: Assignment) -> contextlib.AbstractContextManager[None]:
    if assignment.log_to_file is not None:
        return _output_files(assignment.path, assignment.log_to_file)
    return labelled(assignment.name) if assignment.label_output else _AS_IT_IS


_AS_IT_IS = contextlib.nullcontext()


@contextlib.contextmanager
def _output_files(directory: str, names: tuple[str, str]) -> Iterator[None]:
    """Write file descriptors 1 and 2, and so what libraries and child processes print too, to files, line by line."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_descriptor_to(1, os.path.join(directory, names[0])))
        stack.enter_context(_descriptor_to(2, os.path.join(directory, names[1])))
        before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = _line_writer(1), _line_writer(2)
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(Exception):  # closed, or replaced, by user code
                    stream.flush()
            sys.stdout, sys.stderr = before


@contextlib.contextmanager
def _descriptor_to(number: int, path: str) -> Iterator[None]:
    stream = sys.stdout if number == 1 else sys.stderr
    with contextlib.suppress(Exception):
        stream.flush()
    kept = _duplicate(number)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(file, number)
    if file != number:
        os.close(file)
    try:
        yield
    finally:
        if kept is None:
            os.close(number)
        else:
            os.dup2(kept, number)
            os.close(kept)


def _duplicate(number: int) -> int | None:
    try:
        return os.dup(number)
    except OSError:  # a daemon may have closed it
        return None


def _line_writer(number: int) -> TextIO:
    return open(number, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
