"""Lines that a trial prints, behind its name, where several trials write to one stream that nobody sorts.

Done where they are printed and not by the driver: nothing is read and written a second time, stdout and stderr stay
apart, and of a trial that is killed no line is lost that would have been written without.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from typing import TextIO, cast


class LabelledStream(io.TextIOBase):
    """Writes to `stream` at once, with `label` at the beginning of each line; all else is the stream's own.

    What goes past it (child processes, C code, `stream.buffer`) has no label.
    """

    def __init__(self, stream: TextIO, label: str) -> None:
        self._stream = stream
        self._label = label
        self._begins = True

    def write(self, text: str) -> int:
        """Write `text`; return its length."""
        if text:
            inner = text[:-1].replace("\n", "\n" + self._label) + text[-1]
            self._stream.write(self._label + inner if self._begins else inner)
            self._begins = text.endswith("\n")
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()

    def close(self) -> None:
        """Do nothing: the stream is another's."""

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the stream's file descriptor."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """Return True."""
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has it as an attribute
        """The stream's own."""
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]  # typeshed has it as an attribute
        """The stream's own."""
        return self._stream.errors

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


@contextlib.contextmanager
def labelled(name: str) -> Iterator[None]:
    """Have `sys.stdout` and `sys.stderr` begin each line with "(name) "."""
    before = sys.stdout, sys.stderr
    mine = [cast("TextIO", LabelledStream(stream, f"({name}) ")) if stream is not None else stream for stream in before]
    sys.stdout, sys.stderr = mine
    try:
        yield
    finally:
        if sys.stdout is mine[0]:
            sys.stdout = before[0]
        if sys.stderr is mine[1]:
            sys.stderr = before[1]
