"""One figure that says what an experiment came to."""

from __future__ import annotations

from typing import Any

from perdure.errors import ConfigurationError
from perdure.plot.canvas import TEXT, new_figure, say, style
from perdure.plot.curves import best_so_far, learning_curves
from perdure.plot.parameters import importances, parallel_coordinates, parameter_importance
from perdure.plot.source import Results, history_of, objective


def overview(results: Results, metric: str | None = None, mode: str | None = None) -> Any:
    """Plot learning curves, the best so far, parameters and (with Optuna) their importance, in one figure.

    Args:
        results, metric, mode: See `learning_curves`.

    Returns:
        The matplotlib figure.
    """
    history = history_of(results)
    metric, mode = objective(history, metric, mode)
    figure = new_figure(12, 8)
    panels = figure.subplots(2, 2)
    learning_curves(history, metric, mode, axes=panels[0][0])
    best_so_far(history, metric, mode, axes=panels[0][1])
    _try(parallel_coordinates, history, metric, mode, panels[1][0], "Parameters")
    try:
        importances(history, metric, mode)
    except ModuleNotFoundError as error:
        style(panels[1][1], title="Importance of parameters")
        say(panels[1][1], str(error))
    except ConfigurationError as error:
        style(panels[1][1], title="Importance of parameters")
        say(panels[1][1], str(error))
    else:
        parameter_importance(history, metric, mode, axes=panels[1][1])
    figure.suptitle(history.name, x=0.01, ha="left", color=TEXT, fontweight="bold")
    return figure


def _try(draw: Any, history: Any, metric: str, mode: str, axes: Any, title: str) -> None:
    try:
        draw(history, metric, mode, axes=axes)
    except ConfigurationError as error:
        style(axes, title=title)
        say(axes, str(error))
