"""Plots of an experiment in one call each: `perdure.plot.learning_curves(results)`.

Each takes a `ResultGrid`, an `ExperimentAnalysis` or an experiment's directory (running, finished or moved), needs none
of the code that ran it, and returns a matplotlib figure: `.savefig("curves.png")` writes it, a notebook shows it.
`ResultGrid.plot(kind)` calls them by name. matplotlib is loaded by the first of them (`pip install "perdure[plots]"`).
"""

from perdure.plot.curves import best_so_far as best_so_far
from perdure.plot.curves import learning_curves as learning_curves
from perdure.plot.overview import overview as overview
from perdure.plot.parameters import importances as importances
from perdure.plot.parameters import parallel_coordinates as parallel_coordinates
from perdure.plot.parameters import parameter_importance as parameter_importance
from perdure.plot.population import lineage as lineage
from perdure.plot.population import pbt_schedule as pbt_schedule

KINDS = {
    "overview": overview,
    "learning_curves": learning_curves,
    "best_so_far": best_so_far,
    "parallel_coordinates": parallel_coordinates,
    "parameter_importance": parameter_importance,
    "pbt_schedule": pbt_schedule,
    "lineage": lineage,
}
"""By the names that `ResultGrid.plot` takes."""
