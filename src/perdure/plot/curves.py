"""A metric over the time a trial trained, and over the trials."""

from __future__ import annotations

import math
from typing import Any

from perdure.plot.canvas import BEST, COLOURS, QUIET, is_wide, legend, new_figure, short, style, whole_numbers
from perdure.plot.source import Results, best_of, curves, history_of, label_of, objective, ranked


def learning_curves(
    results: Results,
    metric: str | None = None,
    mode: str | None = None,
    *,
    x: str = "training_iteration",
    highlight: int = 5,
    log: bool | None = None,
    axes: Any = None,
) -> Any:
    """Plot a metric of every trial as it trained, the best ones in colour.

    Args:
        results: A `ResultGrid`, an `ExperimentAnalysis` or an experiment's directory.
        metric, mode: What to plot and which is best; None takes TuneConfig's.
        x: "training_iteration", "time_total_s", or another metric.
        highlight: How many of the best trials are named, each in a colour of its own.
        log: Whether the axis is logarithmic; None decides by the values.
        axes: Matplotlib axes to draw into; None makes a figure.

    Returns:
        The matplotlib figure.

    Raises:
        NoBestTrialError: no trial reported the metric.
        ModuleNotFoundError: matplotlib is not installed.
    """
    history = history_of(results)
    metric, mode = objective(history, metric, mode)
    found = ranked(curves(history, metric, x), mode)
    axes = new_figure(8, 4.5).add_subplot() if axes is None else axes
    rest = found[highlight:]
    if rest:
        from matplotlib.collections import LineCollection

        # A line of one point is not seen: it is drawn as a dot.
        lines = [list(zip(curve.x, curve.y, strict=True)) for curve in rest if len(curve.x) > 1]
        fade = max(0.12, min(0.6, 30 / len(rest)))
        axes.add_collection(LineCollection(lines, colors=QUIET, linewidths=0.9, alpha=fade))
        dots = [curve for curve in rest if len(curve.x) == 1]
        axes.scatter([c.x[0] for c in dots], [c.y[0] for c in dots], s=8, color=QUIET, alpha=fade, linewidths=0)
        axes.autoscale_view()
    for place, curve in reversed(list(enumerate(found[:highlight]))):
        axes.plot(
            curve.x,
            curve.y,
            color=COLOURS[place % len(COLOURS)],
            linewidth=2.2 if place == 0 else 1.4,
            marker="o" if len(curve.x) == 1 else None,
            markersize=4,
            label=f"{short(curve.trial.name)}: {curve.last:.4g}",
            zorder=4 - place * 0.1,
        )
    wide = is_wide(value for curve in found for value in curve.y)
    if log or (log is None and wide):
        axes.set_yscale("log")
    named = f", best {min(highlight, len(found))} in colour" if rest else ""
    style(axes, title=f"{metric} of {len(found)} trials{named}", x=label_of(x), y=metric)
    if x == "training_iteration":
        whole_numbers(axes.xaxis)
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        legend(axes, handles=handles[::-1], labels=labels[::-1])
    return axes.figure


def best_so_far(
    results: Results,
    metric: str | None = None,
    mode: str | None = None,
    *,
    log: bool | None = None,
    axes: Any = None,
) -> Any:
    """Plot each trial's last value in the order the trials were created, and the best one up to there.

    Args:
        results, metric, mode, log, axes: See `learning_curves`.

    Returns:
        The matplotlib figure.
    """
    history = history_of(results)
    metric, mode = objective(history, metric, mode)
    found = curves(history, metric)
    numbers = [curve.trial.number + 1 for curve in found]
    values = [curve.last for curve in found]
    best = best_of(values, mode)
    axes = new_figure(8, 4.5).add_subplot() if axes is None else axes
    finite = [(n, value) for n, value in zip(numbers, values, strict=True) if math.isfinite(value)]
    size = 18 if len(finite) < 300 else 6
    axes.scatter(*zip(*finite, strict=True) if finite else ([], []), s=size, color=QUIET, alpha=0.7, linewidths=0)
    axes.plot(numbers, best, drawstyle="steps-post", color=BEST, linewidth=2, label=f"best {metric} so far")
    improved = [(n, now) for n, before, now in zip(numbers, [math.nan, *best], best, strict=False) if now != before]
    improved = [(n, value) for n, value in improved if math.isfinite(value)]
    if improved:
        axes.scatter(*zip(*improved, strict=True), s=26, color=BEST, zorder=3, linewidths=0)
        place, value = improved[-1]
        trial = found[numbers.index(place)].trial
        axes.annotate(
            f"{value:.4g}\n{short(trial.name)}",
            (place, value),
            xytext=(6, -14 if mode == "max" else 10),
            textcoords="offset points",
            fontsize=8,
            color=BEST,
            ha="left" if place < 0.7 * max(numbers) else "right",
            va="top" if mode == "max" else "bottom",
        )
    if log or (log is None and is_wide(values)):
        axes.set_yscale("log")
    style(axes, title=f"Best {metric} over {len(found)} trials", x="trials", y=metric)
    whole_numbers(axes.xaxis)
    return axes.figure
