"""Where a script's own modules are found.

It is kept with the experiment, because a pickle names modules and not where they are. A function of a module beside the
script is pickled by name; the script's directory is on `sys.path` while the script runs and nowhere else, so `perdure
resume` and `Tuner.restore(path)` have to be told.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable, Sequence

_INSTALLED = {"site-packages", "dist-packages"}


def own_directories() -> tuple[str, ...]:
    """Return the directories on `sys.path` that come neither with Python nor from installed packages, absolute.

    The script's own, the working directory, those of PYTHONPATH, and those that the script has added itself.
    """
    of_python = {os.path.realpath(path) for path in sysconfig.get_paths().values()}
    found = dict.fromkeys(os.path.abspath(entry) for entry in sys.path)
    return tuple(path for path in found if os.path.isdir(path) and not _is_of(of_python, os.path.realpath(path)))


def make_importable(directories: Iterable[str]) -> None:
    """Have modules looked for there as well, after everywhere else; what does not exist here is left out."""
    known = {os.path.abspath(entry) for entry in sys.path}
    sys.path += [path for path in directories if path not in known and os.path.isdir(path)]


def looked_in(directories: Sequence[str]) -> str:
    """Return a sentence about where the modules of a pickle were looked for, and what helps."""
    where = ", ".join(f"{path}{'' if os.path.isdir(path) else ' (which is not here)'}" for path in directories)
    known = f"The experiment's script had its modules in {where}. " if where else ""
    return f"{known}Add the directory of the missing module to PYTHONPATH, or go on with the script itself."


def _is_of(of_python: set[str], path: str) -> bool:
    within = any(path == root or path.startswith(root + os.sep) for root in of_python if _is_specific(root))
    return within or not _INSTALLED.isdisjoint(path.split(os.sep))


def _is_specific(root: str) -> bool:
    """Whether nothing of a user's lies below it: `sysconfig` names Python's prefix, too, such as /usr or a home."""
    return root not in {os.path.realpath(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix)}
