"""Values of the user's as JSON data, and back.

JSON as it is; where JSON lacks a value, one tag stands for it:

    {"$float": "nan" | "inf" | "-inf"}       {"$tuple": [...]}
    {"$int": "0x..."}  beyond 64 bits        {"$bytes": base64}
    {"$map": [[key, value], ...]}            a dictionary with other keys than strings, or with one that begins with "$"
    {"$str": base64}                         a string that is not Unicode (lone surrogates)
    {"$py": repr}                            a leaf of a configuration that is not data: the object is in `params.pkl`

Metrics are lenient: a numpy scalar becomes a number, a small array a list, a subclass its base. Configurations are
exact: a leaf that would come back as another type is an object, but for numpy scalars, which become numbers.
"""

from __future__ import annotations

import base64
import math
import numbers
import re
import sys
from collections.abc import Mapping
from typing import Any

from perdure.core.events import Data
from perdure.errors import JournalVersionError, MetricError, StorageError

MAX_ARRAY_ELEMENTS = 64
"""An array of more elements is no metric."""

MAX_DEPTH = 100
"""Containers nested deeper than this (or holding themselves) are not data."""

ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")
"""Where an object is in memory, as its repr says it: elsewhere in each process. NumPy writes it in capitals."""

_NAMED = re.compile(r"<(?:class|function|built-in function) '?(?:[\w<>]+\.)*(\w+)'?(?: at 0x[0-9a-f]+)?>")
"""The repr of a class or a function, and the last part of its name."""
_MIN_INT, _MAX_INT = -(2**63), 2**64 - 1  # what the wire's JSON reader gives back as an int
_MAX_REPR = 200

Objects = Mapping[str, object]
"""What is in `params.pkl`: objects by their path in the configuration."""


class _NotData:
    """Says that a value is not data; None is."""


_NOT_DATA = _NotData()


# --- values to data -------------------------------------------------------------------------------------------------


def to_data(value: object, where: str = "metrics") -> object:
    """Return `value` as JSON data; a flat dict of finite numbers, strings, bools and None is returned as it is.

    `where` begins the message of the error.

    Raises:
        MetricError: some part is not data, or an array has more than 64 elements; names its key.
    """
    if type(value) is dict and _is_plain(value):
        return value
    return _metric(value, (), where)


def encode_config(config: Mapping[str, object]) -> tuple[Data, dict[str, object]]:
    """Return the configuration as data, and its leaves that are not, by their path ("model/optimizer").

    The path joins keys and list indexes by "/"; a "~" or "/" inside a key is "~0" or "~1".
    """
    if type(config) is dict and _is_plain(config):
        return config, {}
    objects: dict[str, object] = {}
    data = _leaf(dict(config), (), objects)
    assert isinstance(data, dict)
    return data, objects


def _is_plain(value: dict[object, object]) -> bool:
    """Whether a dict is JSON as it stands. Rows mostly are, and each one passes through here: 0.1 us a key."""
    for key, item in value.items():
        if type(key) is not str or key[:1] == "$" or not key.isascii():
            return False
        kind = type(item)
        if kind is float:
            if not math.isfinite(item):  # type: ignore[arg-type]
                return False
        elif kind is int:
            if not _MIN_INT <= item <= _MAX_INT:  # type: ignore[operator]
                return False
        elif kind is str:
            if not item.isascii():  # type: ignore[attr-defined]
                return False
        elif kind is not bool and item is not None:
            return False
    return True


Path = tuple[str, ...]


def _atom(value: object) -> object:
    """Encode a value of a type that JSON, or one tag, holds exactly; `_NOT_DATA` for any other."""
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is int:
        return value if _MIN_INT <= value <= _MAX_INT else {"$int": hex(value)}  # type: ignore[operator, arg-type]
    if kind is float:
        return value if math.isfinite(value) else {"$float": repr(value)}  # type: ignore[arg-type]
    if kind is str:
        return value if _is_unicode(value) else {"$str": _base64(value.encode("utf-8", "surrogatepass"))}  # type: ignore[arg-type, attr-defined]
    if kind is bytes:
        return {"$bytes": _base64(value)}  # type: ignore[arg-type]
    return _NOT_DATA


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def unicode_text(text: str) -> str:
    """Return `text` with its lone surrogates escaped: names of files and messages of errors may hold some."""
    return text if _is_unicode(text) else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def is_plain_key(key: object) -> bool:
    """Whether a key of a dictionary is a key of JSON's as it stands."""
    return type(key) is str and key[:1] != "$" and _is_unicode(key)


# --- metrics: lenient


def _metric(value: object, path: Path, where: str) -> object:
    data = _atom(value)
    if data is not _NOT_DATA:
        return data
    if len(path) > MAX_DEPTH:
        raise MetricError(f"{where}: {_named(path[:3])} is nested deeper than {MAX_DEPTH} levels, or holds itself.")
    if isinstance(value, Mapping):
        return _metric_map(value, path, where)
    if isinstance(value, tuple):
        return {"$tuple": _metric_list(value, path, where)}
    if isinstance(value, list):
        return _metric_list(value, path, where)
    base = _number_or_list(value, path, where)
    if base is _NOT_DATA:
        base = _base_value(value)
    if base is _NOT_DATA:
        raise MetricError(_not_a_metric(value, path, where))
    return _metric(base, (*path, "") if isinstance(base, list) else path, where)


def _metric_list(items: list[object] | tuple[object, ...], path: Path, where: str) -> list[object]:
    return [_metric(item, (*path, str(index)), where) for index, item in enumerate(items)]


def _metric_map(value: Mapping[object, object], path: Path, where: str) -> Data:
    items = [(str.__str__(key) if isinstance(key, str) else key, item) for key, item in value.items()]
    if all(is_plain_key(key) for key, _ in items):
        return {str(key): _metric(item, (*path, str(key)), where) for key, item in items}
    pairs = []
    for key, item in items:
        inner = (*path, str(key))
        pairs.append([_metric(key, inner, f"{where}, as a key"), _metric(item, inner, where)])
    return {"$map": pairs}


def _number_or_list(value: object, path: Path, where: str) -> object:
    """Return what a scalar or small array of numpy, torch, TensorFlow or JAX holds; none of them is imported."""
    try:
        shape = tuple(value.shape)  # type: ignore[attr-defined]
        size = math.prod(shape)
    except (AttributeError, TypeError, ValueError):
        return _NOT_DATA
    if size > MAX_ARRAY_ELEMENTS:
        raise MetricError(
            f"{where}: {_named(path)} is an array of shape {shape}; one of more than {MAX_ARRAY_ELEMENTS} elements is "
            "no metric. Put it in the checkpoint, or report a summary of it."
        )
    if not hasattr(value, "tolist") and hasattr(value, "numpy"):  # TensorFlow
        value = value.numpy()
    if not hasattr(value, "tolist"):
        return _NOT_DATA
    held: object = value.tolist()
    if isinstance(held, (list, bool)):
        return held
    if isinstance(held, numbers.Integral):
        return int(held)
    if isinstance(held, numbers.Real):  # numpy's longdouble holds itself
        return float(held)
    return held if type(held) in (str, bytes) else _NOT_DATA


def _base_value(value: object) -> object:
    """Return what an instance of a subclass of a data type is as that type: an IntEnum, a named string."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    return _NOT_DATA


def _named(path: Path) -> str:
    return f'"{"/".join(part for part in path if part)}"' if path else "the value"


def _not_a_metric(value: object, path: Path, where: str) -> str:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return (
        f"{where}: {_named(path)} is of type {name}, which is not data. Use numbers, strings, bools, None, bytes, and "
        "lists, tuples and dictionaries of them; anything else belongs in the checkpoint."
    )


# --- configurations: exact


def _leaf(value: object, path: Path, objects: dict[str, object]) -> object:
    data = _atom(value)
    if data is not _NOT_DATA:
        return data
    kind = type(value)
    if len(path) <= MAX_DEPTH:
        if kind is dict and (keys := _exact_keys(value)) is not None:  # type: ignore[arg-type]
            return _leaf_map(keys, value, path, objects)  # type: ignore[arg-type]
        if kind is list or kind is tuple:
            items = [_leaf(item, (*path, str(index)), objects) for index, item in enumerate(value)]  # type: ignore[arg-type, var-annotated]
            return items if kind is list else {"$tuple": items}
        if _is_numpy_scalar(value):
            number = _number_or_list(value, path, "config")
            if number is not _NOT_DATA:
                return _atom(number)
    objects[_joined(path)] = value
    return {"$py": _short_repr(value)}


def _exact_keys(value: dict[object, object]) -> list[object] | None:
    """Return the keys of a dict as data; None where one of them is an object, which makes the dict one."""
    found: dict[str, object] = {}
    keys = [_leaf(key, ("key",), found) for key in value]
    return None if found else keys


def _leaf_map(keys: list[object], value: dict[object, object], path: Path, objects: dict[str, object]) -> Data:
    if all(is_plain_key(key) for key in value):
        return {str(key): _leaf(item, (*path, str(key)), objects) for key, item in value.items()}
    items = [_leaf(item, (*path, f"#{index}"), objects) for index, item in enumerate(value.values())]
    return {"$map": [[key, item] for key, item in zip(keys, items, strict=True)]}


def _is_numpy_scalar(value: object) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.generic)


def _joined(path: Path) -> str:
    return "/".join(part.replace("~", "~0").replace("/", "~1") for part in path)


def name_in(text: str) -> str:
    """Return the name of a class or function, given its repr as a `$py` has it; any other text as it is."""
    named = _NAMED.fullmatch(text)
    return text if named is None else named[1]


def _short_repr(value: object) -> str:
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__qualname__}>"
    if len(text) > _MAX_REPR:
        text = text[: _MAX_REPR - 3] + "..."
    return unicode_text(text)


# --- data to values -------------------------------------------------------------------------------------------------


def from_data(data: object, objects: Objects | None = None) -> object:
    """Return the value that `data` stands for: the inverse of `to_data` and `encode_config`.

    Without `objects` a leaf that is not data comes back as its repr, so that showing an experiment loads no pickle.

    Raises:
        JournalVersionError: a tag that this version does not know.
        StorageError: `objects` lacks a leaf.
    """
    return _value(data, (), objects)


def dict_from_data(data: Data, objects: Objects | None = None) -> dict[str, Any]:
    """Return the dictionary that `data` stands for, a configuration or the metrics of a row; see `from_data`."""
    values = _value(data, (), objects)
    assert isinstance(values, dict)
    return values


def by_repr(data: Data, objects: Objects) -> dict[str, object]:
    """Return the objects of an encoded configuration under keys that tell them from others at the same places.

    So one file can hold the objects of a trial's earlier configurations along with those of its present one.
    """
    return {f"{place}={_shown(data, place)}": value for place, value in objects.items()}


def _shown(data: object, place: str) -> object:
    """Return the repr that stands at a place of an encoded configuration."""
    for part in place.split("/"):
        if type(data) is dict and "$tuple" in data:
            data = data["$tuple"]
        if type(data) is dict and "$map" in data:
            data = data["$map"]
        if type(data) is list:
            item = data[int(part.removeprefix("#"))]
            data = item[1] if part.startswith("#") else item
        else:
            assert type(data) is dict
            data = data[part.replace("~1", "/").replace("~0", "~")]
    assert type(data) is dict
    return data["$py"]


def has_objects(data: object) -> bool:
    """Say whether some leaf of the configuration is in `params.pkl`."""
    if type(data) is dict:
        return "$py" in data or any(has_objects(item) for item in data.values())
    return type(data) is list and any(has_objects(item) for item in data)


def _value(data: object, path: Path, objects: Objects | None) -> object:
    kind = type(data)
    if kind is dict:
        tag = next(iter(data), "")  # type: ignore[call-overload]
        if tag[:1] == "$":
            return _tagged(tag, data[tag], path, objects)  # type: ignore[index]
        return {  # only containers are looked into: rows are flat
            key: _value(item, (*path, key), objects) if type(item) in (dict, list) else item
            for key, item in data.items()  # type: ignore[attr-defined]
        }
    if kind is list:
        return _items(data, path, objects)
    return data


def _items(data: object, path: Path, objects: Objects | None) -> list[object]:
    assert isinstance(data, list)
    return [_value(item, (*path, str(index)), objects) for index, item in enumerate(data)]


def _tagged(tag: str, content: object, path: Path, objects: Objects | None) -> object:
    match tag:
        case "$float":
            return float(str(content))
        case "$int":
            return int(str(content), 16)
        case "$tuple":
            return tuple(_items(content, path, objects))
        case "$bytes":
            return base64.b64decode(str(content))
        case "$str":
            return base64.b64decode(str(content)).decode("utf-8", "surrogatepass")
        case "$map":
            assert isinstance(content, list)
            return {
                _value(key, (), None): _value(item, (*path, f"#{index}"), objects)
                for index, (key, item) in enumerate(content)
            }
        case "$py":
            return content if objects is None else _object(path, content, objects)
        case _:
            raise JournalVersionError(
                f'The value at "{_joined(path)}" is tagged "{tag}", which this version of perdure does not know. '
                "It was written by a newer one: upgrade perdure to read it."
            )


def _object(path: Path, shown: object, objects: Objects) -> object:
    name = _joined(path)
    try:
        return objects[f"{name}={shown}"] if f"{name}={shown}" in objects else objects[name]
    except KeyError:
        raise StorageError(
            f'The configuration\'s "{name}" ({shown}) is an object, and params.pkl does not hold it. '
            "Restore params.pkl from where the experiment was copied from, or run the trial anew."
        ) from None
