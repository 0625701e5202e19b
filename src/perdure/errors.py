"""Every error perdure raises, split by whose fault it is.

    PerdureError
    ├── UserError                          what was asked for cannot be done
    │   ├── ConfigurationError             (ValueError)         an argument is wrong
    │   ├── ArgumentError                  (TypeError)          there is no argument of that name
    │   ├── TrainableError                 (TypeError)          the trainable cannot be called or pickled
    │   ├── MetricError                    (ValueError)         a metric is missing, or is not data
    │   │   └── NoBestTrialError           (RuntimeError)       no trial has the metric that was asked for
    │   ├── ResourceError                  (ValueError)         a trial asks for more than there is
    │   ├── ExperimentExistsError          (FileExistsError)    the name is taken by another run
    │   ├── ExperimentNotFoundError        (FileNotFoundError)  nothing to restore at that path
    │   ├── RequestRefusedError            (RuntimeError)       what was asked of an experiment cannot be done now
    │   ├── OutsideTrialError              (RuntimeError)       report() and friends called outside a trial
    │   ├── PluginError                    (RuntimeError)       a searcher, scheduler, stopper or callback raised
    │   └── TrialFailedError               (RuntimeError)       user code raised; of fail_fast="raise" the cause
    ├── StorageError                       (OSError)            the disk or the bucket let us down
    │   ├── StorageFullError
    │   ├── ExperimentLockedError          another driver is running this experiment
    │   ├── ClaimLostError                 this driver is no longer the one that owns the experiment
    │   ├── JournalCorruptError            (ValueError)         names file, line and byte
    │   ├── JournalVersionError            (ValueError)         written by a newer perdure
    │   └── CheckpointError                (ValueError)
    │       ├── CheckpointCorruptError     bytes differ from what was committed
    │       └── CheckpointMissingError     (FileNotFoundError)
    ├── DriverSilentError                  (TimeoutError)       a driver did not answer a request in time
    ├── ExecutorError                      (RuntimeError)       a worker process let us down
    │   ├── WorkerDiedError                names the signal or exit code
    │   └── WorkerTimeoutError
    └── InternalError                      (AssertionError)     a bug in perdure; carries the story of the trial

Each also derives from the builtin a caller would expect, and its message says what happened, to which trial or
file, what perdure did about it and what to do next.
"""

from __future__ import annotations


class PerdureError(Exception):
    """Base of every error that perdure raises on purpose."""


class UserError(PerdureError):
    """What was asked for cannot be done as asked."""


class ConfigurationError(UserError, ValueError):
    """An argument of a public class or function is wrong."""


class ArgumentError(UserError, TypeError):
    """A public class or function has no argument of that name; the message says what to write."""


class TrainableError(UserError, TypeError):
    """The trainable is not callable, has the wrong shape, or cannot be pickled."""


class MetricError(UserError, ValueError):
    """A metric that was promised was not reported, or not as a number, or a reported value is not data."""


class NoBestTrialError(MetricError, RuntimeError):
    """No trial, or no checkpoint, has a value of the metric it was to be chosen by."""


class ResourceError(UserError, ValueError):
    """A trial asks for a resource that is unknown, or for more than this machine has."""


class ExperimentExistsError(UserError, FileExistsError):
    """The directory of a new experiment already holds another one."""


class ExperimentNotFoundError(UserError, FileNotFoundError):
    """There is no experiment at the path that was to be restored or read."""


class RequestRefusedError(UserError, RuntimeError):
    """What was asked of an experiment (to stop, pause, resume, pin, collect) cannot be done as it is now."""


class OutsideTrialError(UserError, RuntimeError):
    """A function that only works inside a running trial was called elsewhere."""


class PluginError(UserError, RuntimeError):
    """A searcher, scheduler, stopper or callback raised (see `__cause__`), or answered what it must not."""


class TrialFailedError(UserError, RuntimeError):
    """User code raised in a trial; `__cause__` is the user's own exception where it could be carried over."""


class StorageError(PerdureError, OSError):
    """The storage did not do what was asked of it."""


class StorageFullError(StorageError):
    """There is no space left where the experiment lives."""


class ExperimentLockedError(StorageError):
    """Another driver is alive on this experiment; the message names its host, pid and start time."""


class ClaimLostError(StorageError):
    """Another driver has taken this experiment over; nothing written after that counts."""


class JournalCorruptError(StorageError, ValueError):
    """Acknowledged journal bytes are damaged; the message names file, line and byte."""


class JournalVersionError(StorageError, ValueError):
    """The journal was written by a newer version of perdure."""


class CheckpointError(StorageError, ValueError):
    """A checkpoint cannot be used."""


class CheckpointCorruptError(CheckpointError):
    """The bytes of a checkpoint differ from the ones that were committed; the message names the file."""


class CheckpointMissingError(CheckpointError, FileNotFoundError):
    """A checkpoint, or a file of it, is not there."""


class DriverSilentError(PerdureError, TimeoutError):
    """The driver is alive and has not taken a request up in time; the request stays and is taken up later."""


class ExecutorError(PerdureError, RuntimeError):
    """A worker process, or the machinery that starts them, failed."""


class WorkerDiedError(ExecutorError):
    """A worker process ended without saying why; the message names its signal or exit code."""


class WorkerTimeoutError(ExecutorError):
    """A worker did not answer within the time it was given."""


class InternalError(PerdureError, AssertionError):
    """perdure broke one of its own rules. The message carries the whole story of the trial; please report it."""
