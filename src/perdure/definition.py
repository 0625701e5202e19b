"""What a user asked for, and how it is kept beside the journal so that a restore has it again.

Pickles hold what cannot be data: the trainable (`trainable.pkl`), and the search space, the plugins and the callbacks
(`tuner.pkl`). Their digests are in the journal's first record, so damage to them is found before they are loaded.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime as dt
import functools
import itertools
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from perdure.arguments import a_kind
from perdure.changes import describe
from perdure.checkpoints.digests import digest_file
from perdure.config import RunConfig, TuneConfig
from perdure.core.events import Data, Spec
from perdure.core.state import State
from perdure.errors import ConfigurationError, ExperimentNotFoundError, StorageError, TrainableError
from perdure.schedulers.registry import resolve_scheduler
from perdure.search_space.space import unresolved
from perdure.searchers.driver import check_search
from perdure.stoppers.resolve import resolve_stopper
from perdure.storage.faults import fault_point
from perdure.storage.uri import check_writable, parse_storage_path
from perdure.trainable.base import check_trainable, kind, trainable_name
from perdure.trainable.importing import looked_in, make_importable
from perdure.trainable.pickling import dump_objects, dump_trainable, load_objects, load_trainable
from perdure.trainable.registry import resolve_trainable
from perdure.trainable.stepping import saves_checkpoints
from perdure.trainable.wrappers import with_resources

TRAINABLE = "trainable.pkl"
TUNER = "tuner.pkl"
_OURS = re.compile(r"((trainable|tuner)(-\d{6})?|parameter-.+-[0-9a-f]{16})\.pkl")
"""The names of all that is stored of a definition; any other file is a user's."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Definition:
    """One experiment, as it was asked for."""

    trainable: Any
    name: str
    """Of the trainable."""
    param_space: Mapping[str, Any]
    tune_config: TuneConfig
    run_config: RunConfig
    path: Path
    """The experiment's directory."""
    given: frozenset[str] | None = None
    """Of an experiment that is restored, the parts that were given anew, by the names of `changes.describe`; the
    others are the stored ones. None: all of it was given."""
    description: Data = dataclasses.field(default_factory=dict)
    """What is asked for, as data."""
    renames: bool = False
    """The trainable may go by another name than the experiment's."""
    left_out: tuple[str, ...] = ()
    """Classes of callbacks (or of the executor) that were given and could not be stored."""

    pickles: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Of an experiment that is restored, the digests of the files that it was loaded from."""
    load_again: Callable[[State], Definition] | None = None
    """Gives the same restored from an experiment that is in another state by now."""

    @property
    def stored(self) -> bool:
        """Whether all of it was loaded from the experiment itself, and nothing given anew."""
        return self.given is not None and not self.given

    def as_of(self, state: State) -> Definition:
        """Return this definition; or, if another session has changed what is stored since, with that in it."""
        if self.load_again is None or self.pickles == state.pickles:
            return self
        return self.load_again(state)

    @property
    def saves(self) -> bool:
        """Whether the trainable saves when it is told to: a class that has `save_checkpoint`."""
        return saves_checkpoints(self.trainable)


def define(
    trainable: Any, param_space: Mapping[str, Any] | None, tune_config: TuneConfig, run_config: RunConfig
) -> Definition:
    """Check what was asked for, and say where it will live. Changes nothing on the disk.

    Raises:
        UserError: a part of it cannot work; the message says which.
    """
    name = trainable_name(trainable)
    resolved = resolve_trainable(trainable)
    check_trainable(resolved)
    space = _checked_space({} if param_space is None else param_space)
    check_search(tune_config.search_alg, space)
    if tune_config.scheduler is not None:
        resolve_scheduler(tune_config.scheduler)
    resolve_stopper(run_config.stop)
    check_checkpoint_config(resolved, run_config)
    check_filesystem(run_config.storage_filesystem)
    storage = parse_storage_path(run_config.storage_path)
    if run_config.resume and run_config.name is None:
        raise ConfigurationError(
            f"RunConfig(resume={run_config.resume!r}) goes on with the experiment of a name, and has none, so it would "
            "begin a new one each time: give it a name, RunConfig(name=...)."
        )
    directory = run_config.name or f"{name}_{time.strftime('%Y-%m-%d_%H-%M-%S')}"
    return _described(
        Definition(
            trainable=resolved,
            name=name,
            param_space=space,
            tune_config=tune_config,
            run_config=run_config,
            path=storage / directory,
        )
    )


def _described(definition: Definition) -> Definition:
    return dataclasses.replace(definition, description=describe(definition))


def with_own_directory(definition: Definition) -> Definition:
    """Return an experiment that has no name with a directory that is there and nobody else's.

    Its name is made from the time, in seconds; of several that begin in the same one, each gets a number.

    Raises:
        ConfigurationError, StorageError: the storage cannot be used.
    """
    storage, name = definition.path.parent, definition.path.name
    check_writable(storage)
    for count in itertools.count(1):
        path = storage / (name if count == 1 else f"{name}-{count}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return dataclasses.replace(definition, path=path)
    raise AssertionError("unreachable")


def check_filesystem(filesystem: object) -> None:
    """Refuse a file system that is not this machine's own.

    Raises:
        ConfigurationError: it is another one.
    """
    if filesystem is not None and type(filesystem).__name__ != "LocalFileSystem":
        raise ConfigurationError(
            f"storage_filesystem={filesystem!r} is not supported yet in this version of perdure: "
            "give storage_path a local or mounted directory."
        )


def check_checkpoint_config(trainable: Any, run_config: RunConfig) -> None:
    """Refuse to ask for checkpoints of a trainable that does not save when it is told to.

    Raises:
        ConfigurationError: `checkpoint_frequency` or `checkpoint_at_end` is set for a function, or for a class
            without `save_checkpoint`.
    """
    if saves_checkpoints(trainable):
        return
    name = trainable_name(trainable)
    if kind(trainable) == "class":
        why, instead = f"{name} has no save_checkpoint()", f"give {name} save_checkpoint() and load_checkpoint()"
    else:
        why = f"{name} is a function, which saves when it wants to with report(metrics, checkpoint=...)"
        instead = "derive the trainable from tune.Trainable"
    config = run_config.checkpoint_config
    for field, value in (
        ("checkpoint_frequency", config.checkpoint_frequency),
        ("checkpoint_at_end", config.checkpoint_at_end),
    ):
        if value:
            raise ConfigurationError(
                f"CheckpointConfig({field}={value!r}) works only with class trainables that can save: {why}. "
                f"Remove {field}, or {instead}."
            )


def spec_of(definition: Definition) -> Spec:
    """Return the limits that the core enforces."""
    tune, run = definition.tune_config, definition.run_config
    checkpoints = run.checkpoint_config
    return Spec(
        metric=tune.metric,
        mode=tune.mode,
        max_concurrent=max(tune.max_concurrent_trials or 0, 0),
        time_budget_s=_seconds(tune.time_budget_s),
        max_failures=run.failure_config.max_failures,
        fail_fast=bool(run.failure_config.fail_fast),
        num_to_keep=checkpoints.num_to_keep,
        score_attribute=checkpoints.checkpoint_score_attribute,
        score_order=checkpoints.checkpoint_score_order or "max",
        num_samples=tune.num_samples,
        seed=tune.seed,
    )


def _seconds(budget: float | dt.timedelta | None) -> float | None:
    if budget is None:
        return None
    return budget.total_seconds() if isinstance(budget, dt.timedelta) else float(budget)


def store(definition: Definition, *, trainable_file: str = TRAINABLE, tuner_file: str = TUNER) -> dict[str, str]:
    """Write the pickles of an experiment; return their digests by file name.

    Raises:
        TrainableError: a part cannot be pickled; the message names it.
    """
    trainable = dump_trainable(definition.trainable, definition.path / trainable_file)
    fault_point("store.trainable")
    given = definition.run_config
    run_config = dataclasses.replace(
        given,
        callbacks=[callback for callback in given.callbacks or () if _can_be_stored(callback)],
        executor=given.executor if _can_be_stored(given.executor) else "local",
    )
    objects = {
        "param_space": dict(definition.param_space),
        "tune_config": definition.tune_config,
        "run_config": run_config,
        "left_out": [*definition.left_out, *unstorable(definition)],
    }
    tuner = dump_objects(objects, definition.path / tuner_file, what="Tuner")
    fault_point("store.tuner")
    files = (path for path in definition.path.glob("parameter-*.pkl") if _OURS.fullmatch(path.name))
    parameters = {path.name: digest_file(str(path)) for path in files}
    return {trainable_file: trainable, tuner_file: tuner, **parameters}


def store_again(definition: Definition, known: Mapping[str, str], epoch: int) -> dict[str, str]:
    """Write the pickles of an experiment whose definition was given anew, beside the `known` ones.

    Those stay what the journal says they are until it says otherwise. What no record names is removed.

    Raises:
        TrainableError: a part cannot be pickled; the message names it.
    """
    for path in definition.path.glob("*.pkl"):
        if _OURS.fullmatch(path.name) and path.name not in known:
            path.unlink()
    pickles = store(definition, trainable_file=f"trainable-{epoch:06d}.pkl", tuner_file=f"tuner-{epoch:06d}.pkl")
    for role in (TRAINABLE, TUNER):
        _keep_if_same(definition.path, pickles, known, role)
    return pickles


def _keep_if_same(path: Path, pickles: dict[str, str], known: Mapping[str, str], role: str) -> None:
    """Put a file that is known already, and whole, in the place of a new one with the same content."""
    new, old = file_of(pickles, role), file_of(known, role)
    if pickles[new] == known.get(old) and (path / old).is_file() and digest_file(str(path / old)) == pickles[new]:
        (path / new).unlink()
        pickles[old] = pickles.pop(new)


def file_of(pickles: Mapping[str, str], role: str) -> str:
    """Return the name of the file that holds the trainable (`TRAINABLE`) or the rest (`TUNER`)."""
    stem = role.partition(".")[0]
    return next((name for name in pickles if name.partition(".")[0].partition("-")[0] == stem), role)


def unstorable(definition: Definition) -> list[str]:
    """Return the classes of callbacks (or of the executor) that a restore without the script goes on without."""
    run_config = definition.run_config
    parts = (*(run_config.callbacks or ()), run_config.executor)
    return [type(part).__name__ for part in parts if not _can_be_stored(part)]


def _can_be_stored(value: object) -> bool:
    """Whether a restore can have `value` again; a callback that holds a connection, say, it goes on without."""
    import cloudpickle

    try:
        cloudpickle.dumps(value)
    except Exception:  # whatever its reason
        return False
    return True


def load(
    path: Path,
    digests: Mapping[str, str],
    trainable: Any,
    expected: str,
    *,
    renames: bool = False,
    imports: Sequence[str] = (),
) -> Definition:
    """Load the definition of an existing experiment, checked against the digests in its journal.

    Args:
        path: The experiment's directory.
        digests: Of the files of its definition, by name.
        trainable: The one to go on with; None takes the stored one.
        expected: The name of the stored one.
        renames: `trainable` may go by another name.
        imports: Where the experiment's script found its own modules: looked in as well, after `sys.path`.

    Raises:
        TrainableError: `trainable` is none, or goes by another name than the stored one; or what is stored needs a
            module that is not found.
        StorageError: a pickle is missing or damaged.
    """
    stored_trainable = trainable is None
    make_importable(imports)
    if stored_trainable:
        for name, digest in digests.items():
            _check_digest(path / name, digest)
        with _naming_where_modules_were(imports):
            trainable = load_trainable(path / file_of(digests, TRAINABLE))
    resolved = resolve_trainable(trainable)
    check_trainable(resolved)
    if not stored_trainable and trainable_name(trainable) != expected and not renames:
        raise TrainableError(
            f"The experiment at {path} trains {expected!r}, and was to be restored with {trainable_name(trainable)!r}. "
            f"Nothing was changed. Pass the trainable it was started with (its code may have changed, its name not), "
            "start a new experiment under another name, or, if this one is to take over the checkpoints of the other, "
            "pass allow_other_trainable=True."
        )
    tuner = file_of(digests, TUNER)
    _check_digest(path / tuner, digests.get(tuner))
    with _naming_where_modules_were(imports):
        stored = load_objects(path / tuner)
    param_space, tune_config, run_config = stored["param_space"], stored["tune_config"], stored["run_config"]
    assert isinstance(param_space, Mapping)
    assert isinstance(tune_config, TuneConfig)
    assert isinstance(run_config, RunConfig)
    left_out = stored.get("left_out", [])
    assert isinstance(left_out, list)
    run_config = dataclasses.replace(run_config, name=path.name, storage_path=str(path.parent))
    return Definition(
        trainable=resolved,
        name=expected if stored_trainable else trainable_name(trainable),
        param_space=param_space,
        tune_config=tune_config,
        run_config=run_config,
        path=path,
        given=frozenset() if stored_trainable else frozenset({"trainable", "resources"}),
        renames=renames,
        left_out=tuple(left_out),
        pickles=digests,
    )


@contextlib.contextmanager
def _naming_where_modules_were(imports: Sequence[str]) -> Iterator[None]:
    try:
        yield
    except TrainableError as error:
        if isinstance(error.__cause__, ImportError):
            raise TrainableError(f"{error} {looked_in(imports)}") from error.__cause__
        raise


def restored(path: Path, state: State, *, trainable: Any, renames: bool, replacements: Mapping[str, Any]) -> Definition:
    """Return the definition of the experiment at `path`, as `state` has it stored, with what replaces parts of it.

    Args:
        path: The experiment's directory.
        state: How the experiment stands.
        trainable: See `load`.
        renames: See `load`.
        replacements: The arguments of `replaced`.

    Raises:
        UserError, StorageError: as `load` and `replaced`.
    """
    stored = load(path, state.pickles, trainable, state.trainable, renames=renames, imports=state.imports)
    again = functools.partial(restored, path, trainable=trainable, renames=renames, replacements=replacements)
    return dataclasses.replace(replaced(stored, **replacements), load_again=again)


class _Unchanged:
    """Stands for "as it was", where None means something."""

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED = _Unchanged()


def replaced(
    definition: Definition,
    *,
    param_space: Any = UNCHANGED,
    num_samples: Any = UNCHANGED,
    stop: Any = UNCHANGED,
    time_budget_s: Any = UNCHANGED,
    resources: Any = UNCHANGED,
) -> Definition:
    """Return the definition with each of these in place of what was stored, but for those that are `UNCHANGED`.

    Raises:
        UserError: one of them cannot work.
    """
    tune = {"num_samples": num_samples, "time_budget_s": time_budget_s}
    tune = {name: value for name, value in tune.items() if value is not UNCHANGED}
    given = set(tune)
    changed: dict[str, Any] = {}
    if tune:
        changed["tune_config"] = dataclasses.replace(definition.tune_config, **tune)
    if stop is not UNCHANGED:
        resolve_stopper(stop)
        given.add("stop")
        changed["run_config"] = dataclasses.replace(definition.run_config, stop=stop)
    if param_space is not UNCHANGED:
        given |= {"param_space", "constants", "grids"}
        changed["param_space"] = _checked_space(param_space)
    if resources is not UNCHANGED:
        given.add("resources")
        own = definition.trainable
        if not isinstance(own, type):
            own = functools.partial(own)  # the user's function, which may be given to other Tuners, stays as it is
        changed["trainable"] = with_resources(own, resources)
    return _described(dataclasses.replace(definition, **changed, given=(definition.given or frozenset()) | given))


def _checked_space(param_space: Any) -> Mapping[str, Any]:
    if not isinstance(param_space, Mapping):
        raise ConfigurationError(
            f"param_space must be a dict of parameters, not {param_space!r} ({a_kind(param_space)})."
        )
    try:
        collections.deque(unresolved(param_space), maxlen=0)
    except RecursionError:
        raise ConfigurationError(
            "param_space holds itself, or is nested too deeply. Use dicts and lists that hold other ones."
        ) from None
    return param_space


def _check_digest(path: Path, expected: str | None) -> None:
    if not path.is_file():
        raise ExperimentNotFoundError(f"{path} is missing; without it the experiment can be read but not continued.")
    if expected is not None and digest_file(str(path)) != expected:
        raise StorageError(
            f"{path} is damaged: its digest is not the one in the journal. The experiment can be read "
            f"(`perdure show {path.parent}`). To continue it, put this file back, or run the script that defines the "
            'experiment with RunConfig(resume="auto").'
        )
