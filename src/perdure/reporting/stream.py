"""A text stream that cannot hurt the run: a closed pipe ends the output, a missing character is replaced."""

from __future__ import annotations

from typing import TextIO, cast

_ASCII = str.maketrans({"\u2026": "~", "\u2500": "-", "\u2013": "-", "\u2014": "-"})


class SafeStream:
    """Wraps a text stream. Writing never raises; after a write that failed for good, nothing is written any more."""

    def __init__(self, stream: TextIO | None) -> None:
        """Wrap `stream`; None is what `sys.stdout` is where there is nobody to read."""
        self._stream = cast("TextIO", stream)
        self.broken = stream is None

    @property
    def encoding(self) -> str:
        """The stream's own, or ASCII where it has none."""
        return getattr(self._stream, "encoding", None) or "ascii"

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        try:
            return bool(self._stream.isatty())
        except (AttributeError, OSError, ValueError):
            return False

    def fileno(self) -> int:
        """Return the stream's file descriptor."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write `text`, as far as that is possible."""
        if not self.broken:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                self._write_replaced(text)
            except (OSError, ValueError):
                self.broken = True
        return len(text)

    def _write_replaced(self, text: str) -> None:
        encoded = text.translate(_ASCII).encode(self.encoding, errors="replace")
        try:
            self._stream.write(encoded.decode(self.encoding))
        except (OSError, ValueError):
            self.broken = True

    def flush(self) -> None:
        """Flush, as far as that is possible."""
        if not self.broken:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self.broken = True
