"""What --json says of experiments, trials, checkpoints and errors; `docs/reference/cli.md` has the shapes."""

from __future__ import annotations

import dataclasses

from perdure.cli.reading import Experiment
from perdure.core.events import CheckpointInfo, Data, ErrorInfo
from perdure.core.state import Status
from perdure.history import TrialHistory
from perdure.journal.claim import ClaimInfo
from perdure.reporting.advice import by_code


def experiment_json(experiment: Experiment) -> Data:
    """Return what --json says of an experiment."""
    history = experiment.history
    best = experiment.best()
    return {
        "name": history.name,
        "path": str(experiment.path),
        "condition": experiment.condition,
        "stop_reason": history.state.stopping,
        "driver": driver_json(experiment.claim),
        "trainable": history.state.trainable,
        "metric": history.metric,
        "mode": history.mode,
        "created_at": experiment.created_at,
        "updated_at": history.updated_at,
        "ran_s": history.state.ran_before_s + history.state.ran_s,
        "trials": len(history.trials),
        "total": experiment.total,
        "counts": experiment.counts,
        "best": None if best is None else dataclasses.asdict(best),
        "resume": by_code(experiment.path).resume if experiment.resumable else None,
    }


def driver_json(claim: ClaimInfo | None) -> Data | None:
    """Return what --json says of the driver that runs an experiment, or ran it last."""
    if claim is None:
        return None
    return {"alive": claim.alive, "host": claim.host, "pid": claim.pid, "started_at": claim.started_at}


def trial_json(experiment: Experiment, trial: TrialHistory) -> Data:
    """Return what --json says of a trial in a list."""
    line = experiment.line(trial)
    return {
        "trial": trial.id,
        "number": trial.number,
        "name": trial.name,
        "path": str(experiment.path / trial.directory),
        "status": trial.status.value,
        "interrupted": trial.status is Status.RUNNING and not experiment.alive,
        "held": trial.held,
        "iteration": line.iteration,
        "time_total_s": line.time_s,
        "metrics": line.metrics,
        "searched": trial.searched_now,
        "failures": trial.failures,
        "checkpoints": len(trial.checkpoints),
        "error": None if trial.status is not Status.ERROR else error_json(trial.error),
    }


def error_json(error: ErrorInfo | None) -> Data | None:
    """Return what --json says of an error."""
    if error is None:
        return None
    return {
        "kind": error.kind,
        "message": error.message,
        "traceback": error.traceback,
        "signal": error.signal,
        "exit_code": error.exit_code,
    }


def checkpoint_json(experiment: Experiment, trial: TrialHistory, info: CheckpointInfo) -> Data:
    """Return what --json says of a checkpoint."""
    core = experiment.history.state.trials[trial.id]
    return {
        "number": info.number,
        "path": str(experiment.path / trial.directory / info.directory),
        "iteration": info.iteration,
        "segment": info.segment,
        "attempt": info.attempt,
        "nbytes": info.nbytes,
        "score": info.score,
        "durable": info.number not in core.undurable,
        "pinned": info.number in core.pinned,
    }
