"""Numbers, durations and values as short text, one line each, plain ASCII where perdure chooses the characters."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from perdure.journal.values import name_in

_GIB = 1024**3
_BYTE_UNITS = ("B", "KB", "MB", "GB", "TB")


def duration(seconds: float) -> str:
    """Return `seconds` as text of two units at most: "4.1 s", "1 m 12 s", "2 h 05 m", "3 d 04 h"."""
    if not math.isfinite(seconds) or seconds < 0:
        return "?"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} m"
    return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"


def clock(seconds: float) -> str:
    """Return `seconds` as a reading of a clock: "01:12", "2:05:09"."""
    whole = int(max(seconds, 0))
    if whole < 3600:
        return f"{whole // 60:02d}:{whole % 60:02d}"
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"


def number(value: float) -> str:
    """Return a number with five significant digits, without an exponent where it stays readable."""
    if isinstance(value, (bool, int)):
        return str(value)
    if not math.isfinite(value):
        return str(value)
    if 1e5 <= abs(value) < 1e12:
        return f"{value:.0f}"
    return f"{value:.5g}"


def value_text(value: object) -> str:
    """Return any journaled value as one line: numbers short, tagged values as what they stand for.

    A class or function, as in `choice([SGD, Adam])`, is its name alone.
    """
    if isinstance(value, (bool, int, float)):
        return number(value)
    if isinstance(value, str):
        return one_line(value)
    if value is None:
        return "None"
    if isinstance(value, Mapping) and len(value) == 1:
        ((tag, inner),) = value.items()
        if tag == "$py":
            return one_line(name_in(str(inner)))
        if tag == "$float":
            return one_line(str(inner))
        if tag == "$tuple" and isinstance(inner, (list, tuple)):
            return "(" + ", ".join(value_text(item) for item in inner) + ")"
    try:
        return one_line(json.dumps(value, default=str))
    except (TypeError, ValueError):
        return one_line(repr(value))


def one_line(text: str) -> str:
    """Return `text` without line breaks and control characters, so that it cannot disturb a terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " for char in text)


def shorten(text: str, limit: int) -> str:
    """Return `text` in at most `limit` characters, its end replaced by dots where it is longer."""
    if len(text) <= limit:
        return text
    return text[: max(limit - 2, 0)] + ".." if limit > 2 else text[:limit]


def shorten_middle(text: str, limit: int) -> str:
    """Return `text` in at most `limit` characters, keeping both ends: names differ in their last ones."""
    if len(text) <= limit:
        return text
    if limit < 8:
        return text[-limit:]
    tail = (limit - 2) * 2 // 3
    return text[: limit - 2 - tail] + ".." + text[-tail:]


def nbytes_text(nbytes: float) -> str:
    """Return a number of bytes with its unit: "17 B", "3.2 MB"."""
    size = float(nbytes)
    for unit in _BYTE_UNITS:
        if size < 1000 or unit == _BYTE_UNITS[-1]:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def resources_text(used: Mapping[str, float], capacity: Mapping[str, float]) -> str:
    """Return what is in use of what there is: "CPU 4/8, GPU 1/1". Resources there are none of are left out."""
    parts = []
    for name in sorted(capacity, key=_resource_order):
        total = capacity[name]
        taken = used.get(name, 0.0)
        if total <= 0 or (taken <= 0 and name not in ("CPU", "GPU")):
            continue
        if "memory" in name:
            parts.append(f"{name} {taken / _GIB:.1f}/{total / _GIB:.1f} GiB")
        else:
            parts.append(f"{name} {taken:.4g}/{total:.4g}")
    return ", ".join(parts)


def _resource_order(name: str) -> tuple[int, str]:
    return ({"CPU": 0, "GPU": 1, "memory": 2}.get(name, 3), name)


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: "1 trial", "3 trials"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
