"""Which parameters go with good results, and which matter."""

from __future__ import annotations

import math
from typing import Any

from perdure.errors import ConfigurationError
from perdure.journal.values import name_in
from perdure.plot.canvas import BEST, TEXT, is_wide, new_figure, short, spread, style
from perdure.plot.source import (
    Curve,
    Results,
    curves,
    history_of,
    is_numeric,
    objective,
    parameters,
    ranked,
)

_MOST_LINES = 2000
_MOST_TICKS = 12


def parallel_coordinates(
    results: Results,
    metric: str | None = None,
    mode: str | None = None,
    *,
    params: list[str] | None = None,
    axes: Any = None,
) -> Any:
    """Plot each trial as a line through its parameters to its last value of a metric, by which it is coloured.

    Args:
        results, metric, mode, axes: See `learning_curves`.
        params: Parameters to show, nested ones with "/"; None shows the searched ones.

    Returns:
        The matplotlib figure.

    Raises:
        ConfigurationError: no trial has a parameter of that name, or there is none to show.
    """
    history = history_of(results)
    metric, mode = objective(history, metric, mode)
    found = [curve for curve in ranked(curves(history, metric), mode) if math.isfinite(curve.last)][:_MOST_LINES]
    columns = parameters(history, found, params)
    if not columns:
        raise ConfigurationError("There is nothing to plot: no parameter differs between the trials.")
    scales = [_Scale(name, values) for name, values in columns.items()]
    scales.append(_Scale(metric, [curve.last for curve in found]))
    if axes is None:
        axes = new_figure(max(6.0, 1.9 * len(scales) + 1), 4.5).add_subplot()
    _draw_lines(axes, scales, found, mode)
    _draw_axes(axes, scales)
    axes.set_title(
        f"Parameters and {metric} of {len(found)} trials", loc="left", fontsize=11, color=TEXT, fontweight="bold"
    )
    return axes.figure


class _Scale:
    """Places values of one parameter between 0 and 1."""

    def __init__(self, name: str, values: list[Any]) -> None:
        self.name = name
        self.numeric = is_numeric(values)
        if self.numeric:
            present = [float(value) for value in values if value is not None]
            self.log = is_wide(present)
            self.low, self.high = min(present), max(present)
            self.ticks = self._number_ticks()
            self.places = [self._place(value) for value in values]
        else:
            texts = ["-" if value is None else str(value) for value in values]
            kinds = sorted(set(texts))
            place = dict(zip(kinds, spread(len(kinds)), strict=True))
            self.log = False
            labels = [(place[kind], short(name_in(kind), 16)) for kind in kinds]
            self.ticks = labels[:: max(1, len(kinds) // _MOST_TICKS)]
            self.places = [place[text] for text in texts]

    def _place(self, value: Any) -> float:
        if value is None:
            return math.nan
        if self.high == self.low:
            return 0.5
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (float(value) - self.low) / (self.high - self.low)

    def _number_ticks(self) -> list[tuple[float, str]]:
        if self.log:
            powers = range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
            values = [10.0**power for power in powers]
        else:
            from matplotlib.ticker import MaxNLocator

            ticks = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(self.low, self.high)
            values = [float(tick) for tick in ticks if self.low <= tick <= self.high]
        if len(values) < 2:
            values = sorted({self.low, self.high})
        return [(self._place(value), f"{value:.4g}") for value in values]


def _draw_lines(axes: Any, scales: list[_Scale], found: list[Curve], mode: str) -> None:
    from matplotlib import colormaps
    from matplotlib.collections import LineCollection

    good = [place if mode == "max" else 1 - place for place in scales[-1].places]
    order = sorted(range(len(found)), key=lambda index: good[index])  # the best are drawn last, on top
    lines = [[(at, scale.places[index]) for at, scale in enumerate(scales)] for index in order]
    colours = colormaps["viridis_r"]([good[index] for index in order])
    colours[:, 3] = [0.25 + 0.65 * good[index] ** 2 for index in order] if len(found) > 30 else 0.85
    widths = [0.8 + 1.4 * good[index] ** 4 for index in order]
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=widths))


def _draw_axes(axes: Any, scales: list[_Scale]) -> None:
    halo = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8}
    for at, scale in enumerate(scales):
        axes.axvline(at, color=TEXT, linewidth=1, zorder=3)
        for place, text in scale.ticks:
            axes.plot([at - 0.012, at], [place, place], color=TEXT, linewidth=1, zorder=3)
            axes.text(at - 0.03, place, text, ha="right", va="center", fontsize=7, color=TEXT, bbox=halo, zorder=4)
    axes.set_xlim(-0.35, len(scales) - 0.9)
    axes.set_ylim(-0.04, 1.04)
    axes.set_xticks(range(len(scales)), [short(scale.name, 18) for scale in scales], fontsize=9, color=TEXT)
    axes.tick_params(axis="x", length=0, pad=6)
    axes.get_xticklabels()[-1].set_fontweight("bold")
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def importances(
    results: Results, metric: str | None = None, mode: str | None = None, *, params: list[str] | None = None
) -> dict[str, float]:
    """Return how much of the spread of a metric each parameter explains, the most first; they add up to 1.

    Worked out by Optuna's functional ANOVA (Hutter et al. 2014) from the last values of the trials.

    Args:
        results, metric, mode: See `learning_curves`.
        params: Parameters to look at; None looks at the searched ones.

    Raises:
        ConfigurationError: there are fewer than four trials with a value, or no parameter differs between them.
        ModuleNotFoundError: Optuna or scikit-learn is not installed.
    """
    try:
        import optuna
        import sklearn  # noqa: F401 - Optuna's evaluator needs it, and says so only when it runs
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"The importance of parameters is worked out by Optuna with scikit-learn, and {error.name} is not "
            "installed: pip install optuna scikit-learn.",
            name=error.name,
        ) from error
    history = history_of(results)
    metric, mode = objective(history, metric, mode)
    found = [curve for curve in curves(history, metric) if math.isfinite(curve.last)]
    columns = parameters(history, found, params)
    if len(found) < 4 or not columns:
        few = f"only {len(found)} trials have a value"
        what = few if len(found) < 4 else "no parameter differs between the trials"
        raise ConfigurationError(f"The importance of parameters for {metric!r} cannot be told: {what}.")
    if len(columns) == 1:
        return dict.fromkeys(columns, 1.0)
    distributions = {name: _distribution(optuna, values) for name, values in columns.items()}
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study(direction="maximize" if mode == "max" else "minimize")
        for index, curve in enumerate(found):
            values = {name: _chosen(distributions[name], column[index]) for name, column in columns.items()}
            study.add_trial(optuna.trial.create_trial(params=values, distributions=distributions, value=curve.last))
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    finally:
        optuna.logging.set_verbosity(verbosity)
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _distribution(optuna: Any, values: list[Any]) -> Any:
    if is_numeric(values) and None not in values:
        low, high = min(values), max(values)
        if all(type(value) is int for value in values):
            return optuna.distributions.IntDistribution(low, high, log=is_wide(values))
        return optuna.distributions.FloatDistribution(float(low), float(high), log=is_wide(values))
    return optuna.distributions.CategoricalDistribution(sorted({str(value) for value in values}))


def _chosen(distribution: Any, value: Any) -> Any:
    return str(value) if hasattr(distribution, "choices") else value


def parameter_importance(
    results: Results,
    metric: str | None = None,
    mode: str | None = None,
    *,
    params: list[str] | None = None,
    axes: Any = None,
) -> Any:
    """Plot how much of the spread of a metric each parameter explains; see `importances`.

    Returns:
        The matplotlib figure.
    """
    shares = importances(results, metric, mode, params=params)
    history = history_of(results)
    metric, _ = objective(history, metric, mode)
    names = list(shares)[::-1]
    if axes is None:
        axes = new_figure(7, max(2.2, 0.45 * len(names) + 1.3)).add_subplot()
    axes.barh([short(name) for name in names], [shares[name] for name in names], color=BEST, height=0.6)
    for at, name in enumerate(names):
        axes.text(shares[name] + 0.01, at, f"{shares[name]:.0%}", va="center", fontsize=8, color=TEXT)
    style(axes, title=f"What {metric} depends on", x="share of its spread explained")
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, min(1.12, max(shares.values()) * 1.15 + 0.02))
    return axes.figure
