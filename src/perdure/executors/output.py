"""What trials print, brought to the driver line by line."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Callable

_CHUNK = 1 << 16
_ROOM = 1 << 20


class OutputPipe:
    """A pipe that a worker prints into, read without ever waiting.

    It is given as much room as the system allows (1 MiB), so that a worker need not wait for a driver that is busy
    for a moment.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._rest = b""
        self.ended = False
        """Everybody who could write into it has closed it."""
        self.fd, self.far_end = os.pipe()
        os.set_blocking(self.fd, False)
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # over the user's limit: the usual 64 KiB have to do
                fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, _ROOM)

    def hand_over(self) -> None:
        """Close the worker's end here, once the worker has it."""
        if self.far_end >= 0:
            os.close(self.far_end)
            self.far_end = -1

    def read(self) -> bool:
        """Tell the lines of one chunk; False where there was none, for now (or ever)."""
        try:
            data = os.read(self.fd, _CHUNK)
        except (BlockingIOError, OSError):
            return False
        self.ended = not data
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            self._tell(line.decode(errors="replace").removesuffix("\r"))
        return bool(data)

    def drain(self) -> None:
        """Tell everything that was written so far, the last line also without its end."""
        while self.read():
            pass
        if self._rest:
            rest, self._rest = self._rest, b""
            self._tell(rest.decode(errors="replace"))

    def close(self) -> None:
        """Close both ends."""
        self.hand_over()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
