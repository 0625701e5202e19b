"""What can be tuned: the `Trainable` class of the Class API, and what is asked of any trainable.

`Trainable` also works by itself, without a tuner: construct it, `train()`, `save(directory)`, `restore(directory)`.
"""

from __future__ import annotations

import datetime as dt
import inspect
import json
import os
import pickle
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from perdure.arguments import a_kind
from perdure.checkpoint import Checkpoint
from perdure.errors import CheckpointError, CheckpointMissingError, TrainableError
from perdure.storage import processes
from perdure.trainable.pickling import dump_trainable, load_trainable
from perdure.trainable.registry import register_trainable, resolve_trainable
from perdure.trainable.resources import TrialResources
from perdure.trainable.session import current_session

__all__ = [
    "Trainable",
    "TrainingResult",
    "check_trainable",
    "dump_trainable",
    "kind",
    "load_trainable",
    "register_trainable",
    "resolve_trainable",
    "trainable_name",
]

DICT_CHECKPOINT = "_dict_checkpoint.pkl"
"""Where a dict returned by `save_checkpoint` is kept in the checkpoint's directory."""
STATE_FILE = ".perdure-trainable.json"
"""Where `save` keeps the counters of a Trainable that is used without a tuner."""


class TrainingResult(NamedTuple):
    """What `Trainable.save` returns: where the checkpoint is, and the last result."""

    checkpoint: Checkpoint
    metrics: dict[str, Any]


class Trainable:
    """Base class of trainables that train in steps.

    Override `setup` and `step`, and to be able to go on after an interruption `save_checkpoint` and
    `load_checkpoint`. Each call of `step` is one training iteration and returns a dict of metrics.

    Args:
        config: The hyperparameters; `self.config` afterwards.
        logger_creator: Accepted for code that comes from Ray Tune, and ignored.
        storage: Accepted for code that comes from Ray Tune, and ignored.
    """

    def __init__(
        self, config: dict[str, Any] | None = None, logger_creator: object = None, storage: object = None
    ) -> None:
        del logger_creator, storage
        self.config: dict[str, Any] = {} if config is None else config
        self._iteration = 0
        self._iterations_since_restore = 0
        self._time_total = 0.0
        self._time_since_restore = 0.0
        self._timesteps_total: float | None = None
        self._timesteps_since_restore: float | None = None
        self._episodes_total: float | None = None
        self._last_result: dict[str, Any] = {}
        self._logdir: str | None = None
        self.setup(self.config)

    # --- to be overridden -------------------------------------------------------------------------------------------

    def setup(self, config: dict[str, Any]) -> None:
        """Prepare for training with `config`. Called once, by the constructor."""

    def step(self) -> dict[str, Any]:
        """Train for one iteration and return its metrics.

        `done: True` among them makes it the trial's last iteration; `should_checkpoint: True` saves a checkpoint.
        """
        raise NotImplementedError(f"{type(self).__name__} has no step().")

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any] | str | None:
        """Save what is needed to go on, and return None or `checkpoint_dir`; or return it as a dict instead."""
        raise NotImplementedError(f"{type(self).__name__} has no save_checkpoint().")

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Go on from a checkpoint: the dict that `save_checkpoint` returned, or else the directory it filled."""
        raise NotImplementedError(f"{type(self).__name__} has no load_checkpoint().")

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Get ready for another trial with `new_config` (`self.config` by then); return whether that was possible."""
        del new_config
        return False

    def cleanup(self) -> None:
        """Give up what `setup` took. Called once, when the trainable is no longer needed."""

    def log_result(self, result: dict[str, Any]) -> None:
        """Do something with each complete result, in the process that trains."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> Any:
        """Return what a trial with `config` needs: None for one CPU, a dict, or a PlacementGroupFactory."""
        del config

    @classmethod
    def resource_help(cls, config: dict[str, Any]) -> str:
        """Return help for a user whose trial needs more than there is."""
        del config
        return ""

    def _export_model(self, export_formats: list[str], export_dir: str) -> dict[str, str]:
        """Export the model in each format; return format to path. Override it to make `export_model` work."""
        del export_formats, export_dir
        return {}

    # --- to be called -----------------------------------------------------------------------------------------------

    def train(self) -> dict[str, Any]:
        """Run one iteration and return its metrics with the columns that are filled in: times, iteration, host.

        Raises:
            TrainableError: `step` returned no dict.
        """
        result = self._advance()
        self._complete(result)
        return result

    def save(self, checkpoint_dir: str | os.PathLike[str] | None = None) -> TrainingResult:
        """Save a checkpoint into `checkpoint_dir`, or into a new temporary directory.

        Raises:
            TrainableError: `save_checkpoint` returned something it may not.
        """
        directory = tempfile.mkdtemp(prefix="perdure-") if checkpoint_dir is None else os.fspath(checkpoint_dir)
        os.makedirs(directory, exist_ok=True)
        self._save_into(directory)
        state = {key: value for key, value in self.get_state().items() if key != "last_result"}
        Path(directory, STATE_FILE).write_text(json.dumps(state), encoding="utf-8")
        return TrainingResult(Checkpoint(directory), self._last_result)

    def restore(self, checkpoint_path: str | os.PathLike[str] | Checkpoint | TrainingResult) -> None:
        """Go on from a checkpoint that `save` made, or that a trial made.

        Raises:
            CheckpointMissingError: there is no such directory.
        """
        if isinstance(checkpoint_path, TrainingResult):
            checkpoint_path = checkpoint_path.checkpoint
        path = checkpoint_path.path if isinstance(checkpoint_path, Checkpoint) else os.fspath(checkpoint_path)
        if not os.path.isdir(path):
            raise CheckpointMissingError(f"There is no checkpoint directory {path!r}, so nothing was restored.")
        self._load_from(path)
        self._continue_from(_saved_state(path))

    def stop(self) -> None:
        """Give everything up; calls `cleanup`."""
        self.cleanup()

    def reset(self, new_config: dict[str, Any], storage: object = None) -> bool:
        """Become the trainable of another trial, by `reset_config`; return whether that was possible."""
        del storage
        self.config = new_config
        self._logdir = None
        if not self.reset_config(new_config):
            return False
        self._continue_from({})
        self._last_result = {}
        return True

    def export_model(self, export_formats: str | list[str], export_dir: str | None = None) -> dict[str, str]:
        """Export the model in the given formats, into `export_dir` or else `logdir`; return format to path."""
        formats = [export_formats] if isinstance(export_formats, str) else export_formats
        return self._export_model(formats, export_dir or self.logdir)

    @property
    def iteration(self) -> int:
        """Iterations that are done, over all restores. During `step` the one that runs is not counted yet."""
        return self._iteration

    @property
    def training_iteration(self) -> int:
        """The same as `iteration`."""
        return self._iteration

    @property
    def trial_id(self) -> str:
        """The trial's id, "default" without a tuner."""
        session = current_session()
        return session.assignment.trial if session else "default"

    @property
    def trial_name(self) -> str:
        """The trial's name, "default" without a tuner."""
        session = current_session()
        return session.assignment.name if session else "default"

    @property
    def trial_resources(self) -> TrialResources | None:
        """What the trial was given, None without a tuner."""
        session = current_session()
        return session.resources if session else None

    @property
    def logdir(self) -> str:
        """The trial's directory; without a tuner a temporary one, made when first asked for."""
        session = current_session()
        if session:
            return session.assignment.path
        if self._logdir is None:
            self._logdir = tempfile.mkdtemp(prefix=f"{type(self).__name__}-")
        return self._logdir

    def get_config(self) -> dict[str, Any]:
        """Return the configuration."""
        return self.config

    def get_state(self) -> dict[str, Any]:
        """Return the counters that a checkpoint carries."""
        return {
            "iteration": self._iteration,
            "timesteps_total": self._timesteps_total,
            "time_total": self._time_total,
            "episodes_total": self._episodes_total,
            "last_result": self._last_result,
        }

    def get_auto_filled_metrics(
        self,
        now: dt.datetime | None = None,
        time_this_iter: float | None = None,
        timestamp: int | None = None,
        debug_metrics_only: bool = False,
    ) -> dict[str, Any]:
        """Return the columns that are added to each result."""
        now = now or dt.datetime.now()  # noqa: DTZ005 - shown to people, in their own time
        filled = {
            "trial_id": self.trial_id,
            "date": now.strftime("%Y-%m-%d_%H-%M-%S"),
            "timestamp": int(time.mktime(now.timetuple())) if timestamp is None else timestamp,
            "time_this_iter_s": time_this_iter,
            "time_total_s": self._time_total,
            "pid": os.getpid(),
            "hostname": processes.hostname(),
            "node_ip": processes.node_ip(),
            "config": self.config,
            "time_since_restore": self._time_since_restore,
            "iterations_since_restore": self._iterations_since_restore,
        }
        if debug_metrics_only:
            filled = {name: filled[name] for name in ("trial_id",)}
        return filled

    # --- for perdure's own worker -----------------------------------------------------------------------------------

    def _advance(self) -> dict[str, Any]:
        """Run one step, count it, and return what it returned (with sums of timesteps and episodes, if it has)."""
        began = time.monotonic()
        result = self.step()
        if not isinstance(cast("object", result), dict):
            raise TrainableError(
                f"{type(self).__name__}.step() must return a dict of metrics; it returned {result!r} "
                f"({a_kind(result)})."
            )
        took = result.get("time_this_iter_s")
        if not isinstance(took, (int, float)):
            took = time.monotonic() - began
        result = dict(result)
        result["time_this_iter_s"] = took
        self._iteration += 1
        self._iterations_since_restore += 1
        self._time_total += took
        self._time_since_restore += took
        self._timesteps_total = _add(result, "timesteps", self._timesteps_total)
        self._timesteps_since_restore = _add(result, "timesteps", self._timesteps_since_restore, "since_restore")
        self._episodes_total = _add(result, "episodes", self._episodes_total)
        return result

    def _complete(self, result: dict[str, Any]) -> None:
        """Fill the missing columns of `result` in and show it to `log_result`."""
        result.setdefault("done", False)
        result.setdefault("training_iteration", self._iteration)
        filled = self.get_auto_filled_metrics(time_this_iter=result["time_this_iter_s"])
        for name, value in filled.items():
            result.setdefault(name, value)
        self._last_result = result
        self.log_result(result)

    def _save_into(self, directory: str) -> None:
        """Have the user's code fill `directory`; a dict it returns goes into a file there."""
        returned: object = self.save_checkpoint(directory)
        if returned is None:
            return
        if isinstance(returned, Mapping):
            self._write_dict(dict(returned), directory)
        elif not isinstance(returned, (str, os.PathLike)) or not _same_path(os.fspath(returned), directory):
            raise TrainableError(
                f"{type(self).__name__}.save_checkpoint() may return None, the directory it was given or a dict; it "
                f"returned {returned!r}. Files belong into the given directory, {directory!r}."
            )

    def _write_dict(self, value: dict[str, Any], directory: str) -> None:
        import cloudpickle

        from perdure.trainable.pickling import PROTOCOL, explain_unpicklable

        with open(os.path.join(directory, DICT_CHECKPOINT), "wb") as file:
            try:
                cloudpickle.dump(value, file, protocol=PROTOCOL)
            except OSError:
                raise
            except Exception as error:
                what = f"what {type(self).__name__}.save_checkpoint() returned"
                named = (explain_unpicklable(part, f"{what}, at {key!r}") for key, part in value.items())
                reason = next(filter(None, named), f"{what}: {error}")
                raise TrainableError(
                    f"The checkpoint cannot be pickled: {reason}. Nothing was saved. Leave that part out of the "
                    "dict, or write files into the directory that save_checkpoint() is given."
                ) from error

    def _load_from(self, directory: str) -> None:
        """Give a checkpoint to the user's code, in the form it was saved in."""
        path = os.path.join(directory, DICT_CHECKPOINT)
        if os.path.exists(path):
            with open(path, "rb") as file:
                self.load_checkpoint(pickle.load(file))
        else:
            self.load_checkpoint(directory)

    def _continue_from(self, state: Mapping[str, Any]) -> None:
        """Take counters over, as `get_state` gives them; what is missing begins at nothing."""
        self._iteration = int(state.get("iteration") or 0)
        self._time_total = float(state.get("time_total") or 0.0)
        self._timesteps_total = state.get("timesteps_total")
        self._episodes_total = state.get("episodes_total")
        self._iterations_since_restore = 0
        self._time_since_restore = 0.0
        self._timesteps_since_restore = None


def _add(result: dict[str, Any], what: str, so_far: float | None, since: str = "total") -> float | None:
    """Count what an iteration did towards a sum, and put the sum into the result."""
    step: object = result.get(f"{what}_this_iter")
    if isinstance(step, (int, float)):
        so_far = (so_far or 0) + step
    return result.setdefault(f"{what}_{since}", so_far) if so_far is not None else None


def _same_path(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _saved_state(path: str) -> Mapping[str, Any]:
    """Return the counters saved with a checkpoint, by `save` or by a trial; empty where there are none."""
    try:
        state: dict[str, Any] = json.loads(Path(path, STATE_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return state_of_manifest(path)
    return state


def state_of_manifest(path: str) -> Mapping[str, Any]:
    """Return the counters in the manifest of a trial's checkpoint, as `get_state` names them; empty without one."""
    from perdure.checkpoints.manifest import read_manifest

    try:
        manifest = read_manifest(path)
    except (CheckpointError, OSError):
        return {}
    return {
        "iteration": manifest.iteration,
        "time_total": manifest.time_total_s,
        "timesteps_total": manifest.row.get("timesteps_total"),
        "episodes_total": manifest.row.get("episodes_total"),
    }


# --- any trainable ----------------------------------------------------------------------------------------------------


def kind(trainable: object) -> Literal["function", "class"]:
    """Return which of the two APIs a trainable is written for."""
    return "class" if isinstance(trainable, type) else "function"


def trainable_name(trainable: object) -> str:
    """Return the name that trials of this trainable go by."""
    if isinstance(trainable, str):
        return trainable
    name = getattr(trainable, "__name__", None)
    if isinstance(name, str):
        return "lambda" if name == "<lambda>" else name
    inner = getattr(trainable, "func", None)  # functools.partial
    return trainable_name(inner) if inner is not None else type(trainable).__name__


def check_trainable(trainable: object) -> None:
    """Raise TrainableError unless `trainable` is something that trials can be made of.

    That is a function (or any callable) of one argument, the config, or a class derived from `Trainable`.
    """
    if isinstance(trainable, type):
        if not issubclass(trainable, Trainable):
            raise TrainableError(
                f"The class {trainable.__name__} cannot be tuned: derive it from perdure.tune.Trainable, or pass a "
                "function of one argument, the config."
            )
        if trainable.step is Trainable.step:
            raise TrainableError(f"The class {trainable.__name__} cannot be tuned: it has no step() method.")
        _check_methods(trainable)
        return
    if not callable(trainable):
        raise TrainableError(
            f"A trainable is a function of one argument, the config, or a class derived from perdure.tune.Trainable; "
            f"{trainable!r} ({a_kind(trainable)}) is neither."
        )
    _check_callable(trainable)


_CALLS: dict[str, tuple[tuple[object, ...], dict[str, object], str]] = {
    "__init__": ((), {"config": {}}, "the config, by that name; better leave __init__ alone and override setup"),
    "setup": (({},), {}, "one argument, the config. Bind others with tune.with_parameters"),
    "step": ((), {}, "no argument"),
    "save_checkpoint": (("",), {}, "one argument, the directory"),
    "load_checkpoint": (("",), {}, "one argument, what save_checkpoint returned"),
}
"""How the methods of a class are called, and in words what they must take."""


def _check_methods(class_: type[Trainable]) -> None:
    for name, (arguments, named, words) in _CALLS.items():
        method = inspect.getattr_static(class_, name)
        if not inspect.isfunction(method):
            continue
        signature = inspect.signature(method)
        try:
            signature.bind(None, *arguments, **named)
        except TypeError:
            raise TrainableError(
                f"The class {class_.__name__} cannot be tuned: {name}{signature} must take {words}."
            ) from None


def _check_callable(function: Callable[..., object]) -> None:
    name = trainable_name(function)
    called = getattr(function, "__call__", None) if not inspect.isroutine(function) else function  # noqa: B004
    if inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called):
        raise TrainableError(f"The function {name} is async; trials run plain functions (call asyncio.run inside).")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some builtins have none
        return
    older = signature.parameters.get("checkpoint_dir")
    if older is not None and older.default is None:  # how releases of Ray before 2.0 gave the checkpoint
        warnings.warn(
            f"Nothing is passed to the function {name}{signature} as checkpoint_dir, so if it goes on from there it "
            "begins again after each interruption. Ask tune.get_checkpoint() for the checkpoint instead.",
            stacklevel=3,
        )
    try:
        signature.bind({})
    except TypeError:
        raise TrainableError(
            f"The function {name}{signature} cannot be tuned: it must take one argument, the config. Bind others with "
            "tune.with_parameters or functools.partial."
        ) from None
