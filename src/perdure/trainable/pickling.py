"""The user's objects as files: the trainable, and the leaves of a configuration that are not data.

Functions and classes of the script itself are pickled by value, those of modules by name. What cannot be pickled is
named by where it is, not only by its type.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import pickle
import sys
import types
from collections import ChainMap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import xxhash

from perdure.errors import StorageError, TrainableError
from perdure.storage.local import write_atomic
from perdure.trainable import parameters
from perdure.trainable.parameters import Parameter

PARAMS = "params.pkl"
"""In a trial's directory: the leaves of its configuration that are not data."""
PROTOCOL = 5
_SEAL = b"\nperdure "
_SEAL_LENGTH = len(_SEAL) + 32
"""What follows the pickle's end, where other readers stop: a digest of it, so that damage is found before loading."""
_DEEPEST = 12
"""Levels the search for an unpicklable leaf goes down."""

Part = tuple[str, object]
"""A description of where something is, and the thing."""


def dump_trainable(trainable: object, path: str | os.PathLike[str]) -> str:
    """Pickle a trainable into the file `path` and return the digest (xxh3_128, hex) of its bytes.

    Objects bound by `with_parameters` go into files of their own beside it. On the disk when it returns; an older
    file is replaced in one act.

    Raises:
        TrainableError: part of it cannot be pickled; the message names that part.
        OSError: the files cannot be written.
    """
    target = Path(path)
    data = _pickled_with_parameters(trainable, target.parent)
    write_atomic(str(target), data, sync=True)
    return xxhash.xxh3_128_hexdigest(data)


def load_trainable(path: str | os.PathLike[str]) -> object:
    """Load what `dump_trainable` wrote. Large parameters are mapped, not read.

    Raises:
        TrainableError: the file, or a file of a parameter, is not what was written, or needs a module that cannot
            be imported here.
        OSError: the file cannot be read.
    """
    target = Path(path)
    data = target.read_bytes()
    try:
        return _TrainableUnpickler(io.BytesIO(data), target.parent).load()
    except (TrainableError, OSError):
        raise
    except Exception as error:
        raise TrainableError(
            f"The trainable in {target} cannot be loaded: {type(error).__name__}: {error}. If it comes from a module, "
            "that module must be importable here, in the version it was pickled with."
        ) from error


def dump_objects(objects: dict[str, object], path: str | os.PathLike[str], *, what: str = "config") -> str:
    """Pickle the leaves of a configuration that are not data, by their "/"-joined places; return the digest.

    Raises:
        TrainableError: one of them cannot be pickled; the message names it.
        OSError: the file cannot be written.
    """
    try:
        stream = io.BytesIO()
        pickler_class()(stream, protocol=PROTOCOL).dump(objects)
        data = stream.getvalue()
    except Exception as error:
        named = (explain_unpicklable(value, f"{what}[{place!r}]") for place, value in objects.items())
        reason = next(filter(None, named), str(error))
        raise TrainableError(
            f"Cannot pickle a part of the {what} that is no plain data, and has to be kept in {os.fspath(path)} for "
            f"trials and restores: {reason}. Nothing was written. Use a function or class that builds it instead."
        ) from error
    data = sealed(data)
    write_atomic(os.fspath(path), data, sync=True)
    return xxhash.xxh3_128_hexdigest(data)


def load_objects(path: str | os.PathLike[str]) -> dict[str, object]:
    """Load what `dump_objects` wrote.

    Raises:
        StorageError: the file is damaged.
        TrainableError: it holds something that cannot be loaded here, of a module that is missing for example.
        OSError: it cannot be read.
    """
    data = check_objects(path)
    try:
        loaded: dict[str, object] = pickle.loads(data)
    except Exception as error:
        raise TrainableError(
            f"The objects in {os.fspath(path)} cannot be loaded: {type(error).__name__}: {error}. The modules they "
            "come from must be importable here, in the versions they were pickled with."
        ) from error
    return loaded


def objects_in(experiment: str | os.PathLike[str]) -> Callable[[str], dict[str, object]]:
    """Return what loads the objects in the configuration of a trial, given the name of the trial's directory."""
    return functools.partial(_objects_of, os.fspath(experiment))


def _objects_of(experiment: str, directory: str) -> dict[str, object]:
    path = os.path.join(experiment, directory, PARAMS)
    return load_objects(path) if os.path.isfile(path) else {}


def check_objects(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes that `dump_objects` wrote, without loading them.

    Raises:
        StorageError: they are not what was written.
        OSError: they cannot be read.
    """
    return unsealed(Path(path).read_bytes(), path)


def sealed(data: bytes) -> bytes:
    """Return a pickle with a digest of it behind its end."""
    return data + _SEAL + xxhash.xxh3_128_hexdigest(data).encode()


def unsealed(data: bytes, path: str | os.PathLike[str]) -> bytes:
    """Return the pickle that was sealed, or raise StorageError, which names `path`, if it is not what was written."""
    content = data[:-_SEAL_LENGTH]
    if data != sealed(content):
        raise StorageError(
            f"{os.fspath(path)} is damaged: its own digest does not match. Put it back from a copy of the experiment."
        )
    return content


class _TrainableUnpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, directory: Path) -> None:
        super().__init__(file)
        self._directory = directory

    def persistent_load(self, pid: Any) -> Parameter:
        return parameters.load(pid, self._directory)


@functools.cache
def pickler_class() -> Any:
    """Return cloudpickle's pickler, made to keep the names of the files that functions come from.

    From 3.1.3 on cloudpickle puts "<dynamic-code>" in their place. A traceback would then show neither the file nor
    the line of the user's script.

    In a process that multiprocessing has spawned the script is called `__mp_main__`, which is no name to find it by.
    """
    import cloudpickle
    from cloudpickle import cloudpickle as internals

    if "__mp_main__" in sys.modules:
        cloudpickle.register_pickle_by_value(sys.modules["__mp_main__"])

    def reduce_code(code: types.CodeType) -> tuple[Any, tuple[Any, ...]]:
        make, arguments = internals._code_reduce(code)  # noqa: SLF001 - what its own table calls
        kept = (code.co_filename if part == "<dynamic-code>" else part for part in arguments)
        return make, tuple(kept)

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        dispatch_table = ChainMap({types.CodeType: reduce_code}, cloudpickle.Pickler.dispatch_table)  # noqa: RUF012 - as its base has it

    return Pickler


def _pickled_with_parameters(trainable: object, directory: Path) -> bytes:
    class Pickler(pickler_class()):  # type: ignore[misc]
        """Puts each parameter's value into its own file."""

        def persistent_id(self, value: object) -> bytes | None:
            return parameters.store(value, directory) if isinstance(value, Parameter) else None

    stream = io.BytesIO()
    try:
        Pickler(stream, protocol=PROTOCOL).dump(trainable)
    except OSError:
        raise
    except Exception as error:
        reason = explain_unpicklable(trainable, _described(trainable)) or f"{_described(trainable)}: {error}"
        raise TrainableError(
            f"Cannot pickle the trainable, which is how trials in other processes get it: {reason}. Nothing was "
            "started. Make that part inside the function (or in setup()) instead of outside."
        ) from error
    return stream.getvalue()


# --- which part cannot be pickled -------------------------------------------------------------------------------------


def explain_unpicklable(value: object, name: str) -> str | None:
    """Return which part of `value` cannot be pickled and why, as in "variable 'lock' captured by f: ..."; None if all
    of it can.
    """
    return _explain(value, name, set(), 0)


def _explain(value: object, name: str, seen: set[int], depth: int) -> str | None:
    reason = _pickling_error(value)
    if reason is None:
        return None
    seen.add(id(value))
    if depth < _DEEPEST:
        for part_name, part in _parts(value, name):
            if id(part) in seen:
                continue
            found = _explain(part, part_name, seen, depth + 1)
            if found:
                return found
    return f"{name}: {reason}"


def _pickling_error(value: object) -> str | None:
    import cloudpickle

    try:
        cloudpickle.dumps(value, protocol=PROTOCOL)
    except Exception as error:
        return str(error) or type(error).__name__
    return None


def _parts(value: object, name: str) -> Iterator[Part]:
    """Yield the parts of `value` that pickling it would visit."""
    if isinstance(value, types.FunctionType):
        yield from _function_parts(value, name)
    elif isinstance(value, types.MethodType):
        yield f"the object that {name} is bound to", value.__self__
        yield from _function_parts(value.__func__, name) if isinstance(value.__func__, types.FunctionType) else ()
    elif isinstance(value, functools.partial):
        yield _described(value.func), value.func
        yield from ((f"argument {index} of {name}", item) for index, item in enumerate(value.args))
        yield from ((f"argument {key!r} of {name}", item) for key, item in value.keywords.items())
    elif isinstance(value, Parameter):
        yield f"parameter {value.name!r}", value.value
    elif isinstance(value, type):
        yield from _class_parts(value, name)
    elif isinstance(value, dict):
        yield from ((f"{name}[{key!r}]", item) for key, item in value.items())
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from ((f"item {index} of {name}", item) for index, item in enumerate(value))
    else:
        yield from _instance_parts(value, name)


def _function_parts(function: types.FunctionType, name: str) -> Iterator[Part]:
    for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # a cell that is still empty
            yield f"variable {variable!r} captured by {name}", cell.cell_contents
    for variable in function.__code__.co_names:
        if variable in function.__globals__:
            yield f"variable {variable!r} captured by {name}", function.__globals__[variable]
    for index, item in enumerate(function.__defaults__ or ()):
        yield f"default {index} of {name}", item
    for key, item in (function.__kwdefaults__ or {}).items():
        yield f"default of {key!r} of {name}", item
    for key, item in vars(function).items():
        yield f"attribute {key!r} of {name}", item


def _class_parts(class_: type, name: str) -> Iterator[Part]:
    for base in class_.__bases__:
        if base is not object:
            yield _described(base), base
    for key, item in vars(class_).items():
        if key in ("__dict__", "__weakref__"):
            continue
        if isinstance(item, (staticmethod, classmethod)):
            item = item.__func__  # noqa: PLW2901 - the wrapper pickles as what it wraps
        where = f"{name}.{key}" if isinstance(item, types.FunctionType) else f"attribute {key!r} of {name}"
        yield where, item


def _instance_parts(value: object, name: str) -> Iterator[Part]:
    for key, item in getattr(value, "__dict__", {}).items():
        yield f"attribute {key!r} of {name}", item
    for class_ in type(value).__mro__:
        slots = class_.__dict__.get("__slots__", ())
        for key in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, key):
                yield f"attribute {key!r} of {name}", getattr(value, key)
    if type(value).__module__ == "__main__":
        yield _described(type(value)), type(value)


def _described(value: object) -> str:
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    return str(name).replace("<locals>.", "") if name else f"the {type(value).__name__}"
