"""What all plots have in common: matplotlib, loaded with the first of them, and how it is made to look."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

COLOURS = ("#2563eb", "#ea580c", "#059669", "#9333ea", "#dc2626", "#0891b2", "#ca8a04", "#db2777")
BEST = "#2563eb"
QUIET = "#94a3b8"
TEXT = "#334155"
_GRID = "#e2e8f0"
_MANY = 100.0
"""How many times the smallest value the largest is, where an axis becomes logarithmic by itself."""


def new_figure(width: float, height: float) -> Any:
    """Return a figure of so many inches that needs no window, and that a notebook shows.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; the message says how to get it.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'Plots need matplotlib, which is not installed: pip install "perdure[plots]".', name="matplotlib"
        ) from error

    class PlotFigure(Figure):
        """A figure that shows itself at the end of a notebook's cell, without pyplot."""

        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png")
            return buffer.getvalue()

    return PlotFigure(figsize=(width, height), dpi=120, layout="constrained")


def style(axes: Any, *, title: str = "", x: str = "", y: str = "") -> None:
    """Give axes their title, labels and look."""
    if title:
        axes.set_title(title, loc="left", fontsize=11, color=TEXT, fontweight="bold")
    axes.set_xlabel(x, color=TEXT, fontsize=9)
    axes.set_ylabel(y, color=TEXT, fontsize=9)
    axes.tick_params(colors=TEXT, labelsize=8)
    axes.grid(visible=True, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(QUIET)


def whole_numbers(axis: Any) -> None:
    """Put ticks of an axis on integers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def say(axes: Any, text: str) -> None:
    """Say in an empty plot why it is empty."""
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color=TEXT, fontsize=9, wrap=True)
    axes.set_xticks([])
    axes.set_yticks([])


def is_wide(values: Iterable[float]) -> bool:
    """Whether values span so much that they are read better on a logarithmic axis."""
    finite = [value for value in values if math.isfinite(value)]
    return bool(finite) and min(finite) > 0 and max(finite) > _MANY * min(finite)


def short(text: str, limit: int = 28) -> str:
    """Return a text in at most `limit` characters, its beginning left out where it is longer."""
    return text if len(text) <= limit else "…" + text[-(limit - 1) :]


def legend(axes: Any, **where: Any) -> None:
    """Draw a legend without a frame."""
    axes.legend(frameon=False, fontsize=8, labelcolor=TEXT, **where)


def spread(count: int) -> Sequence[float]:
    """Return `count` places between 0 and 1, evenly."""
    return [0.5] if count == 1 else [index / (count - 1) for index in range(count)]
