"""Plots: what a reader of them is told, taken from the figures' own objects."""

import math

import pytest

from perdure import plot
from perdure.analysis import ExperimentAnalysis
from perdure.core.events import Action, Decision, Outcome, Source, Spec, TrialActed
from perdure.errors import ConfigurationError, NoBestTrialError
from perdure.result_grid import ResultGrid
from perdure.testing.written import WrittenExperiment


@pytest.fixture
def written(tmp_path):
    experiment = WrittenExperiment(tmp_path / "exp", spec=Spec(metric="loss", mode="min"))
    yield experiment
    experiment.close()


def run(written, config, losses):
    trial = written.trial(config)
    written.attempt(trial)
    for iteration, loss in enumerate(losses, 1):
        written.report(trial, iteration, {"loss": loss})
    written.end(trial)
    return trial


@pytest.fixture
def searched(written):
    """Eight trials whose loss is all a matter of `lr`."""
    for n in range(8):
        lr = 10.0 ** (-n / 2)
        run(written, {"lr": lr, "act": "ab"[n % 2], "same": 1}, [2 + lr, 1 + lr])
    run(written, {"lr": 0.5, "act": "a", "same": 1}, [math.nan])
    return written.path


@pytest.fixture
def population(written):
    """The second of two trials went on from the first one's checkpoint, with another rate."""
    donor, clone = written.trial({"lr": 1.0}), written.trial({"lr": 0.1})
    written.attempt(donor)
    written.attempt(clone)
    written.report(donor, 1, {"loss": 2.0}, checkpoint=0)
    written.report(donor, 2, {"loss": 1.0}, checkpoint=1)
    written.report(clone, 1, {"loss": 9.0})
    written.report(clone, 2, {"loss": 8.0}, checkpoint=0, decision=Decision.PAUSE)
    written.write(
        TrialActed(
            at=9.0,
            action=Action(
                trial=clone, decision=Decision.PAUSE, config={"lr": 3.0}, donor=Source(trial=donor, number=1)
            ),
        )
    )
    written.end(clone, Outcome.PAUSED)
    written.write(TrialActed(at=9.0, action=Action(trial=clone, decision=Decision.CONTINUE, resume=True)))
    written.now += 5
    written.attempt(clone, Source(trial=donor, number=1), iteration=2, segment=1)
    written.report(clone, 3, {"loss": 0.5}, checkpoint=1)
    written.report(clone, 4, {"loss": 0.25}, checkpoint=2)
    written.end(clone)
    written.report(donor, 3, {"loss": 0.9})
    written.end(donor)
    return written.path


def lines(axes):
    return {line.get_label(): [list(map(float, line.get_xdata())), list(line.get_ydata())] for line in axes.lines}


def test_learning_curves_name_the_best(searched):
    axes = plot.learning_curves(searched, highlight=2).axes[0]
    named = lines(axes)
    assert set(named) == {"train_abcde_00007: 1", "train_abcde_00006: 1.001"}
    assert named["train_abcde_00006: 1.001"] == [[1, 2], [2.001, 1.001]]
    (rest,) = [collection for collection in axes.collections if hasattr(collection, "get_segments")]
    assert len(rest.get_segments()) == 6
    assert axes.get_title(loc="left") == "loss of 9 trials, best 2 in colour"
    assert axes.get_legend().get_texts()[0].get_text() == "train_abcde_00007: 1"


def test_learning_curves_over_another_quantity(searched):
    axes = plot.learning_curves(ResultGrid.from_path(searched), "loss", "max", x="time_total_s", highlight=1).axes[0]
    assert lines(axes)["train_abcde_00000: 2"] == [[1.0, 2.0], [3.0, 2.0]]
    assert axes.get_xlabel() == "seconds of training"


def test_the_axis_is_logarithmic_where_values_span_much(written):
    run(written, {"lr": 1}, [1000.0, 10.0, 0.1])
    assert plot.learning_curves(written.path).axes[0].get_yscale() == "log"
    assert plot.learning_curves(written.path, log=False).axes[0].get_yscale() == "linear"


def test_best_so_far_only_gets_better(searched):
    axes = plot.best_so_far(ExperimentAnalysis(searched)).axes[0]
    (line,) = axes.lines
    assert list(line.get_xdata()) == list(range(1, 10))
    values = [float(value) for value in line.get_ydata()]
    assert values[:8] == sorted(values[:8], reverse=True)
    assert values[8] == values[7] == pytest.approx(1 + 10**-3.5)


def test_parallel_coordinates_show_what_differs(searched):
    axes = plot.parallel_coordinates(searched).axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["lr", "act", "loss"]
    (drawn,) = axes.collections
    segments = drawn.get_segments()
    assert len(segments) == 8  # the trial without a number has no place on the last axis
    assert list(segments[-1][:, 1]) == pytest.approx([0.0, 1.0, 0.0])  # smallest rate, act "b", least loss: on top
    with pytest.raises(ConfigurationError, match="act, lr, same"):
        plot.parallel_coordinates(searched, params=["momentum"])


def test_categories_have_places_of_their_own_however_they_are_shortened(written):
    """Two classes of one name, and paths that end alike."""
    for n in range(4):
        net = type("Net", (), {"__module__": f"version{n % 2}"})
        run(written, {"net": net, "data": f"/data/{n}/a/long/way/down/train.csv"}, [float(n)])
    axes = plot.parallel_coordinates(written.path).axes[0]
    shown = [text.get_text() for text in axes.texts]
    assert shown.count("Net") == 2
    assert shown.count("…/down/train.csv") == 4
    (drawn,) = axes.collections
    places = [tuple(segment[:, 1]) for segment in drawn.get_segments()]
    assert len({place[:2] for place in places}) == 4


def test_importance_finds_what_the_metric_depends_on(searched):
    shares = plot.importances(searched)
    assert list(shares) == ["lr", "act"]
    assert shares["lr"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)
    axes = plot.parameter_importance(searched).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [shares["act"], shares["lr"]]


def test_importance_of_one_parameter_and_of_too_few_trials(written):
    for n in range(3):
        run(written, {"lr": float(n)}, [float(n)])
    with pytest.raises(ConfigurationError, match="only 3 trials"):
        plot.importances(written.path)
    run(written, {"lr": 3.0}, [3.0])
    assert plot.importances(written.path) == {"lr": 1.0}


def test_a_schedule_shows_each_value_a_parameter_had(population):
    panels = plot.pbt_schedule(population).axes
    assert [panel.get_ylabel() for panel in panels] == ["loss", "lr"]
    drawn = sorted(tuple(map(float, line.get_ydata())) for line in panels[1].lines)
    assert drawn == [(0.1, 0.1, 3.0, 3.0), (1.0, 1.0)]
    clone = next(line for line in panels[1].lines if len(line.get_xdata()) == 4)
    assert list(clone.get_xdata()) == [0, 2, 2, 4]
    (mark,) = panels[1].collections
    assert mark.get_offsets().tolist() == [[2.0, 3.0]]


def test_lineage_follows_the_best_trial_back_to_its_donor(population):
    axes = plot.lineage(population).axes[0]
    coloured = sorted((list(line.get_xdata()), line.get_ydata()[0]) for line in axes.lines if line.get_linewidth() == 3)
    assert coloured == [([0, 2], 0), ([2, 4], 1)]
    (arrow,) = axes.texts
    assert (arrow.xy, arrow.xyann) == ((2, 1), (2, 0))
    assert axes.get_yticklabels()[1].get_text() == "train_abcde_00001  0.25"


def test_what_cannot_be_plotted_is_said(searched):
    with pytest.raises(ConfigurationError, match="no trial of .* changed its parameters"):
        plot.pbt_schedule(searched)
    with pytest.raises(ConfigurationError, match="no trial of .* went on from"):
        plot.lineage(searched)
    with pytest.raises(NoBestTrialError, match="Reported: loss"):
        plot.learning_curves(searched, "accuracy", "max")
    with pytest.raises(ConfigurationError, match="learning_curves"):
        ResultGrid.from_path(searched).plot("pie")


def test_one_figure_says_what_an_experiment_came_to(searched, tmp_path):
    figure = ResultGrid.from_path(searched).plot()
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [
        "loss of 9 trials, best 5 in colour",
        "Best loss over 9 trials",
        "Parameters and loss of 8 trials",
        "What loss depends on",
    ]
    assert figure._repr_png_().startswith(b"\x89PNG")  # what a notebook shows
    figure.savefig(tmp_path / "overview.svg")
    assert "<svg" in (tmp_path / "overview.svg").read_text()


def test_without_matplotlib_the_error_names_the_extra(searched, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"perdure\[plots\]"):
        plot.best_so_far(searched)
