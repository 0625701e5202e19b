"""HyperBand as BOHB needs it: the brackets with many short trials come first, so that its model learns from them.

Falkner, Klein, Hutter: "BOHB: Robust and Efficient Hyperparameter Optimization at Scale" (ICML 2018,
arXiv:1807.01774).
"""

from __future__ import annotations

from typing import Any

from perdure.arguments import named_arguments
from perdure.schedulers.base import OLDER, Answer, Controller
from perdure.schedulers.hyperband import HyperBandScheduler
from perdure.trial_view import TrialView


@named_arguments(OLDER)
class HyperBandForBOHB(HyperBandScheduler):
    """HyperBand that fills the brackets with many short trials first, and tells the searcher of budgets.

    A row at a milestone has the column `hyperband_info`, with the milestone as its `budget`, for the searcher to learn
    from; in other rows it is empty. Arguments and everything else as in `HyperBandScheduler`.
    """

    @property
    def adds_to_rows(self) -> bool:
        """Whether rows have more columns afterwards: the budget."""
        return True

    def on_trial_result(self, controller: Controller, trial: TrialView, result: dict[str, Any]) -> Answer:
        """Add the budget to a row at a milestone, and judge it."""
        point = self._point(result)
        index = self._bracket_of.get(trial.trial_id)
        result["hyperband_info"] = {}
        if point is not None and index is not None and not self._brackets[index].goes_on(point[0]):
            result["hyperband_info"]["budget"] = self._brackets[index].milestone
        return super().on_trial_result(controller, trial, result)

    def _halvings_at(self, place: int) -> int:
        return self._most_halvings - place
