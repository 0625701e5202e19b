"""What happened in an experiment, as people read it: a fold of its events.

The core's state says what is true now; the history adds what was: every attempt, and the rows that count. A row's
key is (segment, training_iteration). An attempt that goes on from a checkpoint supersedes every row after that
checkpoint's key: such rows stay in the journal and are gone from every view (P4).
"""

from perdure.history.experiment import ExperimentHistory, read_experiment
from perdure.history.trial import AttemptHistory, LineageStep, TrialHistory, view_of

__all__ = ["AttemptHistory", "ExperimentHistory", "LineageStep", "TrialHistory", "read_experiment", "view_of"]
