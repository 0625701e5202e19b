"""Named points in the code at which a test can have the process killed.

`PERDURE_FAULT="name"` or `"name:nth"` in the environment arms one point: the process sends itself SIGKILL when it
passes that point for the nth time (the first unless told). With `PERDURE_FAULT_MARKER=path` it dies only if it can
create that file, so of all processes, retries included, one dies. With `PERDURE_FAULT_VICTIMS=path` the processes
whose ids stand in that file, one a line, die with it. Not armed, a point costs a call and a comparison.

The points are listed, in the order they are passed, in `perdure.testing.faults`.
"""

from __future__ import annotations

import contextlib
import os
import signal

_SIGKILL = signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM

_armed: str | None = None
_remaining = 0
_marker: str | None = None
_victims: str | None = None


def fault_point(name: str) -> None:
    """Kill this process if the point `name` is armed and its turn has come; otherwise do nothing."""
    if _armed is not None and _armed == name:
        _pass_armed_point()


def arm(spec: str | None, *, marker: str | None = None, victims: str | None = None) -> None:
    """Arm the point in `spec` ("name" or "name:nth") in this process and those it forks; None disarms."""
    global _armed, _remaining, _marker, _victims  # noqa: PLW0603 - module state is what makes a disarmed point free
    name, _, nth = (spec or "").partition(":")
    _armed = name or None
    _remaining = int(nth or 1)
    _marker = marker
    _victims = victims


def _pass_armed_point() -> None:
    global _remaining  # noqa: PLW0603 - see `arm`
    _remaining -= 1
    if _remaining != 0:
        return
    if _marker is not None:
        try:
            os.close(os.open(_marker, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return
    for pid in _others():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, _SIGKILL)
    os.kill(os.getpid(), _SIGKILL)


def _others() -> list[int]:
    if _victims is None:
        return []
    with open(_victims, encoding="ascii") as file:
        return [int(line) for line in file]


arm(
    os.environ.get("PERDURE_FAULT"),
    marker=os.environ.get("PERDURE_FAULT_MARKER"),
    victims=os.environ.get("PERDURE_FAULT_VICTIMS"),
)
