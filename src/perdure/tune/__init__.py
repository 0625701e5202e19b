"""Ray Tune's names: `from perdure import tune`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.callbacks import Callback as Callback
    from perdure.checkpoint import Checkpoint as Checkpoint
    from perdure.config import (
        CheckpointConfig as CheckpointConfig,
        FailureConfig as FailureConfig,
        ResumeConfig as ResumeConfig,
        RunConfig as RunConfig,
        SyncConfig as SyncConfig,
        TuneConfig as TuneConfig,
    )
    from perdure.errors import PerdureError as TuneError
    from perdure.reporting.base import ProgressReporter as ProgressReporter
    from perdure.reporting.reporters import (
        CLIReporter as CLIReporter,
        JupyterNotebookReporter as JupyterNotebookReporter,
    )
    from perdure.result import Result as Result, ResultGrid as ResultGrid
    from perdure.schedulers import create_scheduler as create_scheduler
    from perdure.search_space import (
        choice as choice,
        grid_search as grid_search,
        lograndint as lograndint,
        loguniform as loguniform,
        qlograndint as qlograndint,
        qloguniform as qloguniform,
        qrandint as qrandint,
        qrandn as qrandn,
        quniform as quniform,
        randint as randint,
        randn as randn,
        sample_from as sample_from,
        uniform as uniform,
    )
    from perdure.searchers import create_searcher as create_searcher
    from perdure.stoppers.base import Stopper as Stopper
    from perdure.trainable.base import Trainable as Trainable
    from perdure.trainable.registry import register_trainable as register_trainable
    from perdure.trainable.session import (
        TuneContext as TuneContext,
        checkpoint_dir as checkpoint_dir,
        get_checkpoint as get_checkpoint,
        get_context as get_context,
        report as report,
    )
    from perdure.trainable.wrappers import (
        PlacementGroupFactory as PlacementGroupFactory,
        with_parameters as with_parameters,
        with_resources as with_resources,
    )
    from perdure.tune import (
        analysis as analysis,
        callback as callback,
        error as error,
        experiment as experiment,
        integration as integration,
        logger as logger,
        progress_reporter as progress_reporter,
        registry as registry,
        result as result,
        result_grid as result_grid,
        schedulers as schedulers,
        search as search,
        stopper as stopper,
        syncer as syncer,
        trainable as trainable,
        tune_config as tune_config,
        tuner as tuner,
        utils as utils,
    )
    from perdure.tuner import Tuner as Tuner
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = [
    "CLIReporter",
    "Callback",
    "Checkpoint",
    "CheckpointConfig",
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
    "sample_from",
    "uniform",
    "with_parameters",
    "with_resources",
]
