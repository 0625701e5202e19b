"""What population-based training did: which values parameters took when, and who went on from whom."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

from perdure.errors import ConfigurationError
from perdure.history import AttemptHistory, ExperimentHistory, TrialHistory
from perdure.journal.values import dict_from_data, name_in
from perdure.plot.canvas import BEST, COLOURS, QUIET, TEXT, is_wide, legend, new_figure, short, style, whole_numbers
from perdure.plot.source import Curve, Results, curves, history_of, is_numeric, objective, ranked
from perdure.rows import flatten

_MOST_TRIALS = 40


@dataclasses.dataclass(frozen=True, slots=True)
class Stretch:
    """One stretch of a trial's training: from what, until where, with which parameters."""

    trial: TrialHistory
    donor: str | None
    begin: int
    end: int
    began_at: float
    config: dict[str, Any]


def stretches(trial: TrialHistory) -> list[Stretch]:
    """Return the stretches of a trial: a new one for each checkpoint of another and each new configuration."""
    found: list[Stretch] = []
    last = trial.last_row()
    steps = trial.lineage()
    starts: dict[tuple[int, str], AttemptHistory] = {}
    for attempt in trial.attempts:
        starts.setdefault((attempt.segment, repr(attempt.config)), attempt)
    ends = _ends(trial)
    for place, step in enumerate(steps):
        attempt = starts[step.segment, repr(step.config)]
        end = ends.get(step.segment, step.iteration)
        if place + 1 < len(steps) and steps[place + 1].segment == step.segment:
            end = steps[place + 1].iteration
        elif place + 1 == len(steps) and last is not None and last.segment == step.segment:
            end = last.iteration
        config = flatten(dict_from_data(step.config))
        found.append(Stretch(trial, step.donor, step.iteration, max(end, step.iteration), attempt.planned_at, config))
    return found


def _ends(trial: TrialHistory) -> dict[int, int]:
    """Return the last iteration of each segment."""
    return {row.segment: row.iteration for row in trial.rows()}


def pbt_schedule(
    results: Results,
    metric: str | None = None,
    mode: str | None = None,
    *,
    params: list[str] | None = None,
) -> Any:
    """Plot a metric and the parameters of each trial of a population over training, clones marked.

    Args:
        results, metric, mode: See `learning_curves`.
        params: Parameters to show; None shows those that changed during training.

    Returns:
        The matplotlib figure.

    Raises:
        ConfigurationError: no trial's parameters changed: the scheduler was not population-based.
    """
    history = history_of(results)
    metric, mode = objective(history, metric, mode)
    found = ranked(curves(history, metric), mode)
    everyone = {curve.trial.id: stretches(curve.trial) for curve in found}
    names = params if params is not None else _changed(everyone)
    if not names:
        raise ConfigurationError(
            f"There is no schedule to plot: no trial of {history.path} changed its parameters while it trained."
        )
    figure = new_figure(8, 2.4 * (len(names) + 1))
    panels = figure.subplots(len(names) + 1, 1, sharex=True)
    for place, curve in reversed(list(enumerate(found))):
        look = _look(place)
        panels[0].plot(curve.x, curve.y, label=short(curve.trial.name) if place < len(COLOURS) else None, **look)
        for panel, name in zip(panels[1:], names, strict=True):
            _draw_schedule(panel, everyone[curve.trial.id], name, look)
    style(panels[0], title=f"{metric} and schedules of {len(found)} trials", y=metric)
    handles, labels = panels[0].get_legend_handles_labels()
    legend(panels[0], handles=handles[::-1], labels=labels[::-1], ncols=2)
    for panel, name in zip(panels[1:], names, strict=True):
        style(panel, y=short(name, 20))
        values = [stretch.config.get(name) for steps in everyone.values() for stretch in steps]
        if is_numeric(values) and is_wide(float(value) for value in values if value is not None):
            panel.set_yscale("log")
    panels[-1].set_xlabel("training iteration (● begins with another trial's checkpoint)", color=TEXT, fontsize=9)
    whole_numbers(panels[-1].xaxis)
    return figure


def _changed(everyone: dict[str, list[Stretch]]) -> list[str]:
    names: dict[str, None] = {}
    for steps in everyone.values():
        for before, after in itertools.pairwise(steps):
            names.update(
                (name, None) for name, value in after.config.items() if before.config.get(name, value) != value
            )
    return list(names)


def _look(place: int) -> dict[str, Any]:
    if place < len(COLOURS):
        return {"color": COLOURS[place], "linewidth": 2.0 if place == 0 else 1.3, "zorder": 4 - place * 0.1}
    return {"color": QUIET, "linewidth": 0.8, "alpha": 0.6, "zorder": 1}


def _draw_schedule(panel: Any, steps: list[Stretch], name: str, look: dict[str, Any]) -> None:
    xs: list[float] = []
    ys: list[Any] = []
    for stretch in steps:
        value = stretch.config.get(name)
        shown = value if type(value) in (int, float) else name_in(str(value))
        xs += [stretch.begin, max(stretch.end, stretch.begin)]
        ys += [shown, shown]
    panel.plot(xs, ys, **look)
    clones = [(stretch.begin, ys[2 * place]) for place, stretch in enumerate(steps) if stretch.donor is not None]
    if clones:
        panel.scatter(*zip(*clones, strict=True), s=14, color=look["color"], zorder=look["zorder"] + 0.05)


def lineage(results: Results, metric: str | None = None, mode: str | None = None, *, axes: Any = None) -> Any:
    """Plot who went on from whose checkpoint, and, in colour, how the best trial came to be what it is.

    Args:
        results, metric, mode, axes: See `learning_curves`.

    Returns:
        The matplotlib figure.

    Raises:
        ConfigurationError: no trial went on from a checkpoint of another.
    """
    history = history_of(results)
    metric, mode = objective(history, metric, mode)
    found = ranked(curves(history, metric), mode)
    shown = sorted(found[:_MOST_TRIALS], key=lambda curve: curve.trial.number)
    steps = {trial.id: stretches(trial) for trial in history.trials.values()}
    if not any(stretch.donor for own in steps.values() for stretch in own):
        raise ConfigurationError(
            f"There is no lineage to plot: no trial of {history.path} went on from a checkpoint of another."
        )
    ancestry = _ancestry(history, found[0], steps)
    rows = {curve.trial.id: row for row, curve in enumerate(shown)}
    if axes is None:
        axes = new_figure(8, max(3.0, 0.34 * len(shown) + 1.4)).add_subplot()
    for trial, row in rows.items():
        _draw_trial(axes, row, steps[trial], rows, ancestry)
    names = [f"{short(curve.trial.name, 22)}  {curve.last:.4g}" for curve in shown]
    axes.set_yticks(range(len(shown)), names)
    title = f"Lineage: how {short(found[0].trial.name)} came to {metric} {found[0].last:.4g}"
    style(axes, title=title, x="training iteration")
    axes.grid(visible=False, axis="y")
    axes.invert_yaxis()
    whole_numbers(axes.xaxis)
    axes.get_yticklabels()[rows[found[0].trial.id]].set(color=BEST, fontweight="bold")
    return axes.figure


def _ancestry(history: ExperimentHistory, best: Curve, steps: dict[str, list[Stretch]]) -> dict[tuple[str, int], int]:
    """Return, for each stretch that is part of what the best trial is now, up to which iteration it is.

    A stretch is named by its trial's id and its place in the trial's.
    """
    part: dict[tuple[str, int], int] = {}
    trial: str | None = best.trial.id
    place = len(steps[best.trial.id]) - 1
    until = steps[best.trial.id][place].end
    while trial is not None and place >= 0 and (trial, place) not in part:
        stretch = steps[trial][place]
        part[trial, place] = until
        until = stretch.begin
        if stretch.donor is None:
            place -= 1
            continue
        trial = stretch.donor if stretch.donor in history.trials else None
        before = [] if trial is None else [s for s in steps[trial] if s.began_at <= stretch.began_at]
        place = len([s for s in before if s.begin <= until]) - 1
    return part


def _draw_trial(
    axes: Any, row: int, own: list[Stretch], rows: dict[str, int], ancestry: dict[tuple[str, int], int]
) -> None:
    for place, stretch in enumerate(own):
        key = (stretch.trial.id, place)
        axes.plot([stretch.begin, stretch.end], [row, row], color=QUIET, linewidth=1.6, alpha=0.7, zorder=1)
        if key in ancestry:
            end = min(ancestry[key], stretch.end)
            axes.plot([stretch.begin, end], [row, row], color=BEST, linewidth=3, zorder=3, solid_capstyle="butt")
        if stretch.donor is not None and stretch.donor in rows:
            mine = key in ancestry
            axes.annotate(
                "",
                xy=(stretch.begin, row),
                xytext=(stretch.begin, rows[stretch.donor]),
                arrowprops={
                    "arrowstyle": "-|>",
                    "color": BEST if mine else QUIET,
                    "linewidth": 1.8 if mine else 0.8,
                    "alpha": 1.0 if mine else 0.55,
                    "shrinkA": 0,
                    "shrinkB": 0,
                },
                zorder=4 if mine else 2,
            )
