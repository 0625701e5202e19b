"""How to go on with an experiment: lines of shell and Python that do it, to be copied."""

from __future__ import annotations

import keyword
import os
import shlex
from typing import NamedTuple


class HowTo(NamedTuple):
    """What to do next, as a person types it."""

    resume: str
    """To go on with what is left."""
    retry: str
    """To run what failed again."""


def by_command(path: str | os.PathLike[str]) -> HowTo:
    """Return how to do it from a shell."""
    resume = f"perdure resume {shlex.quote(os.fspath(path))}"
    return HowTo(resume, f"{resume} --resume-errored")


def by_code(path: str | os.PathLike[str], trainable: str = "trainable") -> HowTo:
    """Return how to do it in Python, where what was not stored is at hand.

    A trainable of a name that is none in Python, a lambda's for example, goes by "trainable".
    """
    name = trainable if trainable.isidentifier() and not keyword.iskeyword(trainable) else "trainable"
    given = f'"{os.fspath(path)}", {name}'
    return HowTo(f"Tuner.restore({given}).fit()", f"Tuner.restore({given}, resume_errored=True).fit()")


def of_script(path: str | os.PathLike[str], trainable: str, *, starts_or_resumes: bool, stored: bool) -> HowTo:
    """Return what to say at the end of a script's session.

    Args:
        path: The experiment's directory.
        trainable: The name of the trainable.
        starts_or_resumes: The script does, with `RunConfig(resume=...)`: run again, it goes on.
        stored: All that the script gave is stored with the experiment, so it can be done without.
    """
    code, command = by_code(path, trainable), by_command(path)
    if starts_or_resumes:
        code = HowTo("run this script again", code.retry)
    if not stored:
        return code
    return HowTo(f"{command.resume}, or {code.resume}", f"{command.retry}, or {code.retry}")
