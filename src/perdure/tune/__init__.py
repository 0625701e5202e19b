"""Ray Tune's names: `from perdure import tune`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.analysis import ExperimentAnalysis
    from perdure.callbacks import Callback
    from perdure.checkpoint import Checkpoint
    from perdure.config import CheckpointConfig, FailureConfig, ResumeConfig, RunConfig, SyncConfig, TuneConfig
    from perdure.errors import PerdureError as TuneError
    from perdure.experiments import Experiment, run, run_experiments
    from perdure.reporting.base import ProgressReporter
    from perdure.reporting.reporters import CLIReporter, JupyterNotebookReporter
    from perdure.result import Result
    from perdure.result_grid import ResultGrid
    from perdure.schedulers import create_scheduler
    from perdure.search_space import (
        choice,
        grid_search,
        lograndint,
        loguniform,
        qlograndint,
        qloguniform,
        qrandint,
        qrandn,
        quniform,
        randint,
        randn,
        sample_from,
        uniform,
    )
    from perdure.searchers import create_searcher
    from perdure.stoppers.base import Stopper
    from perdure.trainable.base import Trainable
    from perdure.trainable.registry import register_trainable
    from perdure.trainable.session import TuneContext, checkpoint_dir, get_checkpoint, get_context, report, should_stop
    from perdure.trainable.wrappers import PlacementGroupFactory, with_parameters, with_resources
    from perdure.tune import (
        analysis,
        callback,
        error,
        experiment,
        integration,
        logger,
        progress_reporter,
        registry,
        result,
        result_grid,
        schedulers,
        search,
        stopper,
        syncer,
        trainable,
        tune_config,
        tuner,
        utils,
    )
    from perdure.tuner import Tuner
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = [
    "CLIReporter",
    "Callback",
    "Checkpoint",
    "CheckpointConfig",
    "Experiment",
    "ExperimentAnalysis",
    "FailureConfig",
    "JupyterNotebookReporter",
    "PlacementGroupFactory",
    "ProgressReporter",
    "Result",
    "ResultGrid",
    "ResumeConfig",
    "RunConfig",
    "Stopper",
    "SyncConfig",
    "Trainable",
    "TuneConfig",
    "TuneContext",
    "TuneError",
    "Tuner",
    "checkpoint_dir",
    "choice",
    "create_scheduler",
    "create_searcher",
    "get_checkpoint",
    "get_context",
    "grid_search",
    "lograndint",
    "loguniform",
    "qlograndint",
    "qloguniform",
    "qrandint",
    "qrandn",
    "quniform",
    "randint",
    "randn",
    "register_trainable",
    "report",
    "run",
    "run_experiments",
    "sample_from",
    "should_stop",
    "uniform",
    "with_parameters",
    "with_resources",
]
